"""A sweep: version-0 features made once, one Ray Tune trial for each arm and seed, and the answer."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow.fs import LocalFileSystem
from ray import tune

import asvp
from asvp.actors.backend import backend_here
from asvp.actors.cluster import SAY_AFTER_SECONDS, cluster, free_resources, nodes
from asvp.compute import Extraction
from asvp.compute.placement import Placement, place
from asvp.config import Config, WorkersConfig, load_config
from asvp.driver.feature_versions import VersionZero
from asvp.driver.loop import as_begun
from asvp.driver.preparation import Prepared, prepare, tell_of_data, with_absolute_paths
from asvp.errors import AsvpError, ConfigError, DataError, RunDirectoryError
from asvp.features.cache import content_key
from asvp.folders import MARKER, entries, locked, make_folder, mark, read_marker, require_room, settle
from asvp.progress import Reporter, SilentReporter, round_line
from asvp.record.run_directory import RunDirectory
from asvp.report.comparison import Comparison, compare
from asvp.report.records import read_run
from asvp.report.results import TrialRounds, write_results
from asvp.tune_spaces.space import Space, Trial, load_space, space_name, trials
from asvp.tune_spaces.trainable import run_trial

_LOCK = ".asvp.lock"


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

    def to_pandas(self) -> pd.DataFrame:
        """results.parquet: one row a trial and round, with all options as columns."""
        return pd.read_parquet(self.directory / "results.parquet")

    def best(self, metric: str = "final_accuracy", *, at: int | None = None) -> str:
        """The arm whose mean over its seeds is highest.

        Parameters
        ----------
        metric : str
            A column of `to_pandas()`.
        at : int, optional
            Labels bought; None: at the end of each trial.

        Raises
        ------
        DataError
            If no trial tells that metric there.
        """
        rounds = self.to_pandas()
        if metric not in rounds:
            raise DataError("is no column of the results", key="metric", value=metric)
        chosen = rounds.groupby("trial").tail(1) if at is None else rounds[rounds["labelled"] == at]
        means = chosen.groupby("arm")[metric].mean().dropna()
        if means.empty:
            raise DataError("was measured in no trial", key="metric", value=metric, mend=f"at={at} labels")
        return str(means.idxmax())

    def report(self, out: Path | str | None = None) -> Comparison:
        """Curves, savings, costs and the verdict; with `out`, tables and figures are written there."""
        return compare([self.directory], out)


def sweep(
    space: str | Space,
    config: Config | None = None,
    *,
    out: Path | str | None = None,
    seeds: Sequence[int] | None = None,
    resume: bool = False,
    address: str | None = None,
    reporter: Reporter | None = None,
) -> SweepResult:
    """Run every arm of a space with every seed, side by side on Ray.

    Parameters
    ----------
    space : str or Space
        A name of `asvp spaces`, an import path, a YAML file, or the space itself.
    config : Config, optional
        What all arms share; None: the defaults.
    out : path, optional
        The sweep directory, which every node must see; None: a new one under sweeps/.
    seeds : sequence of int, optional
        Instead of the space's own.
    resume : bool
        Go on with the sweep that `out` holds.
    address : str, optional
        Of a Ray cluster; None joins or starts a local one.
    reporter : Reporter, optional
        Told of progress.

    Raises
    ------
    AsvpError
        If the input is wrong, before any work. A trial that fails stops no other (`SweepResult.failed`).
    """
    base = load_config() if config is None else config
    if not isinstance(base, Config):
        raise ConfigError(f"is a {type(base).__name__}, not a Config", key="config", mend="Use asvp.load_config")
    if not isinstance(space, (str, Space)):
        raise ConfigError("is neither a name nor a Space", key="space", value=space)
    arms = load_space(space, base) if isinstance(space, str) else space
    if out is None:
        if resume:
            raise RunDirectoryError("is needed to resume", key="out", mend="Name the sweep's directory")
        out = default_directory(space)
    chosen = list(trials(arms, base.model_dump(), seeds))
    return run_sweep(chosen, settle(out), resume=resume, address=address, reporter=reporter or SilentReporter())


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
    prepared: dict[str, Prepared] = {}
    datasets: dict[str, Any] = {}
    for trial in trials:
        key = trial.config.data.model_dump_json()
        one = prepare(trial.config, datasets.get(key))
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
    out = settle(out)
    prepared = check_sweep(trials, out, resume=resume)
    for one in {id(one.dataset): one for one in prepared.values()}.values():
        tell_of_data(one, reporter)
    names = [trial.name for trial in trials]
    with cluster(address):
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        # What no node can hold is refused before anything is written.
        there = nodes()
        placed: dict[str, tuple[dict[str, float], Placement]] = {
            name: ({}, place(_of_one_trial(one.config), there)) for name, one in prepared.items()
        }
        make_folder(out)
        with locked(out / _LOCK, out):
            mark(out, "sweep", asvp.__version__)
            try:
                failed = _run_trials(trials, prepared, placed, out, reporter)
            finally:
                # What is finished is told in any case, also when the sweep is interrupted.
                unread = _write_finished_rounds(out, names)
    return SweepResult(out, {**failed, **unread})


def _run_trials(
    trials: Sequence[Trial],
    prepared: Mapping[str, Prepared],
    placed: Mapping[str, tuple[dict[str, float], Placement]],
    out: Path,
    reporter: Reporter,
) -> dict[str, str]:
    """Make the shared features and run all trials on the cluster that is there; which failed, and why."""
    configs: dict[str, Config] = {}
    features: dict[str, VersionZero] = {}
    shared: dict[str, tuple[str, VersionZero]] = {}
    begun_with = _begun_with(trials, prepared)
    for trial in trials:
        one = prepared[trial.name]
        if one.config.encoder.dtype == "auto" and (dtype := begun_with.get(_shared_key(one.config))):
            one = one.resolved(dtype)
        key = _shared_key(one.config)
        if key not in shared:
            shared[key] = _version_zero(one, reporter)
        dtype, features[trial.name] = shared[key]
        configs[trial.name] = one.resolved(dtype).config
    placements = {name: placement for name, (_, placement) in placed.items()}
    return _fit(
        out,
        {
            "configs": configs,
            "arms": {trial.name: trial.arm for trial in trials},
            "features": features,
            "placements": placements,
            "runs": str(out / "runs"),
        },
        lambda name: _bundles(*placed[name]),
        list(configs),
        reporter,
    )


def _bundles(own: dict[str, float], placement: Placement) -> tune.PlacementGroupFactory:
    """What a trial asks of Ray: its own process, and its actors."""
    return tune.PlacementGroupFactory([own, *[placement.bundle()] * placement.workers])


def _of_one_trial(config: Config) -> WorkersConfig:
    """A trial's workers: `auto` is one, so that trials run side by side."""
    return config.workers if config.workers.count != "auto" else config.workers.model_copy(update={"count": 1})


