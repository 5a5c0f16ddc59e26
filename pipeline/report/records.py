"""What runs left behind, read back for a comparison."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from asvp.config import labels_by_round, read_scalar
from asvp.config.text import YAML_ERRORS
from asvp.errors import DataError, RunDirectoryError
from asvp.files import parse_json
from asvp.folders import settle
from asvp.parquet import read_parquet
from asvp.report.arm_names import arm_of, differences
from asvp.report.results import TrialRounds, read_results
from asvp.report.test_rows import TEST_ROWS, Correct, read_test_rows

Measure = Literal["final", "proxy"]
"""Accuracy of final models or of proxies, which are never mixed: one does not stand in for the other."""


@dataclass(frozen=True)
class RunRecord:
    """One run: an arm with a seed.

    Attributes
    ----------
    arm : str
        Name of the arm in the comparison.
    seed : int
        Seed of the run.
    config : mapping
        The resolved configuration.
    rounds : tuple of mapping
        The objects of rounds.jsonl, in order.
    summary : mapping or None
        summary.json; None while the run is not finished.
    path : Path
        Where it was read.
    picks : mapping of str to int
        Labels bought of each class; empty where labelled.parquet was not at hand.
    correct : mapping of int to ndarray of shape (N,), bool
        By labels bought, which of N test rows the final model got right; empty where test_rows.parquet was not at hand.
    stopped : bool
        Whether its sweep has stopped it early, before it was finished.
    """

    arm: str
    seed: int
    config: Mapping[str, Any]
    rounds: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any] | None
    path: Path
    picks: Mapping[str, int] = field(default_factory=dict)
    correct: Correct = field(default_factory=dict)
    stopped: bool = False

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.summary is not None

    @property
    def labelled(self) -> int:
        """Labels bought by the end of the last round."""
        return int(self.rounds[-1]["labelled"]) if self.rounds else 0

    @property
    def planned(self) -> int | None:
        """Labels that the budget holds; None where the configuration does not say."""
        budget = self.config.get("budget")
        return labels_by_round(budget)[-1] if isinstance(budget, list) and budget else None

    def accuracies(self, measure: Measure = "final") -> list[tuple[int, float]]:
        """Label counts, rising, and the accuracy measured at them."""
        points: dict[int, float] = {}
        for one in self.rounds:
            value = accuracy(one, measure)
            if value is not None:
                points[int(one["labelled"])] = value
        return sorted(points.items())

    def total(self, key: str, part: str | None = None) -> float:
        """The sum over all rounds of a number, or of one part of a group such as seconds."""
        values = (one.get(key) for one in self.rounds)
        if part is not None:
            values = (group.get(part) if isinstance(group, Mapping) else None for group in values)
        return float(sum(value or 0.0 for value in values))


def accuracy(one: Mapping[str, Any], measure: Measure) -> float | None:
    """The accuracy in a round's object, None where it was not measured."""
    value = one.get(f"{measure}_accuracy")
    return None if value is None else float(value)


def read_records(folders: Sequence[str | Path], *, unread: dict[Path, str] | None = None) -> list[RunRecord]:
    """Read runs and sweeps, and tell arms apart that would have the same name.

    Parameters
    ----------
    folders : sequence of str or Path
        Run directories (with config.yaml) and sweep directories (with runs/*/ or results.parquet). One given twice
        counts once.
    unread : dict of Path to str, optional
        Is given the runs of sweeps that cannot be read, with the reason; without it they are errors.

    Returns
    -------
    list of RunRecord
        Unfinished runs too, as far as they went, if they finished a round. In the order of the folders.

    Raises
    ------
    RunDirectoryError
        If a folder is missing, is neither a run nor a sweep, or holds no finished round.
    DataError
        If a file in it is broken, or an arm has two runs with the same seed.
    """
    records: list[RunRecord] = []
    if isinstance(folders, (str, Path)):
        folders = [folders]
    for folder in dict.fromkeys(Path(os.path.realpath(settle(given, key="DIR"))) for given in folders):
        found = [record for record in _read_folder(folder, unread) if record.rounds]
        if not found:
            raise RunDirectoryError(
                "holds no finished round", key="DIR", value=str(folder), mend="Wait for a round, or leave it out"
            )
        records += found
    if not records:
        raise RunDirectoryError("no folder was given", key="DIR", mend="Give run or sweep directories")
    records = _tell_apart(records)
    twice = [arm_seed for arm_seed, n in Counter((record.arm, record.seed) for record in records).items() if n > 1]
    if twice:
        arm, seed = twice[0]
        places = [str(record.path) for record in records if (record.arm, record.seed) == twice[0]]
        raise DataError(
            f"the arm {arm} has more than one run with seed {seed}",
            key="DIR",
            value=places,
            mend="Leave all but one out",
        )
    return records


