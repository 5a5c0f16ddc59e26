"""A sweep: version-0 features made once, one Ray Tune trial for each arm and seed, and the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asvp
from asvp.actors.backend import PoolBackend
from asvp.actors.cluster import cluster
from asvp.actors.places import passing_places
from asvp.actors.placing import placed
from asvp.actors.pool import Pool, worker_pool
from asvp.compute import Extraction
from asvp.config import Config, load_config, with_curves
from asvp.driver.absolute_paths import with_absolute_paths
from asvp.driver.feature_versions import VersionZero
from asvp.driver.loop import as_begun
from asvp.driver.preparation import prepare
from asvp.driver.prepared import Prepared, tell_of_data
from asvp.errors import ConfigError, RunDirectoryError
from asvp.folders import MARKER, entries, make_folder, mark, read_marker, require_room, settle, sweep_up
from asvp.holds import held, is_held
from asvp.progress import Reporter, default_reporter
from asvp.record.run_directory import RunDirectory
from asvp.report.results import TrialRounds
from asvp.report.status import Planned
from asvp.report.status_files import write_planned
from asvp.tune_spaces.catalogue import load_space, space_name
from asvp.tune_spaces.current_results import CurrentResults
from asvp.tune_spaces.kept_models import ModelKeeper
from asvp.tune_spaces.listeners import Listeners
from asvp.tune_spaces.live import LiveTable
from asvp.tune_spaces.loggers.names import DEFAULT as DEFAULT_LOGGERS
from asvp.tune_spaces.loggers.names import require_loggers
from asvp.tune_spaces.loggers.opening import open_loggers
from asvp.tune_spaces.result import SweepResult
from asvp.tune_spaces.room import concurrent
from asvp.tune_spaces.space import Space, Trial, trials
from asvp.tune_spaces.standing import Standing, standing, unfinished
from asvp.tune_spaces.stopping import Name, Scheduler, early_stopping, scheduler_cautions, settled_scheduler
from asvp.tune_spaces.telling import tell_start
from asvp.tune_spaces.tuning import run_trials
from asvp.tune_spaces.watcher import Watcher
from asvp.tune_spaces.work import shared_by

_LOCK = ".asvp.lock"


def sweep(
    space: str | Space,
    config: Config | None = None,
    *,
    out: Path | str | None = None,
    seeds: Sequence[int] | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    max_concurrent: int | None = None,
    scheduler: Name | Scheduler | None = None,
    address: str | None = None,
    reporter: Reporter | None = None,
    log: Sequence[str] = DEFAULT_LOGGERS,
) -> SweepResult:
    """Run every arm of a space with every seed, side by side on Ray.

    Parameters
    ----------
    space : str or Space
        A name of `asvp spaces`, an import path, a Python or YAML file, or the space itself.
    config : Config, optional
        What all arms share; None: the defaults.
    out : path, optional
        The sweep directory, which every node must see; None: a new one under sweeps/.
    seeds : sequence of int, optional
        Instead of the space's own.
    resume : bool
        Go on with the sweep that `out` holds; arms and seeds may be added.
    retry_failed : bool
        Try trials again that failed before.
    max_concurrent : int, optional
        Trials at work at a time; None: twice as many as there are workers, and two more.
    scheduler : {"none", "asha", "median"} or Scheduler, optional
        Which trials are stopped early. None: none of them, or at a resume as the sweep was begun; "none" goes on with
        those that were stopped.
    address : str, optional
        Of a Ray cluster; None joins or starts a local one.
    reporter : Reporter, optional
        Told of progress; None: a table below the cell of a notebook, and nothing elsewhere.
    log : sequence of str
        Where the numbers of every round go beside the results: "tensorboard", "mlflow", "wandb"; or "none".

    Raises
    ------
    AsvpError
        If the input is wrong, before any work. A trial that fails stops no other (`SweepResult.failed`).
    """
    base = load_config() if config is None else config
    if not isinstance(base, Config):
        raise ConfigError(f"is a {type(base).__name__}, not a Config", key="config", mend="Use asvp.load_config")
    if max_concurrent is not None and max_concurrent < 1:
        raise ConfigError("must be at least 1 trial", key="max_concurrent", value=max_concurrent)
    if not isinstance(space, (str, Space)):
        raise ConfigError("is neither a name nor a Space", key="space", value=space)
    loggers = require_loggers(log)
    arms = load_space(space, base) if isinstance(space, str) else space
    if out is None:
        if resume:
            raise RunDirectoryError("is needed to resume", key="out", mend="Name the sweep's directory")
        out = default_directory(space)
    news = reporter or default_reporter()
    chosen = list(trials(arms, with_curves(base).model_dump(), seeds, news.say))
    return run_sweep(
        chosen,
        settle(out),
        resume=resume,
        retry_failed=retry_failed,
        max_concurrent=max_concurrent,
        scheduler=Scheduler(scheduler) if isinstance(scheduler, str) else scheduler,
        address=address,
        reporter=news,
        log=loggers,
    )


def default_directory(space: str | Space) -> Path:
    """A new folder under sweeps/, named after the time and the space."""
    name = space_name(space) if isinstance(space, str) else "sweep"
    return Path("sweeps") / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"


def check_sweep(trials: Sequence[Trial], out: Path, *, resume: bool) -> dict[str, Prepared]:
    """Check every trial before any work; nothing is written.

    Raises
    ------
    AsvpError
        Whatever is wrong first.
    """
    require_room(out)
    if resume and not _holds_sweep(out):
        raise RunDirectoryError(
            "holds no sweep to resume", key="--out", value=str(out), mend="Name the directory of a sweep"
        )
    there = entries(out) - {MARKER, _LOCK}
    if not resume and there:
        raise RunDirectoryError(
            f"is not empty ({min(there)} lies there)",
            key="--out",
            value=str(out),
            mend="Add --resume to go on with the sweep, or name another",
        )
    if is_held(out):
        raise RunDirectoryError(
            "another process is at work here", key="--out", value=str(out), mend="Wait for it, or stop it"
        )
    prepared: dict[str, Prepared] = {}
    arms: dict[str, Prepared] = {}
    datasets: dict[str, Any] = {}
    for trial in trials:
        if trial.config.workers != trials[0].config.workers:
            raise ConfigError(
                f"one pool of workers serves all trials, and arm {trial.arm} asks for another than {trials[0].arm}",
                key="workers",
                value=trial.config.workers.model_dump(),
                mend="Set it for all arms, for example with -s workers.count=2",
            )
        key = trial.config.data.model_dump_json()
        # No check looks at the seed.
        arm = trial.config.model_dump_json(exclude={"seed"})
        if arm not in arms:
            with trial.named():
                arms[arm] = prepare(trial.config, datasets.get(key))
        one = arms[arm].with_seed(trial.config.seed)
        datasets[key] = one.dataset
        directory = RunDirectory(out / "runs" / trial.name)
        if resume and directory.holds_run:
            one = replace(one, config=as_begun(one.config, directory))
        prepared[trial.name] = one
    return prepared


def _holds_sweep(out: Path) -> bool:
    """Whether a folder can be shown to be a sweep's: by its marker, or by runs that asvp began (earlier versions)."""
    marker = read_marker(out)
    if marker is not None:
        return marker.get("kind") == "sweep"
    runs = [path for path in out.glob("runs/*") if path.is_dir()]
    return bool(runs) and all(RunDirectory(run).is_ours for run in runs)


