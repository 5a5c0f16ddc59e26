"""Numbers of trials as runs of Weights & Biases, by Ray's callback, which gives each a process of its own."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.air.integrations.wandb import WandbLoggerCallback, _WandbLoggingActor
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asvp.tune_spaces.loggers.points import Point
from asvp.tune_spaces.loggers.stand_in import StandIn, by_labels
from asvp.tune_spaces.loggers.trial import LoggedTrial

LABELS = "labels"
"""What the charts have on their horizontal axis."""
UPLOAD_SECONDS, LEAVING_SECONDS = 60, 3
"""How long the end of a sweep waits for runs that are not written, or uploaded, yet; and that of a stopped one."""


class WandbRuns:
    """A `Destination` of Weights & Biases: a run a trial, in a project named after the sweep directory.

    Its own variables say how: WANDB_MODE, WANDB_PROJECT, WANDB_RUN_GROUP (else a group an arm), WANDB_DIR and others.
    Without a key, and without a mode, runs are written to the sweep directory for `wandb sync`. The run of an earlier
    process of the same sweep goes on.

    Parameters
    ----------
    out : Path
        The sweep directory.
    say : callable
        Told where the runs go.

    Raises
    ------
    Exception
        If the package is one that Ray cannot work with.
    """

    wants_finished = False

    def __init__(self, out: Path, say: Callable[[str], None]) -> None:
        self._out = out
        self._say = say
        self._folder = Path(os.environ.get("WANDB_DIR") or out) / "wandb"
        self._session = uuid.uuid4().hex[:8]
        self._earlier: dict[str, str] = {}
        self._stand_ins: dict[str, StandIn] = {}
        # Stand-ins are no trials of Ray Tune, though they have all that is read of one.
        self._callback: Any = _LabelsAsSteps(
            project=os.environ.get("WANDB_PROJECT") or re.sub(r"[/\\#?%:]", "_", out.name)[:128],
            group=os.environ.get("WANDB_RUN_GROUP"),
            resume="allow",
        )
        self._callback.begin(self._folder, say)

    def holds(self, trial: LoggedTrial, points: Sequence[Point]) -> set[tuple[str, int]]:
        """All points that there are, if the trial has a run; what is uploaded cannot be asked for."""
        runs = sorted(self._folder.glob(f"*run-*-{self._digest(trial)}-*"))
        if not runs:
            return set()
        self._earlier[trial.name] = "-".join(runs[-1].name.split("-")[-2:])
        return {point.key for point in points}

    def write(self, trial: LoggedTrial, points: Sequence[Point]) -> None:
        """Add points to the trial's run, which is begun if there is none."""
        for labels, values in by_labels(points):
            self._callback.log_trial_result(labels, self._stand_in(trial), {**values, LABELS: labels})

    def ended(self, trial: LoggedTrial, failed: bool) -> None:
        """End the trial's run."""
        if trial.name in self._stand_ins:
            self._callback.log_trial_end(self._stand_ins.pop(trial.name), failed)

    def close(self) -> None:
        """End runs of trials that have come to no end, and wait until all are written or uploaded."""
        stopped = sys.exc_info()[0] is not None
        seconds = LEAVING_SECONDS if stopped else UPLOAD_SECONDS
        for stand_in in self._stand_ins.values():
            self._callback.log_trial_end(stand_in)
        if self._callback.open_runs:
            self._say(f"Weights & Biases: {self._callback.open_runs} runs are being ended, in {seconds} s at most")
        self._callback.end_within(seconds)

    def _stand_in(self, trial: LoggedTrial) -> StandIn:
        if trial.name not in self._stand_ins:
            number = self._earlier.get(trial.name, f"{self._digest(trial)}-{self._session}")
            self._stand_ins[trial.name] = StandIn(number, trial.name, trial.arm, str(self._out), trial.parameters)
        return self._stand_ins[trial.name]

    def _digest(self, trial: LoggedTrial) -> str:
        return hashlib.blake2b(trial.name.encode(), digest_size=4).hexdigest()


class _Actor(_WandbLoggingActor):
    """Ray's process of a run, with labels as the horizontal axis of every chart."""

    def _handle_result(self, result: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        told, config = super()._handle_result(result)
        for name in told.keys() - {LABELS}:
            self._wandb.define_metric(name, step_metric=LABELS)
        return told, config


class _LabelsAsSteps(WandbLoggerCallback):
    """Ray's callback, which raises what the process of a run has failed of, and hands all settings on to it."""

    def begin(self, folder: Path, say: Callable[[str], None]) -> None:
        """Find out whether there is a key, and say where runs go; nobody is asked for one."""
        try:
            self.setup()  # type: ignore[no-untyped-call]
        except ValueError:
            self.kwargs["mode"] = "offline"
        if "offline" in (self.kwargs.get("mode"), os.environ.get("WANDB_MODE")):
            say(f"Weights & Biases: runs stay in {folder}; to upload them: wandb sync {folder}/offline-run-*")
        else:
            say(f"Weights & Biases: runs go to the project {self.project}")
        self._remote_logger_class = ray.remote(_Actor).options(  # type: ignore[assignment]
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False),
            # Ray hands on the key alone, which on a cluster that was there before is not enough.
            runtime_env={"env_vars": {"WANDB_SILENT": "true", **_settings()}},
        )

    def end_within(self, seconds: int) -> None:
        """Wait for the processes of runs to end, and end those that take longer."""
        self._cleanup_logging_actors(timeout=seconds, kill_on_timeout=True)

    @property
    def open_runs(self) -> int:
        """Runs that are not written, or uploaded, yet."""
        return len(self._trial_logging_futures)

    def _cleanup_logging_actor(self, trial: Any) -> None:
        future = self._trial_logging_futures[trial]
        done, _ = ray.wait([future], timeout=0)
        super()._cleanup_logging_actor(trial)
        ray.get(done)


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
