"""The rows themselves, for the page: some picks of each round, maps of the pool, and which rows arms agree on.

What is told of single rows comes from one run an arm, of a seed that most arms have, and stays within a number of
bytes however many arms there are; what is left out is said.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from asvp.errors import DataError
from asvp.parquet import read_parquet
from asvp.report.records import RunRecord
from asvp.report.shown_rows import ROW_MAP, SHOWN_ROWS, read_map, read_shown_rows

GALLERY_BYTES, MAP_BYTES = 1_500_000, 1_200_000
"""What galleries and maps may add to the page."""

_JPEG = b"\xff\xd8\xff"
_SHAPES = ((12, 1000), (8, 1000), (6, 20), (5, 14), (4, 12), (4, 9), (3, 8), (3, 6), (2, 6), (2, 4), (1, 3), (1, 1))
"""Rows a round and rounds an arm, richest first."""
_ONE_OF = (1, 2, 3, 4)
"""One row of so many is on a map."""
_GRID = 1000
"""Places on a map are whole numbers up to this, either way."""
_COMMON = 12
"""Rows that many arms picked."""


def rows_section(records: Sequence[RunRecord]) -> dict[str, Any] | None:
    """What the page tells of rows; None without runs.

    Parameters
    ----------
    records : sequence of RunRecord
        In the order in which arms are shown.

    Returns
    -------
    dict
        `galleries` and `maps`, an entry an arm; `overlap` of picks, and `common` rows, or null where no two arms can
        be compared; `notes`, sentences about what is not shown, and why. Everything is plain JSON, and names are as
        they are: whoever shows them escapes them.
    """
    if not records:
        return None
    kept = [_Kept(record) for record in records]
    notes: list[str] = []
    looked_at = _one_of_each_arm(kept)
    open_ones = [one for one in looked_at if one.may_travel]
    if len(open_ones) < len(looked_at):
        closed = _listed(one.arm for one in looked_at if not one.may_travel)
        notes.append(f"The rows of {closed} are left out: report.rows is false.")
    galleries = _galleries(open_ones, notes)
    maps = _maps(open_ones, notes)
    missing = [one.arm for one in open_ones if not len(one.shown)]
    if missing:
        notes.append(f"No rows to look at are at hand of {_listed(missing)}: runs of earlier versions kept none.")
    notes += [note for one in open_ones for note in one.problems]
    return {
        "galleries": galleries,
        "maps": maps,
        "overlap": _overlap(kept),
        "common": _common(kept, open_ones),
        "notes": list(dict.fromkeys(notes)),
    }


class _Kept:
    """The files of a run that tell of rows, read when they are asked for."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.arm, self.seed = record.arm, record.seed
        self.problems: list[str] = []
        report = record.config.get("report")
        self.may_travel = not (isinstance(report, Mapping) and report.get("rows") is False)
        self.data = json.dumps(record.config.get("data"), sort_keys=True, default=str)

    @cached_property
    def shown(self) -> pa.Table:
        return self._read(SHOWN_ROWS, read_shown_rows)

    @cached_property
    def map(self) -> pa.Table:
        return self._read(ROW_MAP, read_map)

    @cached_property
    def labelled(self) -> pa.Table:
        """The table {row, id, label, round}; empty where it is not at hand."""
        path = self.record.path / "labelled.parquet"
        columns = ["row", "id", "label", "round"]
        if path.is_file():
            try:
                return read_parquet(path, columns=columns)
            except Exception:
                self.problems.append(f"{path.name} of {self.arm} cannot be read.")
        return pa.table(
            {name: pa.array([], pa.string() if name in ("id", "label") else pa.int64()) for name in columns}
        )

    @cached_property
    def bought(self) -> dict[int, tuple[str, str, int]]:
        """Name, label and round of each row bought."""
        columns = (self.labelled[name].to_pylist() for name in ("row", "id", "label", "round"))
        return {row: (str(name), str(label), number) for row, name, label, number in zip(*columns, strict=True)}

    @cached_property
    def chosen(self) -> list[int]:
        """Rows in the order of purchase, without those of the first round, which all arms of a seed begin with."""
        return [row for row, (_, _, number) in self.bought.items() if number > 0]

    def _read(self, name: str, read: Any) -> pa.Table:
        try:
            return read(self.record.path / name)
        except DataError:
            self.problems.append(f"{name} of {self.arm} cannot be read.")
            return read(self.record.path / "none")


