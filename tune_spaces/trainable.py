"""One trial of a sweep: a thin driver, told by Ray Tune what to run and telling it of every round.

Nothing imported here imports PyTorch: what needs it is done by the workers of the pool.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray import tune
from ray.exceptions import RayError, RayTaskError

from asvp.actors.backend import PoolBackend
from asvp.actors.pool import Pool
from asvp.driver.feature_versions import VersionZero
from asvp.driver.loop import ENOUGH, RunResult, run
from asvp.driver.prepared import Prepared
from asvp.errors import AsvpError, LostError, PoolLostError, StorageError, SupersededError
from asvp.files import is_full
from asvp.progress import LoggedReporter, Reporter, SilentReporter
from asvp.record.run_directory import RunDirectory
from asvp.redaction import redact
from asvp.remote.copies import at_hand

RECORD, FAILED, STOP = "record", "failed", "stop"
"""Keys of a report: the round's record, as JSON; of a last one: the trial has failed for good, and why; the whole sweep
has to stop, and why."""


def run_trial(choice: Mapping[str, Any], pool: Pool, runs: str, mandate: str) -> None:
    """Run a trial in its run directory; begun before, it goes on where its checkpoint is.

    What raises is lost and tried again: a process or node that died, a directory that a newer try took over. What fails
    for good (input, work that cannot be done, a mistake in the code) is kept in failure.json and reported as a last
    result, which Ray Tune does not try again. A trial that the sweep stops early (stopped.json) ends after the round it
    is in, and comes to an end as if that had been its last.

    Parameters
    ----------
    choice : mapping
        What Ray Tune varies: {"trial": its name, "arm": the arm's, "place": among all trials, "given": a `Given`}.
    pool : Pool
        Of workers, which all trials share.
    runs : str
        Folder or URI of all run directories.
    mandate : str
        Of the sweep's hold.
    """
    # No GPU is for a driver, whatever it imports.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    name = choice["trial"]
    last: dict[str, Any] = {"labelled": 0}
    # What the backend has to tell (a cache that fails, workers that are awaited) belongs into the run's log.
    reporter = LoggedReporter(SilentReporter())

    def on_round(directory: RunDirectory, record: Mapping[str, Any]) -> object:
        last["labelled"] = record["labelled"]
        # It comes back when the sweep has heard of it, and has decided whether the trial goes on.
        # In one piece: of every number that it is told Tune keeps nine more, for each trial to the end of the sweep.
        tune.report({**last, RECORD: json.dumps(record)})
        return ENOUGH if directory.stopped(anew=True) else None

    try:
        with _held(f"{runs}/{name}", mandate, reporter) as directory:
            directory.forget_failure()
            directory.write_arm(choice["arm"], choice["place"])
            try:
                if directory.stopped() is None:
                    prepared, features = choice["given"].read()
                    _run(prepared, features, directory, pool, name, partial(on_round, directory), reporter)
            except Exception as error:
                if not _is_lost(error) and not _has_no_room(error):
                    directory.write_failure(type(error).__name__, _told(error))
                raise
    except Exception as error:
        if _is_lost(error):
            raise
        last[STOP if _has_no_room(error) else FAILED] = _told(error)
    # A trial that was finished before reports its end again, so that Tune knows it too.
    tune.report({**last, "done": True})


@contextmanager
def _held(place: str, mandate: str, reporter: Reporter) -> Iterator[RunDirectory]:
    """A run directory of the sweep, held for as long as the block lasts."""
    with at_hand(place, begun=True, say=reporter.say) as folder:
        directory = RunDirectory(folder)
        with directory.held(mandate):
            yield directory


def _run(
    one: Prepared,
    features: VersionZero,
    directory: RunDirectory,
    pool: Pool,
    name: str,
    on_round: Any,
    reporter: LoggedReporter,
) -> RunResult:
    """Run it on the shared features; where those were lost with a node, and are in no cache, on some of its own."""
    backend = PoolBackend(pool, one.encoder, one.cache, reporter, name)

    def run_on(shared: VersionZero | None) -> RunResult:
        return run(
            one.config,
            out=directory,
            resume=directory.holds_run,
            prepared=one,
            backend=backend,
            features=shared,
            reporter=reporter,
            on_round=on_round,
        )

    try:
        return run_on(features)
    except LostError:
        return run_on(None)
    finally:
        backend.close()


def _is_lost(error: Exception) -> bool:
    """Whether it was not the work that failed, but those who did it were lost: another try may do better."""
    if isinstance(error, RayTaskError):
        return isinstance(error.cause, RayError) and not isinstance(error.cause, RayTaskError)
    return isinstance(error, (RayError, LostError, PoolLostError, SupersededError))


def _has_no_room(error: Exception) -> bool:
    """Whether storage is full or gone, be it a file of ours or one of a library: every other trial would fail too."""
    return isinstance(error, StorageError) or is_full(error)


def _told(error: Exception) -> str:
    if isinstance(error, AsvpError):
        return str(error)
    lines = [line for line in redact(str(error)).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
