"""How runs and sweeps stand, from their files alone: of those that are at work, and of those that died."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asvp.errors import RunDirectoryError
from asvp.files import parse_json, write_atomically
from asvp.remote.lease import HELD, is_leased
from asvp.report.status import Planned, Status, TrialStatus, trial_status

TRIALS = "trials.json"
"""The file of a sweep directory that names its trials, also those that have not begun."""


def write_planned(
    folder: Path,
    trials: Sequence[Planned],
    *,
    write: Callable[[Path, Callable[[Path], Any]], None] = write_atomically,
) -> None:
    """Name the trials of a sweep in its directory (by `write`), for whoever asks how it stands."""
    text = json.dumps([asdict(trial) for trial in trials], indent=2) + "\n"
    write(folder / TRIALS, lambda path: path.write_text(text, encoding="utf-8"))


def read_status(folder: Path) -> Status:
    """How a run or a sweep stands.

    Raises
    ------
    RunDirectoryError
        If the folder is neither.
    """
    runs = _runs(folder)
    planned = _planned(folder / TRIALS)
    if _is_run(folder):
        trials = [read_trial(_of_run(folder), folder)]
    elif planned or runs:
        unplanned = [_of_run(path) for name, path in runs.items() if name not in {one.trial for one in planned}]
        trials = [read_trial(one, runs.get(one.trial)) for one in [*planned, *unplanned]]
    else:
        raise _neither(folder)
    written = [path.stat().st_mtime for one in [folder, *runs.values()] for path in _signs(one)]
    silent = max(0.0, time.time() - max(written)) if written else None
    return Status(folder, tuple(trials), at_work(folder) or any(t.state == "running" for t in trials), silent)


def run_folders(folder: Path) -> dict[str, Path]:
    """The run directories of a sweep by their names; of a run, its own.

    Raises
    ------
    RunDirectoryError
        If the folder is neither.
    """
    if _is_run(folder):
        return {folder.name: folder}
    runs = _runs(folder)
    if not runs and not _planned(folder / TRIALS):
        raise _neither(folder)
    return runs


def _is_run(folder: Path) -> bool:
    return (folder / "rounds.jsonl").is_file() or (folder / "config.yaml").is_file()


def _runs(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted((folder / "runs").glob("*")) if path.is_dir()}


def _neither(folder: Path) -> RunDirectoryError:
    mend = "Give the folder that asvp run or asvp sweep wrote"
    return RunDirectoryError("is neither a run nor a sweep", key="DIR", value=str(folder), mend=mend)


def at_work(folder: Path) -> bool:
    """Whether a process holds a lock of a run or sweep directory; False also where the file system knows no locks.

    In what was fetched from a URI it is told by the holder's last sign of life.
    """
    leases = [folder / HELD, folder / "checkpoint" / HELD]
    if any(lease.is_file() and is_leased(_object(lease), lease.stat().st_mtime) for lease in leases):
        return True
    locks = [folder / ".asvp.lock", folder / "checkpoint" / "lock"]
    locks += [lock for place in (folder, folder / "checkpoint") for lock in place.glob(".held.*.tmp/lock")]
    return any(_is_locked(lock) for lock in locks)


def _is_locked(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_trial(planned: Planned, folder: Path | None) -> TrialStatus:
    """How one trial stands by its run directory; None: it has none yet."""
    if folder is None:
        return trial_status(planned, [], "waiting")
    try:
        rounds = list(_rounds(folder / "rounds.jsonl"))
    except (OSError, ValueError, TypeError) as error:
        return trial_status(planned, [], "damaged", f"rounds.jsonl: {error}")
    failure = _object(folder / "failure.json")
    if (folder / "summary.json").is_file() and len(rounds) >= len(planned.budget):
        return trial_status(planned, rounds, "finished")
    if failure:
        return trial_status(planned, rounds, "failed", str(failure.get("message", "")))
    if at_work(folder):
        return trial_status(planned, rounds, "running")
    stopped = _object(folder / "stopped.json")
    if stopped:
        return trial_status(planned, rounds, "stopped", str(stopped.get("message", "")))
    return trial_status(planned, rounds, "begun" if rounds else "waiting")


def _rounds(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            one = parse_json(line)
        except ValueError:
            one = None
        if not isinstance(one, dict) or not isinstance(one.get("labelled"), int):
            raise ValueError(f"line {number} is no round")
        yield one


def _planned(path: Path) -> list[Planned]:
    """What a sweep has put down; nothing where that cannot be read: there are its runs."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        return [Planned(one["trial"], one["arm"], int(one["seed"]), tuple(one["budget"])) for one in found]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _of_run(folder: Path) -> Planned:
    """What a run's own files say of its plan; its name where they say nothing."""
    # Reading YAML and the options takes longer than all the rest, and a sweep does without.
    from asvp.config import read_scalar
    from asvp.config.text import YAML_ERRORS

    try:
        config = read_scalar((folder / "config.yaml").read_text(encoding="utf-8"))
        budget = tuple(int(labels) for labels in config["budget"])
        seed, strategy, mode = int(config["seed"]), config["selection"]["strategy"], config["mode"]
    except (OSError, KeyError, *YAML_ERRORS):
        return Planned(folder.name, str(_object(folder / "arm.json").get("arm", folder.name)), 0)
    own = "random" if strategy == "random" and mode == "svp" else f"{mode} {strategy}"
    return Planned(folder.name, str(_object(folder / "arm.json").get("arm", own)), seed, budget)


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where there is none."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _signs(folder: Path) -> list[Path]:
    """Files that are written while work goes on."""
    names = ("run.log", "rounds.jsonl", "summary.json", "failure.json", "results.parquet", TRIALS)
    return [folder / name for name in names if (folder / name).is_file()]