def _begun_with(trials: Sequence[Trial], prepared: Mapping[str, Prepared]) -> dict[str, str]:
    """What `encoder.dtype: auto` became when trials were begun, by what they share, so that all of them agree."""
    return {
        _shared_key(with_absolute_paths(trial.config)): dtype
        for trial in trials
        if trial.config.encoder.dtype == "auto" and (dtype := prepared[trial.name].config.encoder.dtype) != "auto"
    }


def _shared_key(config: Config) -> str:
    """Equal for trials that share version 0 of the features."""
    return content_key(*(getattr(config, part).model_dump() for part in ("data", "encoder", "extraction")))


def _version_zero(prepared: Prepared, reporter: Reporter) -> tuple[str, VersionZero]:
    """What `encoder.dtype` is, and the features that all trials with this data and encoder share."""
    config, dataset = prepared.config, prepared.dataset
    backend = backend_here(config, dataset.kind, prepared.cache, reporter)
    dtype = backend.dtype()
    encoder = prepared.resolved(dtype).encoder_fingerprint()
    pool, test = (
        backend.extract(Extraction(source, encoder, 0, config.extraction, title=title))
        for title, source in (("pool", dataset.pool), ("test", dataset.test))
    )
    backend.close()
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
            # A path is a path: without this, Tune reads it as a URI, in which # and % mean something.
            storage_filesystem=LocalFileSystem(),
            verbose=0,
            callbacks=[_Tell(reporter)],
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    with _interruptions_raise():
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

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._idle_since = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """While trials wait and none runs, say so now and then."""
        statuses = {trial.status for trial in trials}
        now = time.monotonic()
        if "RUNNING" in statuses or "PENDING" not in statuses:
            self._idle_since = now
        elif now - self._idle_since >= SAY_AFTER_SECONDS:
            self._idle_since = now
            self._reporter.say(f"Trials are waiting for room on the cluster ({free_resources()})")

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial has finished a round."""
        if not result.get("done"):
            self._reporter.say(f"{trial.config['trial']}: {round_line(result)}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has failed."""
        self._reporter.say(f"{trial.config['trial']}: failed; the others go on")


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"])


def _write_finished_rounds(out: Path, names: Sequence[str]) -> dict[str, str]:
    """Write results.parquet; which trials cannot be read, and why."""
    found, unread = [], {}
    for name in names:
        folder = out / "runs" / name
        if not (folder / "config.yaml").is_file():
            continue
        try:
            run = read_run(folder)
        except AsvpError as error:
            unread[name] = str(error)
            continue
        found.append(TrialRounds(run.path.name, run.arm, run.seed, run.finished, run.config, run.rounds))
    if any(trial.rounds for trial in found):
        write_results(found, out / "results.parquet")
    return unread
