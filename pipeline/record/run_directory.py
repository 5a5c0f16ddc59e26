"""The run directory: which files a run leaves, whose they are, and that two runs never share one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import asvp
from asvp.config import Config, build_config, read_scalar
from asvp.config.text import YAML_ERRORS
from asvp.errors import AsvpError, ConfigError, DataError, RunDirectoryError
from asvp.files import parse_json, temporary_beside, write_atomically, write_json
from asvp.folders import (
    MARKER,
    entries,
    foreign_folder,
    make_folder,
    mark,
    read_marker,
    replace_folder,
    require_room,
    settle,
    sweep_up,
)
from asvp.holds import Hold
from asvp.parquet import read_parquet
from asvp.record.checkpoint import is_checkpoint
from asvp.record.environment import describe_environment
from asvp.record.same_config import config_digest, require_longer, require_same
from asvp.redaction import redact
from asvp.remote.copies import drop_there, fetch_file, held_here, put_there
from asvp.report.shown_rows import ROW_MAP, SHOWN_ROWS, read_map, read_shown_rows, write_table
from asvp.report.test_rows import TEST_ROWS, Correct, read_test_rows, write_test_rows

_BEFORE_THE_FIRST_ROUND = {"environment.json", "checkpoint", "arm.json", "run.log", "failure.json"}
"""What a run that was killed while it began may leave without a configuration."""


class RunDirectory:
    """The files of one run.

    Parameters
    ----------
    path : path
        As the user wrote it.

    Raises
    ------
    RunDirectoryError
        If it can be no folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = settle(path)
        self.model = self.path / "model"
        self.checkpoint = self.path / "checkpoint"
        self.log = self.path / "run.log"
        self._config = self.path / "config.yaml"
        self._environment = self.path / "environment.json"
        self._rounds = self.path / "rounds.jsonl"
        self._labelled = self.path / "labelled.parquet"
        self._summary = self.path / "summary.json"
        self._test_rows = self.path / TEST_ROWS
        self._shown, self._map = self.path / SHOWN_ROWS, self.path / ROW_MAP
        self._arm = self.path / "arm.json"
        self._failure = self.path / "failure.json"
        self._stopped = self.path / "stopped.json"
        self._hold: Hold | None = None
        self._begun: Config | None = None

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here: its configuration is there, or what only a run has beside it."""
        return self.is_ours and (self._config.exists() or bool(entries(self.path) - _BEFORE_THE_FIRST_ROUND))

    @property
    def is_ours(self) -> bool:
        """Whether asvp can be shown to have made this folder: by its record of the environment, or a checkpoint."""
        return _is_environment(self._environment) or is_checkpoint(self.checkpoint)

    def check(self, *, resume: bool) -> None:
        """Find out whether a run can begin, or go on, here; write nothing.

        Raises
        ------
        RunDirectoryError
            If not, and why.
        """
        require_room(self.path)
        there = entries(self.path)
        if resume and not self.holds_run:
            raise self._nothing_to_resume()
        if not resume and self.holds_run:
            raise RunDirectoryError(
                "holds a run already", key="--out", value=str(self.path), mend="Add --resume to go on, or name another"
            )
        if not resume and not self._only_begun(there):
            lying = f"is not empty ({min(there - _BEFORE_THE_FIRST_ROUND or there)} lies there), and holds no run"
            raise RunDirectoryError(
                "holds a sweep, not a run" if self._holds_sweep else lying,
                key="--out",
                value=str(self.path),
                mend="Name a new or empty folder",
            )

    def read_config(self) -> Config:
        """The resolved configuration of the run that is here.

        Raises
        ------
        RunDirectoryError
            If the file is missing, damaged, changed since the run was begun, or of another version.
        """
        content = self._read(self._config)
        environment = self.environment()
        version = (environment.get("packages") or {}).get("asvp")
        try:
            raw = read_scalar(content.decode("utf-8"))
        except YAML_ERRORS as error:
            raise self._damaged(self._config, f"is no YAML: {' '.join(str(error).split())}") from None
        if not isinstance(raw, dict):
            raise self._damaged(self._config, "is cut short or damaged: it holds no mapping of keys to values")
        try:
            config = build_config(raw)
        except ConfigError as error:
            other = "" if version == asvp.__version__ else f"Go on with asvp {version or 'of that version'}, or "
            raise RunDirectoryError(
                f"{error.key}: {error.message} (a run that asvp {version or '?'} began, read by {asvp.__version__})",
                key=str(self._config),
                value=error.value,
                mend=f"{other}put the file back as it was" if other else "Put the file back as it was",
            ) from None
        begun_with = environment.get("config")
        if begun_with is not None and begun_with != config_digest(config):
            raise RunDirectoryError(
                "is not the configuration that this run was begun with: the file was changed",
                key=str(self._config),
                mend="Put it back as it was, or begin a new run with the changed one",
            )
        return config

    def environment(self) -> dict[str, Any]:
        """The record of what the run was begun on.

        Raises
        ------
        RunDirectoryError
            If it is missing or damaged.
        """
        if not _is_environment(self._environment):
            self._read(self._environment)
            raise self._damaged(self._environment, "is cut short or damaged")
        found: dict[str, Any] = parse_json(self._environment.read_text(encoding="utf-8"))
        return found

    @contextmanager
    def held(self, mandate: str | None = None) -> Iterator[None]:
        """Make the folder, and keep other processes out for as long as the block lasts, or the process lives.

        Parameters
        ----------
        mandate : str, optional
            Of the sweep's hold: then an earlier try that is still at work here is fenced out.

        Raises
        ------
        RunDirectoryError
            If another process is at work here.
        """
        if self._hold is not None:
            yield
            return
        make_folder(self.checkpoint)
        with held_here(self.checkpoint, self.path, mandate=mandate) as hold:
            self._hold = hold
            try:
                sweep_up(self.path)
                sweep_up(self.checkpoint, but=hold.folder)
                yield
            finally:
                self._hold = None

    def require_hold(self) -> None:
        """Raise a SupersededError if a newer process has taken this directory over."""
        if self._hold is not None:
            self._hold.require()

    def write(self, path: Path, write: Callable[[Path], Any]) -> None:
        """Have a file of this directory written, whole or not at all.

        Raises
        ------
        SupersededError
            If a newer process has taken the directory over; nothing is written.
        """
        if self._hold is None:
            write_atomically(path, write)
            put_there(path)
        else:
            self._hold.write(path, write)

    def remove(self, path: Path) -> None:
        """Remove a file of this directory, if it is there; errors as in `write`."""
        if self._hold is None:
            path.unlink(missing_ok=True)
            drop_there(path)
        else:
            self._hold.remove(path)

    @contextmanager
    def opened(self, config: Config, machine: Mapping[str, Any], *, resume: bool) -> Iterator[None]:
        """Hold the directory, if it is not held yet, and write configuration and environment if the run is new.

        Parameters
        ----------
        config : Config
        machine : mapping
            What the work is done on.
        resume : bool

        Raises
        ------
        RunDirectoryError
            If another process is at work here, or the folder holds a run with another configuration.
        """
        with self.held():
            # Somebody else may have begun here since the folder was looked at.
            self.check(resume=resume)
            if not resume:
                # What shows the folder to be ours comes first, the configuration last.
                self._write_json(self._environment, {**describe_environment(machine), "config": config_digest(config)})
                self._write_text(self._config, config.to_yaml())
                self._begun = config
            yield

    def rounds(self) -> list[dict[str, Any]]:
        """The objects of rounds.jsonl; none if there is no such file.

        Raises
        ------
        RunDirectoryError
            If a line is no object.
        """
        if not self._rounds.exists():
            return []
        lines = self._text(self._rounds).splitlines()
        return [self._round(number, line) for number, line in enumerate(lines, start=1)]

    def write_rounds(self, rounds: Sequence[Mapping[str, Any]]) -> None:
        """Replace rounds.jsonl."""
        self._write_text(self._rounds, "".join(json.dumps(record) + "\n" for record in rounds))

    def labelled(self) -> pa.Table | None:
        """The table {row, id, label, round} of the rows bought; None if there is no such file.

        Raises
        ------
        RunDirectoryError
            If it cannot be read, or has other columns.
        """
        if not self._labelled.exists():
            return None
        try:
            table = read_parquet(self._labelled)
        except Exception as error:
            # Whatever pyarrow makes of bytes that were altered.
            raise self._damaged(self._labelled, f"cannot be read: {' '.join(str(error).split())}") from None
        if table.column_names != list(_LABELLED) or not all(
            fits(column.type) and not column.null_count
            for fits, column in zip(_LABELLED.values(), table.columns, strict=True)
        ):
            raise self._damaged(self._labelled, f"has other columns than {', '.join(_LABELLED)}, or gaps in them")
        return table

    def write_labelled(self, table: pa.Table) -> None:
        """Replace labelled.parquet."""
        self.write(self._labelled, lambda path: pq.write_table(table, path, write_page_checksum=True))

    def test_rows(self) -> dict[int, NDArray[np.bool_]]:
        """By labels bought, which test rows final models got right, shape (N,); errors as in `read_test_rows`."""
        return read_test_rows(self._test_rows)

    def write_test_rows(self, correct: Correct) -> None:
        """Replace test_rows.parquet."""
        write_test_rows(self._test_rows, correct, write=self.write)

    def shown(self) -> tuple[pa.Table, pa.Table]:
        """Picks to look at and the map, as `asvp.report.shown_rows` has them; what cannot be read is begun anew."""
        found = []
        for path, read in ((self._shown, read_shown_rows), (self._map, read_map)):
            try:
                found.append(read(path))
            except DataError:
                self.remove(path)
                found.append(read(path))
        return found[0], found[1]

    def write_shown(self, shown: pa.Table, points: pa.Table) -> None:
        """Replace shown_rows.parquet and map.parquet."""
        write_table(self._shown, shown, write=self.write)
        write_table(self._map, points, write=self.write)

    def drop_shown(self) -> None:
        """Remove both."""
        self.remove(self._shown)
        self.remove(self._map)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace summary.json."""
        self._write_json(self._summary, summary)

    def read_summary(self) -> dict[str, Any] | None:
        """The summary, if there is one.

        Raises
        ------
        RunDirectoryError
            If it is damaged.
        """
        if not self._summary.exists():
            return None
        try:
            summary = parse_json(self._text(self._summary))
        except ValueError as error:
            raise self._damaged(self._summary, f"is cut short or damaged: {error}") from None
        if not isinstance(summary, dict):
            raise self._damaged(self._summary, "is cut short or damaged: it is no object")
        return summary

    def write_arm(self, arm: str, place: int) -> None:
        """Say which arm of a sweep this is, and where it stands among its trials."""
        told = {"arm": arm, "place": place}
        if _told(self._arm) != told:
            self._write_json(self._arm, told)

    def failure(self) -> dict[str, Any] | None:
        """What failure.json tells of a trial that failed for good: kind and message, both text; None if there is none.

        Something else by this name counts as none.
        """
        told = _told(self._failure)
        fits = told is not None and all(isinstance(told.get(name), str) for name in ("kind", "message"))
        return told if fits else None

    def write_failure(self, kind: str, message: str) -> None:
        """Keep why a trial failed for good, for whoever goes on with its sweep."""
        self._write_json(self._failure, {"kind": kind, "message": redact(message)})

    def forget_failure(self) -> None:
        """Remove failure.json: the trial is tried again."""
        if self.failure() is not None:
            self.remove(self._failure)

    def stopped(self, *, anew: bool = False) -> dict[str, Any] | None:
        """What stopped.json tells of a trial that its sweep has stopped early: a message; None if there is none.

        Parameters
        ----------
        anew : bool
            Whether its sweep may have written it since the directory was fetched from its URI.
        """
        if anew:
            fetch_file(self._stopped)
        told = _told(self._stopped)
        return told if told is not None and isinstance(told.get("message"), str) else None

    @property
    def stopped_early(self) -> bool:
        """Whether its sweep has ended the run before its end; one that came to it nevertheless is finished."""
        return not self.finished and self.stopped() is not None

    def write_stopped(self, told: Mapping[str, Any]) -> None:
        """Have the run end after the round it is in; written by its sweep, whoever holds the directory."""
        write_json(self._stopped, dict(told))
        put_there(self._stopped)

    def forget_stopped(self) -> None:
        """Remove stopped.json: the trial goes on."""
        if self.stopped() is not None:
            self.remove(self._stopped)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end; whether its files fit each other is found out when it is read."""
        return self._summary.exists()

    def require_own_model(self) -> None:
        """Raise a RunDirectoryError if model/, which will be replaced, holds what asvp did not write."""
        if os.path.lexists(self.model) and not self._model_is_ours():
            raise foreign_folder(self.model)

    def replace_model(self, fill: Callable[[Path], None]) -> None:
        """Have the folder of the final model filled, in place of the one that an interrupted run has left."""

        def fill_and_mark(folder: Path) -> None:
            fill(folder)
            mark(folder, "model", asvp.__version__, entries(folder))

        self.require_hold()
        temporary = temporary_beside if self._hold is None else self._hold.temporary
        try:
            replace_folder(
                self.model, fill_and_mark, ours=lambda made: self._model_is_ours(entries(made)), temporary=temporary
            )
            put_there(self.model)
        except AsvpError:
            self.require_hold()
            raise

    def drop_model(self) -> None:
        """Remove model/, where it holds what asvp wrote and nothing else."""
        if self._model_is_ours():
            gone = temporary_beside(self.model)
            self.model.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            drop_there(self.model)

    def require_same(self, config: Config) -> None:
        """Raise a RunDirectoryError unless the run that is here may go on with this configuration.

        What is in `MAY_CHANGE` may differ; a budget that differs begins with the finished rounds, and buys no fewer
        labels in all.
        """
        begun = self.read_config()
        require_same(begun, config, self.path)
        if config.budget != begun.budget:
            require_longer(begun.budget, config.budget, len(self.rounds()), self.path)

    def go_on_with(self, config: Config) -> None:
        """Keep the configuration that an unfinished run goes on with, and drop the summary of a shorter budget."""
        if config != (self._begun or self.read_config()):
            self._write_text(self._config, config.to_yaml())
        self.remove(self._summary)

    @property
    def _holds_sweep(self) -> bool:
        return (read_marker(self.path) or {}).get("kind") == "sweep"

    def _nothing_to_resume(self) -> RunDirectoryError:
        mend = "Name the directory of a run, as `asvp run` told it"
        if not self.path.exists():
            message = "is no folder, so it holds no run to resume"
        elif self._holds_sweep:
            message = "holds a sweep, not a run"
            mend = "Go on with it by `asvp sweep SPACE --out DIR --resume`, or name a run in its folder runs/"
        elif self._config.exists():
            message = "holds no run to resume: its environment.json is missing or no longer what asvp wrote"
        else:
            message = "holds no run to resume"
        return RunDirectoryError(message, key="--resume", value=str(self.path), mend=mend)

    def _only_begun(self, there: set[str]) -> bool:
        """Whether nothing is here but what a run of ours leaves that is killed before it has a configuration."""
        if not there <= _BEFORE_THE_FIRST_ROUND:
            return False
        if "environment.json" in there and not _is_environment(self._environment):
            return False
        if "arm.json" in there and not _is_arm(self._arm):
            return False
        if "failure.json" in there and self.failure() is None:
            return False
        if "run.log" in there and "environment.json" not in there:
            return False
        return "checkpoint" not in there or entries(self.checkpoint) <= {"lock"}

    def _model_is_ours(self, like: set[str] | None = None) -> bool:
        """Whether model/ is a classifier that we saved, and holds no other files (than `like`, if that is given)."""
        if self.model.is_symlink() or not self.model.is_dir():
            return False
        there, marker = entries(self.model), read_marker(self.model)
        if marker is not None:
            return there <= {MARKER, *marker["files"]}
        # Earlier versions did not mark the folder.
        try:
            record = parse_json((self.model / "asvp.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return not there
        return isinstance(record, dict) and "classes" in record and (like is None or there <= like)

    def _write_text(self, path: Path, text: str) -> None:
        self.write(path, lambda other: other.write_text(text, encoding="utf-8"))

    def _write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        self._write_text(path, json.dumps(content, indent=2) + "\n")

    def _round(self, number: int, line: str) -> dict[str, Any]:
        try:
            record = parse_json(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise self._damaged(self._rounds, f"line {number} is cut short or damaged")
        return record

    def _text(self, path: Path) -> str:
        try:
            return self._read(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._damaged(path, f"is damaged: {error}") from None

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise self._damaged(path, "is missing from the run") from None
        except OSError as error:
            raise self._damaged(path, f"cannot be read: {error.strerror}") from None

    def _damaged(self, path: Path, message: str) -> RunDirectoryError:
        return RunDirectoryError(message, key=str(path), mend="Put the file back as it was, or begin a new run")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


_LABELLED = {"row": pa.types.is_int64, "id": _is_text, "label": _is_text, "round": pa.types.is_int64}
"""The columns of labelled.parquet, and what their types must be."""


def _told(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is none that can be read."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_environment(path: Path) -> bool:
    """Whether a file is what `describe_environment` made, in this or an earlier version."""
    packages = (_told(path) or {}).get("packages")
    return isinstance(packages, dict) and "asvp" in packages


def _is_arm(path: Path) -> bool:
    return set(_told(path) or {}) == {"arm", "place"}
