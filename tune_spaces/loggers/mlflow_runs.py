"""Numbers of trials as runs of MLflow, by Ray's callback."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from ray.air.integrations.mlflow import MLflowLoggerCallback

from asvp.tune_spaces.loggers.points import Point
from asvp.tune_spaces.loggers.stand_in import StandIn, by_labels
from asvp.tune_spaces.loggers.trial import LoggedTrial

DATABASE = "mlflow.db"
"""In the sweep directory, where no server is named."""

_LESS_PATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Without these, a server that does not answer would keep a sweep waiting for many minutes."""


class MLflowRuns:
    """A `Destination` of MLflow: a run a trial. The run of an earlier process of the same sweep goes on.

    MLFLOW_TRACKING_URI says where, and MLFLOW_EXPERIMENT_NAME in which experiment; else they are a data base in the
    sweep directory, and an experiment by that directory's name.

    Parameters
    ----------
    out : Path
        The sweep directory.
    say : callable
        Told where the runs go.

    Raises
    ------
    Exception
        Of MLflow's, if that place cannot be reached.
    """

    wants_finished = False

    def __init__(self, out: Path, say: Callable[[str], None]) -> None:
        self._out = out
        self._before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", *_LESS_PATIENT)}
        uri = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else f"sqlite:///{out / DATABASE}"
        say(f"MLflow: runs go to {uri}")
        for name, value in _LESS_PATIENT.items():
            os.environ.setdefault(name, value)
        digest = hashlib.blake2b(os.fsencode(out), digest_size=8).hexdigest()
        try:
            with _quiet():
                # Stand-ins are no trials of Ray Tune, though they have all that is read of one.
                self._callback: Any = _LabelsAsSteps(
                    tracking_uri=uri,
                    experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME") or out.name,
                    tags={"asvp_sweep": str(out), "asvp_sweep_digest": digest},
                )
                self._callback.setup()  # type: ignore[no-untyped-call]
                self._earlier = self._callback.runs(f"tags.asvp_sweep_digest = '{digest}'")
        except BaseException:
            self.close()
            raise
        self._stand_ins: dict[str, StandIn] = {}

    def holds(self, trial: LoggedTrial, points: Sequence[Point]) -> set[tuple[str, int]]:
        """Points that the trial's run has."""
        run = self._earlier.get(trial.name)
        if run is None:
            return set()
        self._callback.go_on(self._stand_in(trial), run)
        client = mlflow.MlflowClient()
        client.update_run(run, status="RUNNING")
        names = {point.name for point in points}
        return {(name, metric.step) for name in names for metric in client.get_metric_history(run, name)}

    def write(self, trial: LoggedTrial, points: Sequence[Point]) -> None:
        """Add points to the trial's run, which is begun if there is none."""
        if trial.name not in self._stand_ins:
            self._callback.log_trial_start(self._stand_in(trial))
        for labels, values in by_labels(points):
            self._callback.log_trial_result(labels, self._stand_in(trial), values)

    def ended(self, trial: LoggedTrial, failed: bool) -> None:
        """End the trial's run."""
        if trial.name in self._stand_ins:
            self._callback.log_trial_end(self._stand_in(trial), failed)

    def close(self) -> None:
        """Leave MLflow as it was: an address that is set is in its variable too."""
        mlflow.set_tracking_uri(None)
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    def _stand_in(self, trial: LoggedTrial) -> StandIn:
        if trial.name not in self._stand_ins:
            self._stand_ins[trial.name] = StandIn(trial.name, trial.name, trial.arm, str(self._out), trial.parameters)
        return self._stand_ins[trial.name]


class _LabelsAsSteps(MLflowLoggerCallback):
    """Ray's callback, with the number of labels as the step."""

    def runs(self, query: str) -> dict[str, str]:
        """Ids of the newest runs that fit, by their names."""
        found: dict[str, str] = {}
        experiment = self.mlflow_util.experiment_id
        for run in mlflow.search_runs([experiment], filter_string=query, output_format="list"):
            found.setdefault(run.info.run_name, run.info.run_id)
        return found

    def go_on(self, trial: Any, run: str) -> None:
        """Take a run that is there for a trial's."""
        self._trial_runs[trial] = run

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Log what a trial has come to; `iteration` is the number of labels."""
        self.mlflow_util.log_metrics(run_id=self._trial_runs[trial], metrics_to_log=result, step=iteration)


@contextmanager
def _quiet() -> Iterator[None]:
    """No word of how a data base is made."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)
