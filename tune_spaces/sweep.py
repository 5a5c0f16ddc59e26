"""A sweep: version-0 features made once, one Ray Tune trial for each arm and seed, and the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from actors.cluster import cluster, resources
from actors.placement import Placement, place_trial
from actors.workers import workers_here
from pipeline.config import Config
from pipeline.errors import RunDirectoryError
from pipeline.feature_versions import VersionZero
from pipeline.features.cache import content_key
from pipeline.preparation import Prepared, prepare
from pipeline.progress import Reporter, round_line
from pipeline.report.records import read_run
from pipeline.report.results import TrialRounds, write_results
from pipeline.workers import Extraction
from tune_spaces.space import Trial
from tune_spaces.trainable import run_trial


@dataclass(frozen=True)
class SweepResult:
    """What a sweep leaves.

    Attributes
    ----------
    directory : Path
    failed : dict of str to str
        Trials that did not finish, with the last line of what went wrong.
    """

    directory: Path
    failed: dict[str, str]


def check_sweep(trials: Sequence[Trial], out: Path, *, resume: bool) -> dict[str, Prepared]:
    """Check every trial before any work; nothing is written.

    Raises
    ------
    AsvpError
        Whatever is wrong first.
    """
    if resume and not (out / "runs").is_dir():
        raise RunDirectoryError("holds no sweep to resume", key="--out", value=str(out))
    if not resume and out.exists() and any(out.iterdir()):
        raise RunDirectoryError(
            "is not empty", key="--out", value=str(out), mend="Add --resume to go on with the sweep, or name another"
        )
    prepared: dict[str, Prepared] = {}
    datasets: dict[str, Any] = {}
    for trial in trials:
        key = trial.config.data.model_dump_json()
        prepared[trial.name] = prepare(trial.config, datasets.get(key))
        datasets[key] = prepared[trial.name].dataset
    return prepared


def run_sweep(
    trials: Sequence[Trial], out: Path, *, resume: bool, address: str | None, reporter: Reporter
) -> SweepResult:
    """Run all trials on a Ray cluster and write results.parquet.

    Parameters
    ----------
    trials : sequence of Trial
    out : Path
        The sweep directory; every node must see it.
    resume : bool
        Go on with the sweep that is there: finished trials are kept, begun ones go on at their checkpoints.

    Raises
    ------
    AsvpError
        If the input is wrong, before any work. A trial that fails stops no other.
    """
    out = out.absolute()
    prepared = check_sweep(trials, out, resume=resume)
    with cluster(address):
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        total = resources()
        configs: dict[str, Config] = {}
        features: dict[str, VersionZero] = {}
        shared: dict[str, tuple[str, VersionZero]] = {}
        for trial in trials:
            one = prepared[trial.name]
            key = content_key(*(getattr(one.config, part).model_dump() for part in ("data", "encoder", "extraction")))
            if key not in shared:
                shared[key] = _version_zero(one, reporter)
            dtype, features[trial.name] = shared[key]
            configs[trial.name] = one.resolved(dtype).config
        heads: dict[str, dict[str, float]] = {}
        placements: dict[str, Placement] = {}
        for name, config in configs.items():
            heads[name], placements[name] = place_trial(config.extraction, config.resources, total)
        failed = _fit(
            out,
            {
                "configs": configs,
                "arms": {trial.name: trial.arm for trial in trials},
                "features": features,
                "placements": placements,
                "runs": str(out / "runs"),
            },
            lambda name: tune.PlacementGroupFactory(
                [heads[name], *[placements[name].bundle()] * placements[name].actors]
            ),
            list(configs),
            reporter,
        )
    write_results(_finished_rounds(out, list(configs)), out / "results.parquet")
    return SweepResult(out, failed)


def _version_zero(prepared: Prepared, reporter: Reporter) -> tuple[str, VersionZero]:
    """What `encoder.dtype` is, and the features that all trials with this data and encoder share."""
    config, dataset = prepared.config, prepared.dataset
    workers = workers_here(config, dataset.kind, prepared.cache, reporter)
    dtype = workers.dtype()
    encoder = prepared.resolved(dtype).encoder_fingerprint()
    pool, test = (
        workers.extract(Extraction(source, encoder, 0, config.extraction, title=title))
        for title, source in (("pool", dataset.pool), ("test", dataset.test))
    )
    workers.close()
    return dtype, VersionZero(pool, test)


def _fit(
    out: Path,
    shared: Mapping[str, Any],
    placement: Callable[[str], tune.PlacementGroupFactory],
    names: Sequence[str],
    reporter: Reporter,
) -> dict[str, str]:
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, **shared), lambda choice: placement(choice["trial"])
    )
    tuner = tune.Tuner(
        trainable,
        param_space={"trial": tune.grid_search(list(names))},
        tune_config=tune.TuneConfig(
            trial_name_creator=_trial_name, trial_dirname_creator=_trial_name, metric="labelled", mode="max"
        ),
        run_config=tune.RunConfig(
            name=out.name,
            storage_path=str(out.parent),
            verbose=0,
            callbacks=[_Tell(reporter)],
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    results = tuner.fit()
    failed = {}
    for result in (results[number] for number in range(len(results))):
        if result.error is not None:
            lines = [line for line in str(result.error).strip().splitlines() if line.strip()]
            failed[str((result.config or {}).get("trial", "?"))] = lines[-1] if lines else type(result.error).__name__
    return failed


class _Tell(tune.Callback):
    """Passes each trial's rounds on to the person who watches."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial has finished a round."""
        if not result.get("done"):
            self._reporter.say(f"{trial.config['trial']}: {round_line(result)}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has failed."""
        self._reporter.say(f"{trial.config['trial']}: failed; the others go on")


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"])


def _finished_rounds(out: Path, names: Sequence[str]) -> list[TrialRounds]:
    records = [read_run(out / "runs" / name) for name in names if (out / "runs" / name / "config.yaml").is_file()]
    return [
        TrialRounds(record.path.name, record.arm, record.seed, record.finished, record.config, record.rounds)
        for record in records
    ]