def read_run(folder: Path) -> RunRecord:
    """Read one run directory; errors as in `read_records`."""
    config = _config(folder / "config.yaml")
    arm_file, summary_file = folder / "arm.json", folder / "summary.json"
    arm = _mapping(arm_file, parse_json).get("arm") if arm_file.is_file() else None
    rounds = _read_rounds(folder / "rounds.jsonl")
    return RunRecord(
        arm=str(arm) if arm else arm_of(config),
        seed=config.get("seed", 0),
        config=config,
        rounds=tuple(rounds),
        summary=_mapping(summary_file, parse_json) if summary_file.is_file() else None,
        path=folder,
        stopped=not summary_file.is_file() and (folder / "stopped.json").is_file(),
        picks=_read_picks(folder / "labelled.parquet"),
        correct=_read_correct(folder / TEST_ROWS, rounds),
    )


def run_record(trial: TrialRounds, folder: Path) -> RunRecord:
    """A trial whose rounds and options are in memory, with what else its run directory tells; errors as there."""
    summary = folder / "summary.json"
    return RunRecord(
        arm=trial.arm,
        seed=trial.seed,
        config=trial.config,
        rounds=trial.rounds,
        summary=_mapping(summary, parse_json) if trial.finished else None,
        path=folder,
        stopped=trial.stopped,
        picks=_read_picks(folder / "labelled.parquet"),
        correct=_read_correct(folder / TEST_ROWS, trial.rounds),
    )


def _config(path: Path) -> dict[str, Any]:
    """A configuration as far as a comparison looks into it; one of another version may have other options."""
    config = _mapping(path, read_scalar)
    wrong = [
        name
        for name, fits in (
            ("seed", _is_count(config.get("seed", 0))),
            *((s, _is_section(config, s)) for s in _SECTIONS),
        )
        if not fits
    ]
    budget = config.get("budget", [1])
    if not isinstance(budget, list) or not budget or not all(_is_count(labels) for labels in budget):
        wrong.append("budget")
    if wrong or not all(isinstance(key, str) for key in config):
        raise DataError(
            f"is no configuration of a run: {wrong[0] if wrong else 'a key'} is not what it should be",
            key=str(path),
            mend=_LEAVE_OUT,
        )
    return config


_SECTIONS = ("data", "encoder", "selection", "refresh", "cost")
_LEAVE_OUT = "Leave this run out, or run it again"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_section(config: Mapping[str, Any], name: str) -> bool:
    return isinstance(config.get(name, {}), Mapping)


def _read_folder(folder: Path, unread: dict[Path, str] | None) -> list[RunRecord]:
    if not folder.is_dir():
        raise RunDirectoryError("is no folder", key="DIR", value=str(folder), mend="Give a run or sweep directory")
    if (folder / "config.yaml").is_file() and (folder / "rounds.jsonl").is_file():
        return [read_run(folder)]
    runs = sorted((path.parent for path in folder.glob("runs/*/config.yaml")), key=_place)
    if runs:
        return _read_runs(runs, unread)
    if (folder / "results.parquet").is_file():
        return [
            RunRecord(
                arm=row.arm,
                seed=row.seed,
                config=row.config,
                rounds=row.rounds,
                summary={} if row.finished else None,
                path=folder / row.trial,
                stopped=row.stopped,
            )
            for row in read_results(folder / "results.parquet")
        ]
    raise RunDirectoryError(
        "is neither a run (config.yaml and rounds.jsonl) nor a sweep (runs/ or results.parquet)",
        key="DIR",
        value=str(folder),
        mend="Give the folder that asvp run or asvp sweep wrote",
    )


