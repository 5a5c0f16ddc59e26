"""Keeps, round by round, what people are shown of the rows; nothing that is chosen depends on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from asvp.compute.jobs import Axes, Look, LookJob
from asvp.data.excerpts import first_words, thumbnail
from asvp.driver.model_maker import ModelMaker
from asvp.driver.prepared import Prepared
from asvp.driver.state import RunState
from asvp.features.feature_set import Features
from asvp.record.labelled import LabelledSet
from asvp.report.shown_rows import MAP_SCHEMA, SHOWN_SCHEMA
from asvp.seeds import derive_seed

Rows = NDArray[np.int64]

_SAMPLE = 1500
"""Rows of the pool on a map, the same for every arm and seed."""
_SHOWN, _SHOWN_IN_ALL = 12, 480
"""Picks a round with words or a thumbnail, and about how many a run keeps however many rounds it has."""
_ON_THE_MAP, _ON_THE_MAP_IN_ALL = 100, 4000
"""The same for picks on the map."""


class Looker:
    """Looks at the picks of each round, and keeps maps of version 0 and of the newest version.

    Parameters
    ----------
    prepared : Prepared
    models : ModelMaker
        Has the work done; it is booked as evaluation, since it is for the report alone.
    """

    def __init__(self, prepared: Prepared, models: ModelMaker) -> None:
        self._dataset = prepared.dataset
        self._models = models
        rounds = len(prepared.config.budget)
        self._shown = max(1, min(_SHOWN, _SHOWN_IN_ALL // rounds))
        self._on_the_map = max(1, min(_ON_THE_MAP, _ON_THE_MAP_IN_ALL // rounds))
        self._sample = _sample(len(prepared.dataset.pool))
        self._axes: tuple[str, Axes] | None = None

    def look(self, state: RunState, picks: Rows, number: int, pool: Features) -> None:
        """Keep what the model that is there thought of some picks, and put picks on the map.

        Parameters
        ----------
        state : RunState
            With the picks among its labelled rows, and the model that chose them.
        picks : ndarray of shape (B,), int64
        number : int
            Of the round.
        pool : Features
        """
        shown = some(picks, self._shown)
        known = self._axes is not None and self._axes[0] == pool.fingerprint
        if known:
            placed = some(picks, self._on_the_map)
        else:
            # Of a new version, or after a resume: all that is on the map is placed, as if it had been there.
            placed = np.concatenate([self._sample, *self._picks_on_the_map(state.labelled, number)])
        axes = self._axes[1] if known and self._axes is not None else None
        job = LookJob(pool, shown, state.scorer, self._sample, placed, axes)
        look: Look = self._models.do(job, "evaluate").told
        self._axes = (pool.fingerprint, look.axes)
        state.shown = pa.concat_tables([state.shown, self._table(shown, look, number, pool.version)])
        state.map = _with_points(state.map, pool.version, placed, look.places, replace=not known)

    def _picks_on_the_map(self, labelled: LabelledSet, number: int) -> list[Rows]:
        return [some(labelled.rows[labelled.rounds == one], self._on_the_map) for one in range(number + 1)]

    def _table(self, rows: Rows, look: Look, number: int, version: int) -> pa.Table:
        columns: dict[str, Any] = {name: [None] * len(rows) for name in SHOWN_SCHEMA.names}
        columns |= {"round": [number] * len(rows), "row": rows, "version": [version] * len(rows)}
        if look.thoughts is not None:
            classes = self._dataset.classes
            for place, (name, probability) in enumerate(
                (("predicted", "probability"), ("second", "second_probability"))
            ):
                columns[name] = [classes[one] for one in look.thoughts.classes[:, place]]
                columns[probability] = look.thoughts.probabilities[:, place].astype(np.float32)
        kind = self._dataset.kind
        if kind != "features":
            columns["words" if kind == "text" else "thumbnail"] = self._excerpts(rows)
        return pa.table(columns, schema=SHOWN_SCHEMA)

    def _excerpts(self, rows: Rows) -> list[str | bytes | None]:
        """First words or thumbnails; None where there is none to be had, which is no reason to end a run."""
        order = np.argsort(rows)
        contents: Any
        try:
            # Ascending requests read every file once.
            contents = self._dataset.pool.take(rows[order])
        except Exception:
            contents = [self._content(row) for row in rows[order]]
        found = dict(zip(rows[order].tolist(), map(_excerpt, contents), strict=True))
        return [found[row] for row in rows.tolist()]

    def _content(self, row: int) -> Any:
        try:
            return self._dataset.pool.take(np.array([row], dtype=np.int64))[0]
        except Exception:
            return None


def _excerpt(content: Any) -> str | bytes | None:
    try:
        return first_words(content) if isinstance(content, str) else thumbnail(content)
    except Exception:
        # Whatever Pillow makes of a row that only people would look at.
        return None


def some(rows: Rows, count: int) -> Rows:
    """At most so many rows, evenly over their order, the first and the last among them."""
    if len(rows) <= count:
        return rows
    return rows[np.round(np.linspace(0, len(rows) - 1, count)).astype(np.int64)]


def restore(state: RunState, shown: pa.Table, points: pa.Table, pool: int) -> None:
    """Put into a state what was kept of its finished rounds, in a pool of so many rows."""
    known = pa.array(np.concatenate([_sample(pool), state.labelled.rows]))
    state.shown = shown.filter(pc.less(shown["round"], state.next_round))
    state.map = points.filter(pc.is_in(points["row"], known))


def _sample(pool: int) -> Rows:
    chosen = np.random.default_rng(derive_seed(0, "map")).choice(pool, min(_SAMPLE, pool), replace=False)
    return np.sort(chosen).astype(np.int64)


def _with_points(table: pa.Table, version: int, rows: Rows, places: NDArray[np.float32], *, replace: bool) -> pa.Table:
    """With more points of a version, or in place of those it had; versions between the first and it are dropped."""
    table = table.filter(pc.is_in(table["version"], pa.array([0] if replace and version else [0, version], pa.int32())))
    if replace:
        table = table.filter(pc.not_equal(table["version"], version))
    there = table.filter(pc.equal(table["version"], version))["row"].to_numpy()
    # A pick may be one of the sample.
    first = np.unique(rows, return_index=True)[1]
    new = np.sort(first[~np.isin(rows[first], there)])
    columns = {"version": [version] * len(new), "row": rows[new], "x": places[new, 0], "y": places[new, 1]}
    return pa.concat_tables([table, pa.table(columns, schema=MAP_SCHEMA)])