def _one_of_each_arm(kept: Sequence[_Kept]) -> list[_Kept]:
    """A run of each arm: of the seed that most arms have, if it is there, else its first."""
    seeds = Counter(one.seed for one in kept)
    wanted = min(seeds, key=lambda seed: (-seeds[seed], seed))
    found: dict[str, _Kept] = {}
    for one in sorted(kept, key=lambda one: (one.seed != wanted, one.seed)):
        found.setdefault(one.arm, one)
    return [found[arm] for arm in dict.fromkeys(one.arm for one in kept)]


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _galleries(kept: Sequence[_Kept], notes: list[str]) -> list[dict[str, Any]]:
    """As many rows as there is room for: fewer a round first, then fewer rounds, then fewer arms."""
    whole = [gallery for one in kept if (gallery := _gallery(one))["rounds"]]
    found, shape = whole, _SHAPES[0]
    for shape in _SHAPES:
        found = [_thinned(gallery, *shape) for gallery in whole]
        if _size(found) <= GALLERY_BYTES:
            break
    shown = _fitting(found, GALLERY_BYTES)
    if shown < len(found):
        notes.append(f"There is room for the picks of {shown} arms of {len(found)}.")
    elif _size(found) < _size(whole):
        rounds = max(len(gallery["rounds"]) for gallery in whole)
        some = f" and {shape[1]} rounds" if shape[1] < rounds else ""
        notes.append(f"There is room for {shape[0]} picks a round{some} of each arm; the run directories keep more.")
    return found[:shown]


def _gallery(one: _Kept) -> dict[str, Any]:
    by_round: dict[int, list[dict[str, Any]]] = {}
    for row in one.shown.to_pylist():
        bought = one.bought.get(row["row"])
        if bought is None or bought[2] != row["round"]:
            # Of a round that is not finished.
            continue
        told: dict[str, Any] = {"row": row["row"], "id": bought[0], "label": bought[1]}
        if row["words"] is not None:
            told["words"] = row["words"]
        if row["thumbnail"] is not None and row["thumbnail"].startswith(_JPEG):
            told["image"] = "data:image/jpeg;base64," + base64.b64encode(row["thumbnail"]).decode("ascii")
        if row["predicted"] is not None:
            thoughts = [(row["predicted"], row["probability"]), (row["second"], row["second_probability"])]
            told["thought"] = [[name, round(float(p), 4)] for name, p in thoughts if name is not None and p is not None]
        by_round.setdefault(row["round"], []).append(told)
    records = {record.get("round"): record for record in one.record.rounds}
    bought_in = Counter(number for _, _, number in one.bought.values())
    rounds = [
        {
            "round": number,
            "labelled": records[number]["labelled"],
            "bought": bought_in[number],
            "strategy": str(records[number].get("strategy") or ""),
            "rows": rows,
        }
        for number, rows in sorted(by_round.items())
        if number in records
    ]
    return {"arm": one.arm, "seed": one.seed, "rounds": rounds}


def _thinned(gallery: dict[str, Any], rows: int, rounds: int) -> dict[str, Any]:
    kept = [{**one, "rows": _some(one["rows"], rows)} for one in _some(gallery["rounds"], rounds)]
    return {**gallery, "rounds": kept}


def _some(values: list[Any], count: int) -> list[Any]:
    """At most so many, evenly over their order."""
    if len(values) <= count:
        return values
    return [values[int(place)] for place in np.round(np.linspace(0, len(values) - 1, count))]


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8"))


def _maps(kept: Sequence[_Kept], notes: list[str]) -> list[dict[str, Any]]:
    """Of every arm, with one row of so many where there is no room for all; the last arms go only after that."""
    found: list[dict[str, Any]] = []
    one_of = 1
    for one_of in _ONE_OF:
        found = [made for one in kept if (made := _map(one, one_of)) is not None]
        if _size(found) <= MAP_BYTES:
            break
    shown = _fitting(found, MAP_BYTES)
    if one_of > 1:
        notes.append(f"There is room for one row of {one_of} on the maps; the run directories keep all.")
    if shown < len(found):
        notes.append(f"There is room for the maps of {shown} arms of {len(found)}.")
    return found[:shown]


def _fitting(entries: Sequence[Any], room: int) -> int:
    """How many entries, from the first on, have room in so many bytes."""
    return int(np.searchsorted(np.cumsum([_size(one) for one in entries]), room, side="right"))


@dataclass(frozen=True)
class _Side:
    """The points of a feature version: rows, and places (n, 2) about their mean, whose root mean square is 1."""

    version: int
    rows: NDArray[np.int64]
    places: NDArray[np.float64]


def _map(one: _Kept, one_of: int) -> dict[str, Any] | None:
    """Both sides, the second turned so that its points lie as near to those of the first as they can."""
    sides = []
    for version in sorted(set(one.map["version"].to_pylist())):
        part = one.map.filter(pc.equal(one.map["version"], version))
        # By number, so that the same rows are on both sides.
        part = part.filter(part["row"].to_numpy() % one_of == 0)
        places = np.stack([part["x"].to_numpy(), part["y"].to_numpy()], axis=1).astype(np.float64)
        if len(places) and np.isfinite(places).all():
            sides.append(_Side(version, part["row"].to_numpy(), _standard(places)))
    if not sides:
        return None
    if len(sides) > 1:
        sides = [sides[0], _turned(sides[-1], sides[0])]
    reach = max(float(np.abs(side.places).max()) for side in sides) or 1.0
    classes = sorted({label for _, label, _ in one.bought.values()})
    return {
        "arm": one.arm,
        "seed": one.seed,
        "grid": _GRID,
        "classes": classes,
        "refreshes": max((int(record.get("feature_version") or 0) for record in one.record.rounds), default=0),
        "rounds": sorted({number for _, _, number in one.bought.values()}),
        "sides": [_points(side, one.bought, classes, reach) for side in sides],
    }


