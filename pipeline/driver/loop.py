"""The driver: one loop of rounds for every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvp.compute import Backend
from asvp.config import Config
from asvp.driver.absolute_paths import with_absolute_paths
from asvp.driver.active_learning import ActiveLearning
from asvp.driver.cautions import told_before
from asvp.driver.feature_versions import VersionZero
from asvp.driver.prepared import Prepared, tell_of_code, tell_of_data
from asvp.driver.stored_run import read_finished_run
from asvp.errors import ConfigError, RunDirectoryError
from asvp.features.lateness import telling_lateness
from asvp.progress import LoggedReporter, Reporter, SilentReporter
from asvp.record.run_directory import RunDirectory
from asvp.remote.copies import at_hand, named, place_of
from asvp.report.commands import note_command

ENOUGH = "enough"
"""What `on_round` returns to end a run early."""

_NOTHING_LEFT = "Nothing is left to do: all rounds that were asked for are finished"


@dataclass(frozen=True)
class RunResult:
    """What a run leaves.

    Attributes
    ----------
    rounds : list of dict
        The objects of rounds.jsonl.
    summary : dict
        summary.json; empty if the run was stopped before its last round.
    directory : Path, str or None
        Where all of it lies; a URI as text.
    """

    rounds: list[dict[str, Any]]
    summary: dict[str, Any]
    directory: Path | str | None


def run(
    config: Config,
    *,
    out: Path | str | RunDirectory | None = None,
    resume: bool = False,
    until_round: int | None = None,
    in_process: bool = False,
    address: str | None = None,
    prepared: Prepared | None = None,
    backend: Backend | None = None,
    features: VersionZero | None = None,
    reporter: Reporter | None = None,
    on_round: Callable[[Mapping[str, Any]], object] | None = None,
) -> RunResult:
    """Run one arm with one seed.

    Parameters
    ----------
    config : Config
    out : path, URI or RunDirectory, optional
        The run directory; None leaves no files.
    resume : bool
        Go on with the run that `out` holds.
    until_round : int, optional
        Stop after this round.
    in_process : bool
        Do everything in this process, without Ray.
    address : str, optional
        Of a Ray cluster; None joins or starts a local one.
    prepared : Prepared, optional
        The checked configuration, where it was checked before.
    backend : Backend, optional
        Who does the work, where somebody is there already.
    features : VersionZero, optional
        Version-0 features, where they are there already.
    reporter : Reporter, optional
        Told of progress. A `LoggedReporter` writes the run's log itself: a backend given with it is in the log too.
    on_round : callable, optional
        Given each finished round's object. What it returns ends the run there, if it is `ENOUGH`: final models that
        are on their way are awaited, and the run can be resumed.

    Raises
    ------
    AsvpError
        If the input is wrong (before any work), or work could not be finished.
    """
    _check_arguments(config, until_round)
    news = reporter if isinstance(reporter, LoggedReporter) else LoggedReporter(reporter or SilentReporter())
    with ExitStack() as stack:
        stack.enter_context(telling_lateness(news.say))
        place = stack.enter_context(at_hand(out, say=news.say))
        directory = place if place is None or isinstance(place, RunDirectory) else RunDirectory(place)
        if directory is not None:
            directory.check(resume=resume)
        elif resume:
            raise RunDirectoryError("is needed to resume", key="--out", mend="Name the run's directory")
        if directory is not None and resume:
            config = as_begun(config if prepared is None else prepared.config, directory)
            prepared = None if prepared is None else prepared.with_devices(config.training.devices)
            finished = read_finished_run(directory, config) if backend is None else None
            if finished is not None:
                # Neither the data nor the encoder is looked at, and nobody is asked for work.
                stack.enter_context(directory.held())
                stack.enter_context(news.to_file(directory.log, directory.require_hold))
                news.say(_NOTHING_LEFT)
                _tell_of_lost_model(config, directory, news)
                return RunResult(*finished, place_of(directory.path))
        if prepared is None:
            # Checks load the encoder; a trial of a sweep was checked before, and is spared PyTorch.
            from asvp.driver.preparation import prepare

            news.say("Reading the data and the encoder")
            prepared = prepare(config)
        # What a run was begun with was told then, and what is wrong with a trial by its sweep.
        cautions = told_before(prepared) if backend is None and not resume else []
        # A trial's process was called by nobody who could call it again: its sweep was.
        called = directory if backend is None else None
        if backend is None:
            if not in_process:
                news.say("Starting workers")
            backend = stack.enter_context(open_backend(prepared, news, in_process=in_process, address=address))
            if directory is not None and not in_process:
                _tell_of_places(directory.path, prepared.config, news)
        # What no node can hold is refused before a worker is asked for anything.
        prepared = prepared.with_devices(backend.team_size(prepared.config.training))
        machine = backend.machine()
        prepared = prepared.resolved_by(backend, machine)
        if directory is not None:
            stack.enter_context(directory.opened(prepared.config, machine, resume=resume))
            stack.enter_context(news.to_file(directory.log, directory.require_hold))
        tell_of_data(prepared, news)
        tell_of_code(prepared.trusted, news.say)
        for caution in cautions:
            news.say(f"Warning: {caution}")
        learning = ActiveLearning(prepared, backend, news, directory, features)
        if directory is not None and learning.state.summary:
            _tell_of_lost_model(prepared.config, directory, news)
        for number in learning.rounds(until_round):
            if called is not None:
                # No sooner: what is refused, or was finished before, leaves the directory as it is.
                note_command(called.path, write=called.write)
                called = None
            learning.choose_rows(number)
            learning.fit_proxy(number)
            learning.refresh_if_it_pays(number)
            learning.train_final_model_if_due(number)
            if _told(learning.close_round(number), backend, news, on_round):
                _told(learning.await_evaluations(), backend, news, on_round)
                break
        if called is not None and resume:
            news.say(_NOTHING_LEFT)
        if prepared.cache is not None:
            prepared.cache.trim(learning.cache_keys(), news.say)
        return RunResult(
            learning.state.records, learning.state.summary, None if directory is None else place_of(directory.path)
        )


def _told(
    records: Iterable[Mapping[str, Any]], backend: Backend, news: Reporter, on_round: Callable[..., object] | None
) -> bool:
    """Tell of rounds; whether somebody wants the run to end."""
    answers = []
    for record in records:
        backend.round_closed(record)
        news.round(record)
        answers.append(None if on_round is None else on_round(record))
    return ENOUGH in answers


def as_begun(config: Config, directory: RunDirectory) -> Config:
    """The configuration that a run goes on with: what it was begun with, where that was left open.

    Raises
    ------
    RunDirectoryError
        If the run was begun with another one.
    """
    begun = directory.read_config()
    config = with_absolute_paths(config)
    # What was decided when the run began might be decided otherwise now.
    decided = {
        key: getattr(begun.encoder, key) for key in ("dtype", "decode") if getattr(config.encoder, key) == "auto"
    }
    config = config.model_copy(update={"encoder": config.encoder.model_copy(update=decided)})
    if config.training.devices == "auto":
        devices = {"devices": begun.training.devices}
        config = config.model_copy(update={"training": config.training.model_copy(update=devices)})
    directory.require_same(config)
    return config


def _check_arguments(config: Any, until_round: Any) -> None:
    if not isinstance(config, Config):
        raise ConfigError(
            f"is a {type(config).__name__}, not a Config",
            key="config",
            value=config,
            mend="Make one with asvp.load_config(path_or_name, overrides)",
        )
    if until_round is None or (type(until_round) is int and until_round >= 0):
        return
    raise ConfigError("is no round's number", key="until_round", value=until_round, mend="Give 0 or more, or None")


def _tell_of_lost_model(config: Config, directory: RunDirectory, reporter: Reporter) -> None:
    if config.training.keep == "all" and not directory.model.exists():
        reporter.say(f"The run is finished, and its final model is no longer in {named(directory.model)}")


def _tell_of_places(out: Path, config: Config, reporter: Reporter) -> None:
    from asvp.actors.places import passing_places

    for note in passing_places(named(out), config):
        reporter.say(f"Warning: {note}")


@contextmanager
def open_backend(prepared: Prepared, reporter: Reporter, *, in_process: bool, address: str | None) -> Iterator[Backend]:
    """Backend for a configuration, in this process or on Ray, let go at the end."""
    if in_process:
        from asvp.compute.in_process import InProcessBackend

        yield InProcessBackend(prepared.encoder, prepared.cache, reporter)
    else:
        # Ray is imported only where it is used, so that debugging needs none.
        from asvp.actors.backend import pool_backend

        with pool_backend(prepared.config.workers, prepared.probe, prepared.cache, reporter, address) as backend:
            yield backend
