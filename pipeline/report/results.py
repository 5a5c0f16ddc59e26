"""results.parquet of a sweep: one row a trial and round, with all options."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asvp.errors import DataError
from asvp.files import parse_json, write_atomically
from asvp.parquet import read_parquet

_TRIAL_COLUMNS = ("trial", "arm", "seed", "finished", "stopped")
_ROUND_COLUMNS = (
    "round",
    "labelled",
    "strategy",
    "mode",
    "feature_version",
    "refreshed",
    "logme",
    "logme_ped",
    "proxy_accuracy",
    "final_accuracy",
    "final_macro_f1",
    "final_method",
    "sampling_seconds",
    "training_seconds",
    "saved_seconds",
)
_NUMBERS = {
    "logme": pa.float64(),
    "logme_ped": pa.float64(),
    "proxy_accuracy": pa.float64(),
    "final_accuracy": pa.float64(),
    "final_macro_f1": pa.float64(),
}


@dataclass(frozen=True)
class TrialRounds:
    """A trial as results.parquet knows it.

    Attributes
    ----------
    trial : str
        A name that no other trial of the sweep has.
    arm : str
        Name of the arm.
    seed : int
        Seed of the run.
    finished : bool
        Whether the run came to its end.
    config : mapping
        The resolved configuration, by sections.
    rounds : tuple of mapping
        The objects of rounds.jsonl, in order.
    stopped : bool
        Whether its sweep has stopped it early.
    """

    trial: str
    arm: str
    seed: int
    finished: bool
    config: Mapping[str, Any]
    rounds: tuple[Mapping[str, Any], ...]
    stopped: bool = False


def results_table(trials: Iterable[TrialRounds]) -> pa.Table:
    """One row a trial and round.

    Columns are trial, arm, seed, finished, stopped, the keys of a round (groups as seconds/extract), and
    config/SECTION/KEY; lists and free mappings are JSON text. The order of the columns does not depend on the trials.
    """
    rows: list[dict[str, Any]] = []
    for trial in trials:
        told: dict[str, Any] = {name: getattr(trial, name) for name in _TRIAL_COLUMNS}
        options = _flatten_config(trial.config)
        rows += [{**told, **_flatten_round(one), **options} for one in trial.rounds]
    names = list(dict.fromkeys(name for row in rows for name in row))
    config = [name for name in names if name.startswith("config/")]
    fixed = [*_TRIAL_COLUMNS, *_ROUND_COLUMNS]
    extra = sorted(name for name in names if name not in fixed and name not in config)
    order = [*fixed, *extra, *config]
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in order})


def write_results(
    trials: Iterable[TrialRounds],
    path: str | Path,
    *,
    write: Callable[[Path, Callable[[Path], Any]], None] = write_atomically,
) -> Path:
    """Write `results_table` atomically (by `write`); a reader sees the old file or the whole new one."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write(target, lambda temporary: pq.write_table(results_table(trials), temporary))
    return target


def read_results(path: str | Path) -> list[TrialRounds]:
    """The trials of a results.parquet.

    Raises
    ------
    DataError
        If the file cannot be read or lacks a column.
    """
    try:
        table = read_parquet(path)
    except Exception as error:
        # Whatever pyarrow makes of bytes that were altered.
        raise DataError(f"cannot be read: {error}", key=str(path), mend="Run the sweep again with --resume") from None
    missing = [name for name in ("trial", "arm", "seed", "finished", "labelled") if name not in table.column_names]
    if missing:
        raise DataError(
            f"has no column {missing[0]}",
            key=str(path),
            value=table.column_names,
            mend="Give the results.parquet of a sweep",
        )
    trials: dict[str, TrialRounds] = {}
    for row in table.to_pylist():
        known = trials.get(row["trial"])
        one = _unflatten_round(row)
        trials[row["trial"]] = TrialRounds(
            trial=row["trial"],
            arm=row["arm"],
            seed=row["seed"],
            finished=row["finished"],
            config=known.config if known else _unflatten_config(row),
            rounds=(*known.rounds, one) if known else (one,),
            # Earlier versions stopped none.
            stopped=bool(row.get("stopped")),
        )
    return list(trials.values())


def _flatten_round(one: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in one.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}/{part}": _plain(inner) for part, inner in value.items()})
        else:
            flat[key] = _plain(value)
    return flat


def _flatten_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sections become columns; below them a mapping is one option's value."""
    flat: dict[str, Any] = {}
    for section, options in config.items():
        if isinstance(options, Mapping):
            flat.update({f"config/{section}/{key}": _plain(value) for key, value in options.items()})
        else:
            flat[f"config/{section}"] = _plain(options)
    return flat


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, tuple, Mapping)) else value


def _column(name: str, values: list[Any]) -> pa.Array:
    """A column of one type: what the values share, else text."""
    if name in _NUMBERS:
        return pa.array(values, _NUMBERS[name])
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.array(values, pa.float64())
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        return pa.array(values)
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _unflatten_round(row: Mapping[str, Any]) -> dict[str, Any]:
    one: dict[str, Any] = {}
    for name, value in row.items():
        group, slash, part = name.partition("/")
        if group == "config" or name in _TRIAL_COLUMNS:
            continue
        if slash:
            one.setdefault(group, {})[part] = value
        else:
            one[name] = _parsed(value)
    return one


def _unflatten_config(row: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name, value in row.items():
        if not name.startswith("config/"):
            continue
        section, slash, key = name.removeprefix("config/").partition("/")
        if slash:
            config.setdefault(section, {})[key] = _parsed(value)
        else:
            config[section] = _parsed(value)
    return config


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value