def _points(
    side: _Side, bought: Mapping[int, tuple[str, str, int]], classes: list[str], reach: float
) -> dict[str, Any]:
    """`others`: x and y in turn of rows that were not bought; `picks`: x, y, round, class and row of the others."""
    numbers = {name: number for number, name in enumerate(classes)}
    places = np.round(side.places / reach * _GRID).astype(int).tolist()
    others: list[int] = []
    picks: list[list[int]] = []
    for row, (x, y) in zip(side.rows.tolist(), places, strict=True):
        if row in bought:
            _, label, number = bought[row]
            picks.append([x, y, number, numbers[label], row])
        else:
            others += [x, y]
    return {"version": side.version, "others": others, "picks": sorted(picks, key=lambda pick: pick[2])}


def _standard(places: NDArray[np.float64]) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = places - places.mean(axis=0)
    size = float(np.sqrt((centred**2).sum(axis=1).mean()))
    return centred / size if size > 0 else centred


def _turned(side: _Side, first: _Side) -> _Side:
    """Turned and mirrored, never stretched (orthogonal Procrustes, Schoenemann 1966), on the rows that both have."""
    _, here, there = np.intersect1d(side.rows, first.rows, return_indices=True)
    left, _, right = np.linalg.svd(side.places[here].T @ first.places[there])
    return _Side(side.version, side.rows, side.places @ (left @ right))


def _overlap(kept: Sequence[_Kept]) -> dict[str, Any] | None:
    """For each two arms the share of picks that both made, a mean over the seeds that both have."""
    arms = list(dict.fromkeys(one.arm for one in kept))
    runs = {(one.arm, one.seed): one for one in kept if one.chosen}
    shares: dict[tuple[str, str], list[float]] = {}
    counts: list[int] = []
    for a, b in combinations(runs.values(), 2):
        count = min(len(a.chosen), len(b.chosen))
        if a.seed == b.seed and a.arm != b.arm and a.data == b.data:
            common = len(set(a.chosen[:count]) & set(b.chosen[:count]))
            counts.append(count)
            for pair in ((a.arm, b.arm), (b.arm, a.arm)):
                shares.setdefault(pair, []).append(common / count)
    if not shares:
        return None
    compared = [arm for arm in arms if any(arm in pair for pair in shares)]
    return {
        "arms": compared,
        "shares": [
            [round(sum(found) / len(found), 4) if (found := shares.get((a, b))) else None for b in compared]
            for a in compared
        ],
        "seeds": [[len(shares.get((a, b), ())) for b in compared] for a in compared],
        "picks": [min(counts), max(counts)],
    }


def _common(kept: Sequence[_Kept], looked_at: Sequence[_Kept]) -> dict[str, Any] | None:
    """Rows that most arms chose, of the data that most runs have; each told with the runs that chose it."""
    runs = [one for one in kept if one.chosen and one.may_travel]
    if not runs:
        return None
    data = Counter(one.data for one in runs).most_common(1)[0][0]
    runs = [one for one in runs if one.data == data]
    arms: dict[int, set[str]] = {}
    times: Counter[int] = Counter()
    for one in runs:
        times.update(one.chosen)
        for row in one.chosen:
            arms.setdefault(row, set()).add(one.arm)
    number = len({one.arm for one in runs})
    if number < 2:
        return None
    best = sorted(arms, key=lambda row: (-len(arms[row]), -times[row], row))[:_COMMON]
    best = [row for row in best if len(arms[row]) > 1]
    told = {row: runs_with[0].bought[row] for row in best if (runs_with := [r for r in runs if row in r.bought])}
    shown = [one for one in looked_at if one.data == data]
    words = _words(best, shown)
    if words:
        # Rows are texts: what these runs did not keep, others of their arms may have.
        words |= _words([row for row in best if row not in words], [one for one in runs if one not in shown])
    return {
        "arms": number,
        "runs": len(runs),
        "rows": [
            {
                "row": row,
                "id": told[row][0],
                "label": told[row][1],
                "arms": len(arms[row]),
                "runs": times[row],
                **({"words": words[row]} if row in words else {}),
            }
            for row in best
        ],
    }


def _words(rows: Sequence[int], runs: Iterable[_Kept]) -> dict[int, str]:
    """First words of rows, of whichever run kept some: each keeps those of a few picks a round, and not the same."""
    found: dict[int, str] = {}
    for run in runs:
        missing = [row for row in rows if row not in found]
        if not missing:
            break
        kept = run.shown.filter(pc.is_in(run.shown["row"], pa.array(missing, pa.int64())))
        for row, words in zip(kept["row"].to_pylist(), kept["words"].to_pylist(), strict=True):
            if words is not None:
                found.setdefault(row, words)
    return found
