"""Which final models of a sweep stay on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from asvp.config import Config
from asvp.record.run_directory import RunDirectory
from asvp.tune_spaces.space import Trial


class ModelKeeper:
    """Removes final models of trials that are not the best, where `training.keep` is best.

    Parameters
    ----------
    runs : Path
        Folder of the run directories.
    configs : mapping of str to Config
        By the trial's name.
    done : iterable of str
        Trials that were finished before.
    """

    def __init__(self, runs: Path, configs: Mapping[str, Config], done: Iterable[str]) -> None:
        self._runs = runs
        self._best: tuple[float, str] | None = None
        self._chooses = {name for name, config in configs.items() if config.training.keep == "best"}
        for trial in done:
            self.finished(trial)

    def came(self, trial: Trial, config: Config) -> None:
        """A trial has joined."""
        if config.training.keep == "best":
            self._chooses.add(trial.name)

    def finished(self, trial: str) -> None:
        """A trial has come to its end: its model stays if it is the best so far, and the one before goes."""
        directory = RunDirectory(self._runs / trial)
        if trial not in self._chooses or not directory.model.exists():
            return
        accuracy = float((directory.read_summary() or {}).get("final_accuracy") or 0.0)
        if self._best is None or accuracy > self._best[0]:
            worse, self._best = self._best, (accuracy, trial)
        else:
            worse = (accuracy, trial)
        if worse is not None:
            RunDirectory(self._runs / worse[1]).drop_model()