def _read_runs(runs: Iterable[Path], unread: dict[Path, str] | None) -> list[RunRecord]:
    found, errors = [], {}
    for run in runs:
        try:
            found.append(read_run(run))
        except DataError as error:
            errors[run] = error
    if errors and (unread is None or not found):
        raise next(iter(errors.values()))
    if unread is not None:
        unread.update({run: str(error) for run, error in errors.items()})
    return found


def _place(run: Path) -> tuple[int, str]:
    """Where a run stands in the order of its sweep."""
    try:
        place = _mapping(run / "arm.json", parse_json).get("place", 0)
    except DataError:
        # There is none; or it is damaged, and the run is found to be so when it is read.
        place = 0
    return place if _is_count(place) else 0, run.name


def _mapping(path: Path, parse: Any) -> dict[str, Any]:
    found = _load(path, parse)
    if not isinstance(found, dict):
        raise DataError("holds no mapping of keys to values", key=str(path), mend=_LEAVE_OUT)
    return found


def _load(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, *YAML_ERRORS) as error:
        raise DataError(
            f"cannot be read: {' '.join(str(error).split())}",
            key=str(path),
            mend="Leave this run out, or run it again",
        ) from None


def _read_rounds(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = _load(path, str).splitlines(keepends=True)
    rounds = []
    for number, line in enumerate(lines, start=1):
        try:
            one = parse_json(line)
        except ValueError:
            # A run that is being written, or was killed while it wrote, ends in half a line.
            if number == len(lines) and not line.endswith("\n"):
                break
            one = None
        if not isinstance(one, dict) or not _is_count(one.get("labelled")):
            raise DataError(
                f"line {number} is no round: an object with `labelled`", key=str(path), value=line, mend=_LEAVE_OUT
            )
        wrong = next((key for key, value in one.items() if not _fits(key, value)), None)
        if wrong is not None:
            raise DataError(
                f"line {number} is no round: {wrong} is no number", key=str(path), value=one[wrong], mend=_LEAVE_OUT
            )
        rounds.append(one)
    return rounds


_NUMBERS = {
    "proxy_accuracy",
    "final_accuracy",
    "final_macro_f1",
    "logme",
    "logme_ped",
    "sampling_seconds",
    "training_seconds",
    "saved_seconds",
}
_GROUPS = {"seconds", "cost"}


def _fits(key: str, value: Any) -> bool:
    """Whether what a round tells under a key is a number, or a group of numbers, where a comparison counts on one."""
    if key in _GROUPS:
        return isinstance(value, Mapping) and all(_is_number(inner) for inner in value.values())
    return key not in _NUMBERS or _is_number(value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _read_picks(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    try:
        labels = read_parquet(path, columns=["label"])["label"].to_pylist()
    except Exception as error:
        # Whatever pyarrow makes of bytes that were altered.
        raise DataError(f"cannot be read: {error}", key=str(path), mend="Leave this run out, or run it again") from None
    return dict(Counter(str(label) for label in labels))


def _read_correct(path: Path, rounds: Iterable[Mapping[str, Any]]) -> Correct:
    """Of the final models that the rounds tell of; a file that is not theirs is none."""
    told = {int(one["labelled"]): value for one in rounds if (value := accuracy(one, "final")) is not None}
    return {
        labelled: rows
        for labelled, rows in read_test_rows(path).items()
        if labelled in told and math.isclose(float(rows.mean()), told[labelled])
    }


def _tell_apart(records: list[RunRecord]) -> list[RunRecord]:
    """Add what differs to names that runs with different options share."""
    by_arm: dict[str, list[RunRecord]] = {}
    for record in records:
        by_arm.setdefault(record.arm, []).append(record)
    told = {
        id(run): differs
        for runs in by_arm.values()
        for run, differs in zip(runs, differences([run.config for run in runs]), strict=True)
    }
    return [
        replace(record, arm=f"{record.arm} ({told[id(record)]})") if told[id(record)] else record for record in records
    ]
