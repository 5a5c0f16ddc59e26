"""Trials run by Ray Tune."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyarrow.fs import LocalFileSystem
from ray import tune

from asvp.actors.cluster import SAY_AFTER_SECONDS, free_resources
from asvp.progress import Reporter
from asvp.tune_spaces.live import LiveTable
from asvp.tune_spaces.trainable import run_trial

_DRIVER = tune.PlacementGroupFactory([{"memory": 256 << 20}])
"""What a trial holds: its own process, which waits for workers most of the time; no core, and no GPU."""


def run_trials(
    out: Path, names: Sequence[str], shared: Mapping[str, Any], concurrent: int, reporter: Reporter
) -> dict[str, str]:
    """Run trials by Ray Tune, so many at a time; which failed, and why.

    Parameters
    ----------
    out : Path
        The experiment's folder.
    names : sequence of str
    shared : mapping
        What `run_trial` is given beside the trial's name.
    concurrent : int
    reporter : Reporter
    """
    table = LiveTable(out, reporter)
    trainable = tune.with_resources(tune.with_parameters(run_trial, **shared), _DRIVER)
    tuner = tune.Tuner(
        trainable,
        param_space={"trial": tune.grid_search(list(names))},
        tune_config=tune.TuneConfig(
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
            metric="labelled",
            mode="max",
            max_concurrent_trials=concurrent,
        ),
        run_config=tune.RunConfig(
            name=out.name,
            storage_path=str(out.parent),
            # A path is a path: without this, Tune reads it as a URI, in which # and % mean something.
            storage_filesystem=LocalFileSystem(),
            verbose=0,
            callbacks=[_Tell(reporter, table)],
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    with _interruptions_raise(), table.shown():
        results = tuner.fit()
    failed = {}
    for result in (results[number] for number in range(len(results))):
        if result.error is not None:
            lines = [line for line in str(result.error).strip().splitlines() if line.strip()]
            failed[str((result.config or {}).get("trial", "?"))] = lines[-1] if lines else type(result.error).__name__
    return failed


@contextmanager
def _interruptions_raise() -> Iterator[None]:
    """Let Ctrl-C raise in Ray Tune too, which by itself would end as if the sweep were finished."""
    before = os.environ.get("TUNE_DISABLE_SIGINT_HANDLER")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TUNE_DISABLE_SIGINT_HANDLER"]
        else:
            os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = before


class _Tell(tune.Callback):
    """Passes each trial's rounds on to the person who watches."""

    def __init__(self, reporter: Reporter, table: LiveTable) -> None:
        self._reporter = reporter
        self._table = table
        self._idle_since = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune keeps a pickled copy of its callbacks, which nobody reads, and a terminal cannot be pickled."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """While trials wait and none runs, say so now and then."""
        statuses = {trial.status for trial in trials}
        now = time.monotonic()
        if "RUNNING" in statuses or "PENDING" not in statuses:
            self._idle_since = now
        elif now - self._idle_since >= SAY_AFTER_SECONDS:
            self._idle_since = now
            self._reporter.say(f"Trials are waiting for room on the cluster ({free_resources()})")

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has begun, or goes on."""
        self._table.started(_trial_name(trial))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial has finished a round, or come to its end."""
        if result.get("done"):
            self._table.ended(_trial_name(trial))
        else:
            self._table.round(_trial_name(trial), result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has failed."""
        self._table.ended(_trial_name(trial), "")


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"])