def run_sweep(
    trials: Sequence[Trial],
    out: Path,
    *,
    resume: bool,
    retry_failed: bool = False,
    max_concurrent: int | None = None,
    scheduler: Scheduler | None = None,
    address: str | None,
    reporter: Reporter,
    log: Sequence[str] = DEFAULT_LOGGERS,
) -> SweepResult:
    """Run all trials on a Ray cluster, and keep results.parquet current.

    Parameters
    ----------
    trials : sequence of Trial
    out : Path
        The sweep directory; every node must see it.
    resume : bool
        Go on with the sweep that is there: finished trials are left alone, begun ones go on at their checkpoints.
    retry_failed : bool
        Try trials again that failed before.
    max_concurrent : int, optional
        Trials at work at a time.
    scheduler : Scheduler, optional
        Which trials are stopped early; None: as the sweep was begun.
    log : sequence of str
        As `require_loggers` gives them.

    Raises
    ------
    AsvpError
        If the input is wrong, before any work; or if the disk is full or storage is gone. A trial that fails stops no
        other.
    """
    out = settle(out)
    prepared = check_sweep(trials, out, resume=resume)
    for one in {id(one.dataset): one for one in prepared.values()}.values():
        tell_of_data(one, reporter)
    names = [trial.name for trial in trials]
    configs = {name: prepared[name].config for name in names}
    with cluster(address):
        # What no node can hold is refused before anything is written.
        first = prepared[trials[0].name]
        lies = placed(first.config.workers, first.probe, first.cache, reporter)
        for note in passing_places(out, first.config):
            reporter.say(f"Warning: {note}")
        for note in scheduler_cautions(scheduler or Scheduler(), trials):
            reporter.say(f"Note: {note}")
        if not resume:
            tell_start(trials, prepared, lies[0], out, reporter.say)
        make_folder(out)
        with held(out, out) as hold:
            sweep_up(out, but=hold.folder)
            mark(out, "sweep", asvp.__version__)
            write_planned(out, [Planned(one.name, one.arm, one.seed, tuple(one.config.budget)) for one in trials])
            rule = settled_scheduler(scheduler, out, hold)
            stands = standing(configs, out / "runs", retry_failed=retry_failed, go_on_with_stopped=rule.name == "none")
            if resume:
                reporter.say(f"Going on with the sweep: {stands}")
            results = CurrentResults(out, _without_rounds(trials, configs), hold.write)
            keeper = ModelKeeper(out / "runs", configs, stands.done)
            stopping = early_stopping(rule, trials, out / "runs", hold)
            table = LiveTable(out, reporter)
            watcher = Watcher(out / "runs", hold, results, keeper, table, reporter, stopping, stands.failed)
            loggers = open_loggers(log, trials, configs, out, hold, (*stands.done, *stands.stopped), reporter.say)
            try:
                if stands.left:
                    with worker_pool(*lies) as pool:
                        resolved, features = _with_features(trials, prepared, stands, pool, reporter)
                        given = {
                            "prepared": resolved,
                            "arms": {trial.name: (trial.arm, place) for place, trial in enumerate(trials)},
                            "features": features,
                            "pool": pool,
                            "runs": str(out / "runs"),
                            "mandate": str(hold.folder),
                        }
                        most = max_concurrent or concurrent(pool.placement)
                        with watcher.shown():
                            run_trials(out, list(resolved), given, most, Listeners(watcher, loggers))
            finally:
                # What is finished is told in any case, also when the sweep is interrupted.
                unread = results.write(whole=True)
                loggers.close()
    return SweepResult(out, {**watcher.failed, **unread}, unfinished(names, out / "runs"))


