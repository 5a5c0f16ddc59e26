"""How the trials of a sweep stand, told from their files without starting anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asvp.config import Config
from asvp.record.run_directory import RunDirectory


@dataclass(frozen=True)
class Standing:
    """Trials by what becomes of them when the sweep goes on.

    Attributes
    ----------
    done : tuple of str
        Finished; they are left alone.
    failed : dict of str to str
        Failed for good, with the reason; they stay failed.
    stopped : tuple of str
        Stopped early; they stay stopped.
    begun : tuple of str
        They go on after their last round.
    retried : tuple of str
        Failed before, and tried again.
    new : tuple of str
    """

    done: tuple[str, ...] = ()
    failed: Mapping[str, str] | None = None
    begun: tuple[str, ...] = ()
    retried: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()

    @property
    def left(self) -> frozenset[str]:
        """Trials that there is something to do for."""
        return frozenset({*self.begun, *self.retried, *self.new})

    def __str__(self) -> str:
        counts = [
            (len(self.done), "done"),
            (len(self.begun), "go on" if len(self.begun) != 1 else "goes on"),
            (len(self.retried), "tried again"),
            (len(self.new), "new"),
            (len(self.stopped), "stopped early (--scheduler none goes on with them)"),
            (len(self.failed or {}), "failed before (--retry-failed tries them again)"),
        ]
        return ", ".join(f"{count} {what}" for count, what in counts if count)


def standing(
    configs: Mapping[str, Config], runs: Path, *, retry_failed: bool, go_on_with_stopped: bool = False
) -> Standing:
    """How trials stand, by their names.

    Parameters
    ----------
    configs : mapping of str to Config
        What each trial is to run now; one that was finished with a shorter budget goes on.
    runs : Path
        The folder of the run directories.
    retry_failed : bool
        Whether those that failed are tried again.
    go_on_with_stopped : bool
        Whether those that were stopped early go on.
    """
    done: list[str] = []
    begun: list[str] = []
    retried: list[str] = []
    new: list[str] = []
    stopped: list[str] = []
    failed = {}
    for name, config in configs.items():
        directory = RunDirectory(runs / name)
        failure = directory.failure()
        if is_done(directory, config):
            done.append(name)
        elif failure is not None and not retry_failed:
            failed[name] = str(failure["message"])
        elif failure is not None:
            retried.append(name)
        elif directory.stopped() is not None and not go_on_with_stopped:
            stopped.append(name)
        else:
            (begun if directory.holds_run else new).append(name)
    return Standing(tuple(done), failed, tuple(begun), tuple(retried), tuple(new), tuple(stopped))


def is_done(directory: RunDirectory, config: Config) -> bool:
    """Whether a run has come to the end of the budget that a configuration gives it."""
    return directory.finished and len(directory.rounds()) == len(config.budget)


def unfinished(names: Sequence[str], runs: Path) -> tuple[str, ...]:
    """Those that have neither come to their end nor were stopped early."""
    each = ((name, RunDirectory(runs / name)) for name in names)
    return tuple(name for name, directory in each if not directory.finished and directory.stopped() is None)
