"""The run directory: which files a run leaves, and that two runs never share one."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from asvp.config import Config, build_config
from asvp.errors import RunDirectoryError
from asvp.files import write_atomically, write_json, write_text
from asvp.record.environment import describe_environment


class RunDirectory:
    """The files of one run.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model"
        self.checkpoint = path / "checkpoint"
        self.log = path / "run.log"
        self._config = path / "config.yaml"
        self._rounds = path / "rounds.jsonl"
        self._labelled = path / "labelled.parquet"
        self._summary = path / "summary.json"

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return self._config.exists()

    def check(self, *, resume: bool) -> None:
        """Find out whether a run can begin, or go on, here; write nothing.

        Raises
        ------
        RunDirectoryError
            If not, and why.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError("is a file, not a folder", key="--out", value=str(self.path))
        if resume and not self.holds_run:
            raise RunDirectoryError(
                "holds no run to resume", key="--resume", value=str(self.path), mend="Name a run's directory"
            )
        if not resume and self.holds_run:
            raise RunDirectoryError(
                "holds a run already", key="--out", value=str(self.path), mend="Add --resume to go on, or name another"
            )
        existing = next(folder for folder in (self.path, *self.path.parents) if folder.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            raise RunDirectoryError("is not writable", key="--out", value=str(existing), mend="Name another folder")

    def read_config(self) -> Config:
        """The resolved configuration of the run that is here."""
        return build_config(yaml.safe_load(self._config.read_text(encoding="utf-8")))

    def begin(self, config: Config) -> None:
        """Make the folder, and write the configuration and the environment.

        Raises
        ------
        RunDirectoryError
            If the folder holds a run with another configuration.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.checkpoint.mkdir(exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"cannot be made: {error.strerror}", key="--out", value=str(self.path)) from None
        if self.holds_run:
            self._require_same(config)
        else:
            write_json(self.path / "environment.json", describe_environment())
            write_text(self._config, config.to_yaml())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out while a run is under way; the lock ends with the process, however it ends.

        Raises
        ------
        RunDirectoryError
            If another process is at work here.
        """
        with (self.checkpoint / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunDirectoryError(
                    "another process is at work here", key="--out", value=str(self.path), mend="Wait for it, or stop it"
                ) from None
            yield

    def rounds(self) -> list[dict[str, Any]]:
        """The objects of rounds.jsonl."""
        if not self._rounds.exists():
            return []
        return [json.loads(line) for line in self._rounds.read_text(encoding="utf-8").splitlines()]

    def write_rounds(self, rounds: Sequence[Mapping[str, Any]]) -> None:
        """Replace rounds.jsonl."""
        write_text(self._rounds, "".join(json.dumps(record) + "\n" for record in rounds))

    def labelled(self) -> pa.Table:
        """The table {row, id, label, round} of the rows bought."""
        return pq.read_table(self._labelled)

    def write_labelled(self, table: pa.Table) -> None:
        """Replace labelled.parquet."""
        write_atomically(self._labelled, lambda path: pq.write_table(table, path))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace summary.json."""
        write_json(self._summary, summary)

    def read_summary(self) -> dict[str, Any] | None:
        """The summary, if the run is finished."""
        if not self._summary.exists():
            return None
        summary: dict[str, Any] = json.loads(self._summary.read_text(encoding="utf-8"))
        return summary

    def _require_same(self, config: Config) -> None:
        before, now = self.read_config().model_dump(), config.model_dump()
        changed = sorted(_differences(before, now))
        if changed:
            key, was, is_now = changed[0]
            raise RunDirectoryError(
                f"holds a run with {key} = {was}, not {is_now}",
                key="--out",
                value=str(self.path),
                mend="Resume with the configuration it was begun with, or name another folder",
            )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    for key in before:
        was, is_now = before[key], now[key]
        if isinstance(was, Mapping) and isinstance(is_now, Mapping) and set(was) == set(is_now):
            yield from _differences(was, is_now, f"{above}{key}.")
        elif was != is_now:
            yield f"{above}{key}", str(was), str(is_now)
