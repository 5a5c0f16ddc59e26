"""Trials run by Ray Tune."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pyarrow.fs import LocalFileSystem
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from asvp.errors import StorageError
from asvp.files import write_error
from asvp.tune_spaces.trainable import FAILED, RECORD, STOP, run_trial

MOST_LOSSES = 8
"""How often in a row a trial may be lost with its process or node without having finished a round in between."""

_DRIVER = tune.PlacementGroupFactory([{"memory": 256 << 20}])
"""What a trial holds: its own process, which waits for workers most of the time; no core, and no GPU."""
_SETTINGS = {
    # Ctrl-C raises in Tune too, which by itself would end as if the sweep were finished.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # results.parquet is the record of a sweep; a table of each trial in two more forms costs time and disk.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The state that Tune keeps for itself is not used: a sweep is resumed from its run directories.
    "TUNE_GLOBAL_CHECKPOINT_S": "600",
}


class Listener(Protocol):
    """Who is told how trials get on."""

    def started(self, trial: str) -> None:
        """A trial has begun, or goes on."""
        ...

    def round(self, trial: str, record: Mapping[str, Any]) -> None:
        """A trial has finished a round, or a final model of an earlier one has arrived."""
        ...

    def ended(self, trial: str, failed: str | None) -> None:
        """A trial has come to its end, or failed for good, and why."""
        ...

    def lost(self, trial: str, times: int) -> None:
        """A trial's process or node was lost, so many times since its last round; it is tried again."""
        ...

    def step(self, states: Mapping[str, int]) -> None:
        """Time passes; how many trials are in which of Ray Tune's states."""
        ...


def run_trials(
    out: Path, choices: Iterator[Mapping[str, Any]], shared: Mapping[str, Any], concurrent: int, listener: Listener
) -> None:
    """Run trials by Ray Tune, so many at a time, until each has come to its end or failed for good.

    Parameters
    ----------
    out : Path
        The experiment's folder.
    choices : iterator of mapping
        What each trial is given alone (`run_trial`); the next one is asked for when there is room for it.
    shared : mapping
        What `run_trial` is given beside it.
    concurrent : int
    listener : Listener

    Raises
    ------
    StorageError
        If the disk is full, or storage went away.
    """
    watch = _Watch(listener)
    trainable = tune.with_resources(tune.with_parameters(run_trial, **shared), _DRIVER)
    with _settings():
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Choices(choices),
                # As many as there are choices.
                num_samples=-1,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
                metric="labelled",
                mode="max",
                max_concurrent_trials=concurrent,
                # Starting a process takes longer than many a trial.
                reuse_actors=True,
                scheduler=_InTurn(concurrent),
            ),
            run_config=tune.RunConfig(
                name=out.name,
                storage_path=str(out.parent),
                # A path is a path: without this, Tune reads it as a URI, in which # and % mean something.
                storage_filesystem=LocalFileSystem(),
                verbose=0,
                callbacks=[watch],
                stop=_StopAll(watch),
                # What fails for good ends with a report; what raises was lost, and `watch` counts how often.
                failure_config=tune.FailureConfig(max_failures=-1),
            ),
        )
        try:
            tuner.fit()
        except Exception as error:
            told = write_error(error, out)
            if not isinstance(told, StorageError):
                raise
            raise told from error
    if watch.stop is not None:
        raise watch.stop


class _Choices(Searcher):
    """Hands on one choice after another, as Ray Tune asks for them."""

    def __init__(self, choices: Iterator[Mapping[str, Any]]) -> None:
        super().__init__()
        self._choices = choices

    def __getstate__(self) -> dict[str, Any]:
        # As of `_Watch`: pickled for a restore that is never asked for.
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next choice, or that there is none."""
        choice = next(self._choices, None)
        return Searcher.FINISHED if choice is None else dict(choice)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The listener is told."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """A sweep is resumed from its own files."""


class _InTurn(FIFOScheduler):
    """Starts trials in the order in which they come, in the processes of those that have ended.

    Ray Tune keeps the process of a trial that ends for one that waits; where none waits, as only so many are at work,
    it keeps one alone: of two that end together one is lost. Here all are kept. And a trial whose own process is still
    starting would take over the one of another trial that ends meanwhile, and its own, seconds of work, would be thrown
    away, again and again: here it waits for its own, and a trial that has none takes what became free.
    """

    def __init__(self, concurrent: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keep = concurrent

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Have room for all processes, once."""
        kept: Any = getattr(tune_controller, "_actor_cache", None)
        if self._keep and hasattr(kept, "increase_max"):
            kept.increase_max(trial.placement_group_factory, self._keep)
            self._keep = 0

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first trial that waits and for which no process is starting, or None."""
        starting = getattr(tune_controller, "_trial_to_actor", {})
        waiting = (trial for trial in tune_controller.get_trials() if trial.status == Trial.PENDING)
        return next((trial for trial in waiting if trial not in starting), None)


class _Watch(tune.Callback):
    """Passes on what trials report, and ends those that are lost too often."""

    def __init__(self, listener: Listener) -> None:
        self.stop: StorageError | None = None
        self._listener = listener
        self._losses: Counter[str] = Counter()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles what it is given, for a restore that is never asked for; who listens need not be picklable.
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Tune has looked around."""
        self._listener.step(Counter(trial.status for trial in trials))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has begun, or goes on."""
        with self._stopping():
            self._listener.started(_trial_name(trial))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial has finished a round, or come to its end."""
        name = _trial_name(trial)
        with self._stopping():
            if STOP in result:
                raise StorageError(result[STOP])
            if result.get("done"):
                self._listener.ended(name, result.get(FAILED))
            else:
                self._losses[name] = 0
                trial.max_failures = -1
                self._listener.round(name, json.loads(result.pop(RECORD)))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial was lost, and is tried again."""
        name = _trial_name(trial)
        self._losses[name] += 1
        if self._losses[name] >= MOST_LOSSES:
            trial.max_failures = 0
        self._listener.lost(name, self._losses[name])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial was lost too often."""
        name = _trial_name(trial)
        times = self._losses[name] + 1
        with self._stopping():
            self._listener.ended(name, f"its process or its node was lost {times} times in a row in the same round")

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Have storage that fails stop the sweep: Ray Tune would take it for a mistake of the trial it tells of."""
        try:
            yield
        except StorageError as error:
            self.stop = self.stop or error


class _StopAll(tune.Stopper):
    """Stops all trials once one of them cannot write any more."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """A trial ends by itself."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep has to stop."""
        return self._watch.stop is not None


@contextmanager
def _settings() -> Iterator[None]:
    """What Ray Tune reads from its environment, for a while."""
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update(_SETTINGS)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"])
