"""A sweep: version-0 features made once, one Ray Tune trial for each arm and seed, and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import asvp
from asvp.actors.cluster import cluster
from asvp.actors.desk import Desk
from asvp.actors.places import passing_places
from asvp.actors.placing import placed, team_here
from asvp.actors.pool import worker_pool
from asvp.config import Config, load_config
from asvp.driver.prepared import tell_of_code, tell_of_data
from asvp.errors import ConfigError, RunDirectoryError
from asvp.features.lateness import telling_lateness
from asvp.folders import MARKER, make_folder, mark, settle, sweep_up
from asvp.progress import Reporter, default_reporter
from asvp.record.job_log import JobLog
from asvp.remote.copies import at_hand, held_here, named, place_of, put_there
from asvp.report.commands import note_command
from asvp.tune_spaces.catalogue import default_directory, load_space
from asvp.tune_spaces.checks import TrialChecker, check_sweep
from asvp.tune_spaces.current_page import CurrentPage
from asvp.tune_spaces.current_results import CurrentResults
from asvp.tune_spaces.joining import Joining, choice
from asvp.tune_spaces.kept_models import ModelKeeper
from asvp.tune_spaces.listeners import Listeners
from asvp.tune_spaces.live import LiveTable
from asvp.tune_spaces.loggers.names import DEFAULT as DEFAULT_LOGGERS
from asvp.tune_spaces.loggers.names import require_loggers
from asvp.tune_spaces.loggers.opening import open_loggers
from asvp.tune_spaces.result import SweepResult
from asvp.tune_spaces.room import concurrent
from asvp.tune_spaces.search import Search
from asvp.tune_spaces.searching import begin_search
from asvp.tune_spaces.shared_features import SharedFeatures, begun_with
from asvp.tune_spaces.space import Space, Trial
from asvp.tune_spaces.standing import standing, unfinished
from asvp.tune_spaces.stopping import Name, Scheduler, early_stopping, scheduler_cautions, settled_scheduler
from asvp.tune_spaces.suggestions import Suggestions
from asvp.tune_spaces.telling import tell_start
from asvp.tune_spaces.tuning import run_trials
from asvp.tune_spaces.watcher import Watcher


def sweep(
    space: str | Space,
    config: Config | None = None,
    *,
    out: Path | str | None = None,
    seeds: Sequence[int] | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    max_concurrent: int | None = None,
    search: str | None = None,
    samples: int | None = None,
    scheduler: Name | Scheduler | None = None,
    address: str | None = None,
    reporter: Reporter | None = None,
    log: Sequence[str] = DEFAULT_LOGGERS,
) -> SweepResult:
    """Run every arm of a space, or some of them, with every seed, side by side on Ray; tables, figures and
    report.html are left in its directory.

    Parameters
    ----------
    space : str or Space
        A name of `asvp spaces`, an import path, a Python or YAML file, or the space itself.
    config : Config, optional
        What all arms share; None: the defaults.
    out : path or URI, optional
        The sweep directory, which every node must see; None: a new one under sweeps/.
    seeds : sequence of int, optional
        Instead of the space's own.
    resume : bool
        Go on with the sweep that `out` holds; arms and seeds may be added.
    retry_failed : bool
        Try trials again that failed before.
    max_concurrent : int, optional
        Trials at work at a time; None: twice as many as there are workers, and two more.
    search : {"grid", "random", "optuna"}, optional
        All arms; arms drawn at random; arms that Optuna suggests one after another from the final accuracy of earlier
        ones. None: all, or what the sweep was begun with.
    samples : int, optional
        Of a grid, how many values each axis is given that is drawn at random, instead of the space's own number; else
        how many arms. None: what the sweep was begun with.
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
    with at_hand(out, say=news.say) as place:
        folder = settle(place)
        begun = begin_search(
            arms, base, folder, seeds=seeds, search=search, samples=samples, resume=resume, say=news.say
        )
        result = run_sweep(
            begun.trials,
            folder,
            resume=resume,
            retry_failed=retry_failed,
            max_concurrent=max_concurrent,
            search=begun.search,
            suggestions=begun.suggestions,
            scheduler=Scheduler(scheduler) if isinstance(scheduler, str) else scheduler,
            address=address,
            reporter=news,
            log=loggers,
        )
        return result.reported(news.say).at(place_of(folder))