def _without_rounds(trials: Sequence[Trial], configs: Mapping[str, Config]) -> dict[str, TrialRounds]:
    """Trials as results.parquet knows them before anything is read."""
    return {
        trial.name: TrialRounds(
            trial.name, trial.arm, trial.seed, False, configs[trial.name].model_dump(mode="json"), ()
        )
        for trial in trials
    }


def _with_features(
    trials: Sequence[Trial], prepared: Mapping[str, Prepared], stands: Standing, pool: Pool, reporter: Reporter
) -> tuple[dict[str, Prepared], dict[str, VersionZero]]:
    """What the trials that are left run with, by name: everything resolved, and the features that they share."""
    resolved: dict[str, Prepared] = {}
    features: dict[str, VersionZero] = {}
    shared: dict[str, tuple[Prepared, VersionZero]] = {}
    begun_with = _begun_with(trials, prepared)
    for trial in trials:
        if trial.name not in stands.left:
            continue
        one = prepared[trial.name]
        if one.config.encoder.dtype == "auto" and (dtype := begun_with.get(shared_by(one.config))):
            one = one.resolved(dtype)
        key = shared_by(one.config)
        if key not in shared:
            shared[key] = _version_zero(one, pool, reporter)
        first, features[trial.name] = shared[key]
        resolved[trial.name] = replace(one.resolved(first.config.encoder.dtype), fingerprint=first.fingerprint)
    return resolved, features


def _begun_with(trials: Sequence[Trial], prepared: Mapping[str, Prepared]) -> dict[str, str]:
    """What `encoder.dtype: auto` became when trials were begun, by what they share, so that all of them agree."""
    return {
        shared_by(with_absolute_paths(trial.config)): dtype
        for trial in trials
        if trial.config.encoder.dtype == "auto" and (dtype := prepared[trial.name].config.encoder.dtype) != "auto"
    }


def _version_zero(prepared: Prepared, pool: Pool, reporter: Reporter) -> tuple[Prepared, VersionZero]:
    """What is resolved on the workers, and the features that all trials with this data and encoder share."""
    config, dataset = prepared.config, prepared.dataset
    backend = PoolBackend(pool, prepared.encoder, prepared.cache, reporter)
    resolved = prepared.resolved(backend.dtype()).fingerprinted()
    pool_set, test_set = (
        backend.extract(Extraction(source, resolved.encoder_fingerprint, 0, config.extraction, title=title))
        for title, source in (("pool", dataset.pool), ("test", dataset.test))
    )
    backend.close()
    return resolved, VersionZero(pool_set, test_set)