def run_sweep(
    trials: Sequence[Trial],
    out: Path,
    *,
    resume: bool,
    retry_failed: bool = False,
    max_concurrent: int | None = None,
    search: Search | None = None,
    suggestions: Suggestions | None = None,
    scheduler: Scheduler | None = None,
    address: str | None,
    reporter: Reporter,
    log: Sequence[str] = DEFAULT_LOGGERS,
) -> SweepResult:
    """Run all trials on a Ray cluster, and keep results.parquet current.

    Parameters
    ----------
    trials : sequence of Trial
        Those that are known beforehand, at least one.
    out : Path
        The sweep directory; every node must see it.
    resume : bool
        Go on with the sweep that is there: finished trials are left alone, begun ones go on at their checkpoints.
    retry_failed : bool
        Try trials again that failed before.
    max_concurrent : int, optional
        Trials at work at a time.
    search : Search, optional
        Remembered for a resume.
    suggestions : Suggestions, optional
        Where more trials come from while the sweep runs.
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
    reporter.say("Reading the data and the encoder")
    checker = TrialChecker(out / "runs", resume=resume) if suggestions is None else suggestions.checker
    prepared = check_sweep(trials, out, resume=resume, checker=checker)
    for one in {id(one.dataset): one for one in prepared.values()}.values():
        tell_of_data(one, reporter)
    tell_of_code(sorted({model for one in prepared.values() for model in one.trusted}), reporter.say)
    configs = {trial.name: prepared[trial.name].config for trial in trials}
    reporter.say("Starting Ray")
    with telling_lateness(reporter.say), cluster(address):
        # What no node can hold is refused before anything is written.
        first = prepared[trials[0].name]
        lies = placed(first.config.workers, first.probe, first.cache, reporter)
        if not resume:
            for trial in trials:
                team_here(prepared[trial.name].config.training, lies[0])
        for note in passing_places(named(out), first.config):
            reporter.say(f"Warning: {note}")
        for note in scheduler_cautions(scheduler or Scheduler(), trials):
            reporter.say(f"Note: {note}")
        if suggestions is not None:
            reporter.say(f"{suggestions}, on {lies[0]}")
        elif not resume:
            tell_start(trials, prepared, lies[0], out, reporter.say)
        make_folder(out)
        with held_here(out, out) as hold:
            sweep_up(out, but=hold.folder)
            mark(out, "sweep", asvp.__version__)
            put_there(out / MARKER)
            note_command(out, write=hold.write)
            joining = Joining(out, hold, trials, search or Search(), suggestions)
            joining.write()
            rule = settled_scheduler(scheduler, out, hold)
            stands = standing(configs, out / "runs", retry_failed=retry_failed, go_on_with_stopped=rule.name == "none")
            if resume:
                reporter.say(f"Going on with the sweep: {stands}")
            results = CurrentResults(out, trials, configs, hold.write)
            keeper, table = ModelKeeper(out / "runs", configs, stands.done), LiveTable(out, reporter)
            stopping = early_stopping(rule, trials, out / "runs", hold)
            page = CurrentPage(out, hold, results, table, reporter.say)
            watcher = Watcher(out / "runs", hold, results, keeper, table, reporter, stopping, page, stands.failed)
            loggers = open_loggers(log, trials, configs, out, hold, (*stands.done, *stands.stopped), reporter.say)
            try:
                if stands.left:
                    with worker_pool(*lies) as pool:
                        jobs = JobLog(out, require=hold.require, say=reporter.say)
                        features = SharedFeatures(pool, reporter, begun_with(trials, prepared), jobs)
                        known = [
                            choice(trial, place, prepared[trial.name], features)
                            for place, trial in enumerate(trials)
                            if trial.name in stands.left
                        ]
                        given = {"pool": pool, "runs": named(out / "runs"), "mandate": hold.mandate}
                        most = max_concurrent or concurrent(pool.placement)
                        # What workers tell is told here too, beside the log of each trial.
                        with watcher.shown(), closing(Desk(pool.broker, reporter)):
                            choices = joining.choices(known, features, (results, keeper, table, stopping, loggers))
                            run_trials(out, choices, given, most, Listeners(watcher, loggers))
            finally:
                # What is finished is told in any case, also when the sweep is interrupted.
                unread = results.write(whole=True)
                page.end()
                loggers.close()
    names = [trial.name for trial in joining.trials]
    return SweepResult(out, {**watcher.failed, **unread}, unfinished(names, out / "runs"))
