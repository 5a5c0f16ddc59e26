"""Time, memory and quality of every selection strategy, beside textbook code and scikit-activeml.

    python benchmarks/selection.py time --out ~/selection --threads 1
    python benchmarks/selection.py report --out ~/selection --docs docs

`time` takes the parts to run: strategies, rivals, growth, axes, scale, peers (which needs scikit-activeml); `quality`
runs learning curves on ready features. Every part appends JSON lines to OUT; features are made once, into OUT. Seconds
are CPU seconds of the process, which other work on the machine disturbs less than the clock.
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from scipy.stats import ks_2samp
from selection_data import FEW_LABELLED, Case, case, embedded, linear_model, synthetic_case
from selection_naive import (
    badge_by_passes,
    badge_in_numpy,
    badge_potential,
    coreset_by_passes,
    covered_share,
    probcover_by_graph,
    scikit_activeml,
)
from selection_quality import quality
from selection_report import write_report

from asvp.selection import check_strategy, select, strategies, wrappers

BUDGET = 1000
POTENTIAL_SEEDS = 100
"""A few seeds in a hundred miss a group of rows and end much higher, so the mean of ten means little."""
MEGABYTE = 1e6


def measure(work: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Least CPU and clock seconds of some repeats, and the extra memory of the first, in megabytes."""
    before = _reset_peak()
    timed = []
    result, extra = None, 0.0
    for number in range(repeats):
        cpu, clock = time.process_time(), time.perf_counter()
        result = work()
        timed.append((time.process_time() - cpu, time.perf_counter() - clock))
        if number == 0:
            extra = (_status("VmHWM") - before) / MEGABYTE
    return {
        "cpu": min(cpu for cpu, _ in timed),
        "clock": min(clock for _, clock in timed),
        "extra_mb": max(0.0, extra),
        "result": result,
    }


def _mean_and_error(values: list[float]) -> list[float]:
    return [float(np.mean(values)), float(np.std(values) / len(values) ** 0.5)]


def _reset_peak() -> float:
    # Memory that earlier work freed goes back to the system, so that what is used again counts again.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return float(line.split()[1]) * 1024


class Bench:
    """The problem, and where results go."""

    def __init__(self, out: Path, repeats: int) -> None:
        self.data = embedded(out / "features.npz")
        self.problem = case(self.data)
        self.repeats = repeats
        self._file = out / "results.jsonl"
        # The first call of a kernel allocates what later calls use again.
        self.run("badge", self.problem.first(4096), 50)
        self.run("coreset_self", self.problem.first(4096), 50)

    def run(
        self, name: str, problem: Case, budget: int, wrap: tuple[str, ...] = (), seed: int = 0, **options: Any
    ) -> Any:
        """Picks of a strategy with just the inputs it asks for."""
        classes = problem.probabilities.shape[1]
        model = linear_model(problem, classes) if name in ("alfa_mix", "drop_query") else None
        have = {
            "features": problem.features,
            "raw_features": problem.features,
            "probabilities": problem.probabilities,
            "members": problem.members,
            "labels": problem.labels,
            "head": model,
            "scorer": model,
        }
        inputs = {key: have[key] for key in check_strategy(name, options, wrap).inputs}
        return select(
            name,
            budget=budget,
            seed=seed,
            labelled=problem.labelled,
            wrap=wrap,
            size=len(problem.features),
            **inputs,
            **options,
        )

    def write(self, part: str, **record: Any) -> None:
        """Append a line, and show it."""
        record = {"part": part, "threads": torch.get_num_threads(), **record}
        with self._file.open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        click.echo(json.dumps(record))


def time_strategies(bench: Bench) -> None:
    """Every strategy, and BADGE in every wrapper, on all rows."""
    problem = bench.problem
    plans: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in strategies()]
    plans += [("badge", (name,)) for name in wrappers()]
    for name, wrap in plans:
        repeats = 1 if name in ("activeft", "activeft_proxy", "probcover", "typiclust") else bench.repeats
        found = measure(lambda name=name, wrap=wrap: bench.run(name, problem, BUDGET, wrap), repeats)
        found.pop("result")
        title = name if not wrap else f"{name} in {wrap[0]}"
        bench.write("strategies", name=title, rows=len(problem.features), budget=BUDGET, **found)


def time_rivals(bench: Bench) -> None:
    """BADGE and coreset against one look at every row for every pick, with the agreement of the picks."""
    problem = bench.problem
    features, probabilities, labelled = problem.features, problem.probabilities, problem.labelled
    lazy = measure(lambda: bench.run("badge", problem, BUDGET), bench.repeats)
    passes = measure(lambda: badge_by_passes(features, probabilities, BUDGET, labelled, 0), 1)
    plain = measure(lambda: badge_in_numpy(features, probabilities, BUDGET, labelled, 0), 1)
    ours, theirs = [], []
    for seed in range(POTENTIAL_SEEDS):
        ours.append(badge_potential(features, probabilities, bench.run("badge", problem, 100, seed=seed)))
        by_passes = badge_by_passes(features, probabilities, 100, labelled, seed)
        theirs.append(badge_potential(features, probabilities, by_passes))
    bench.write(
        "rivals",
        name="badge",
        lazy=lazy["cpu"],
        passes=passes["cpu"],
        numpy64=plain["cpu"],
        extra_mb=lazy["extra_mb"],
        features_mb=features.nbytes / MEGABYTE,
        first_pick_agrees=lazy["result"][0] == passes["result"][0] == plain["result"][0],
        potential=_mean_and_error(ours),
        potential_passes=_mean_and_error(theirs),
        potential_equal=float(ks_2samp(ours, theirs).pvalue),
    )
    lazy = measure(lambda: bench.run("coreset_self", problem, BUDGET), bench.repeats)
    passes = measure(lambda: coreset_by_passes(features, BUDGET, labelled), 1)
    exact = coreset_by_passes(features, BUDGET, labelled, torch.float64)
    bench.write(
        "rivals",
        name="coreset_self",
        lazy=lazy["cpu"],
        passes=passes["cpu"],
        extra_mb=lazy["extra_mb"],
        features_mb=features.nbytes / MEGABYTE,
        agrees_float64=float(np.mean(lazy["result"] == exact)),
        agrees_float32=float(np.mean(lazy["result"] == passes["result"])),
    )


def time_growth(bench: Bench) -> None:
    """Seconds as rows, picks, classes and numbers in a row grow, one at a time."""
    rng = np.random.default_rng(0)
    base = bench.problem
    for name in ("badge", "coreset_self"):
        runs: list[tuple[str, int, Case, int]] = []
        runs += [("rows", rows, base.first(rows).relabelled(FEW_LABELLED), 500) for rows in (2000, 8000, 32000)]
        runs += [("picks", picks, base, picks) for picks in (250, 1000, 4000)]
        for dim in (96, 192, 384):
            narrow = Case(
                np.ascontiguousarray(base.features[:, :dim]), base.probabilities, [], base.labelled, base.labels
            )
            runs.append(("numbers in a row", dim, narrow, 500))
        if name == "badge":
            for classes in (10, 100, 1000):
                odds = np.exp(rng.normal(scale=2, size=(8000, classes)).astype(np.float32))
                first = base.first(8000)
                several = Case(first.features, odds / odds.sum(axis=1, keepdims=True), [], first.labelled, first.labels)
                runs.append(("classes", classes, several, 500))
        for axis, size, problem, budget in runs:
            found = measure(
                lambda name=name, problem=problem, budget=budget: bench.run(name, problem, budget), bench.repeats
            )
            bench.write("growth", name=name, axis=axis, size=size, cpu=found["cpu"], extra_mb=found["extra_mb"])


def time_axes(bench: Bench) -> None:
    """Every strategy at one size, and with four times the rows, picks, numbers in a row and classes."""
    base = {"rows": 8000, "picks": 200, "numbers in a row": 96, "classes": 25}
    for name in strategies():
        for axis in ("", *base):
            size = {key: value * (4 if key == axis else 1) for key, value in base.items()}
            problem = bench.problem.resized(size["rows"], size["numbers in a row"], size["classes"])
            found = measure(lambda name=name, problem=problem, size=size: bench.run(name, problem, size["picks"]), 2)
            bench.write("axes", name=name, axis=axis, size=0, cpu=found["cpu"], extra_mb=found["extra_mb"])


def time_peers(bench: Bench, rows: int = 3000, budget: int = 100, radius: float = 0.7) -> None:
    """scikit-activeml on a small pool, since it holds matrices of rows by rows or rows by classes by numbers."""
    problem = bench.problem.first(rows)
    options: dict[str, dict[str, Any]] = {
        "badge": {},
        "coreset_self": {},
        "typiclust": {},
        "probcover": {"radius": radius},
    }
    for name, chosen in options.items():
        ours = measure(lambda name=name, chosen=chosen: bench.run(name, problem, budget, **chosen), bench.repeats)
        peer = measure(
            lambda name=name: scikit_activeml(
                name, problem.features, problem.probabilities, budget, problem.labelled, radius
            ),
            1,
        )
        same = float(np.mean(ours["result"] == peer["result"]))
        record = {"same_picks": same, "same_set": len({*ours["result"].tolist()} & {*peer["result"].tolist()}) / budget}
        if name == "probcover":
            graph = probcover_by_graph(problem.features, radius, budget, problem.labelled)
            record["agrees_with_graph"] = float(np.mean(ours["result"] == graph))
            record["covered"] = covered_share(problem.features, radius, ours["result"])
            record["peer_covered"] = covered_share(problem.features, radius, peer["result"])
        if name == "badge":
            record["potential"] = badge_potential(problem.features, problem.probabilities, ours["result"])
            record["peer_potential"] = badge_potential(problem.features, problem.probabilities, peer["result"])
        if name == "coreset_self":
            exact = coreset_by_passes(problem.features, budget, problem.labelled, torch.float64)
            record["agrees_float64"] = float(np.mean(ours["result"] == exact))
        bench.write(
            "peers",
            name=name,
            rows=rows,
            budget=budget,
            cpu=ours["cpu"],
            peer_cpu=peer["cpu"],
            extra_mb=ours["extra_mb"],
            peer_extra_mb=peer["extra_mb"],
            **record,
        )


def time_scale(bench: Bench, rows: int = 1_000_000) -> None:
    """A million rows of 256 numbers."""
    problem = synthetic_case(rows)
    for name in ("margin", "badge", "coreset_self"):
        for budget in (1000, 10_000):
            found = measure(lambda name=name, budget=budget: bench.run(name, problem, budget), 1)
            found.pop("result")
            bench.write("scale", name=name, axis=rows, size=budget, **found)


PARTS: dict[str, Callable[[Bench], None]] = {
    "strategies": time_strategies,
    "rivals": time_rivals,
    "growth": time_growth,
    "axes": time_axes,
    "peers": time_peers,
    "scale": time_scale,
}


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command("time")
@click.argument("parts", nargs=-1, type=click.Choice(["all", *PARTS]))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of features and results.")
@click.option("--threads", type=int, default=None, help="Threads of torch; the default is torch's.")
@click.option("--repeats", type=int, default=3, show_default=True, help="The least time of so many is taken.")
def time_command(parts: tuple[str, ...], out: Path, threads: int | None, repeats: int) -> None:
    """Measure seconds and memory."""
    if threads is not None:
        torch.set_num_threads(threads)
    bench = Bench(out, repeats)
    for name, part in PARTS.items():
        if not parts or name in parts or "all" in parts:
            part(bench)


@main.command("quality")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of features and results.")
@click.option("--budget", default="100+100x9", show_default=True, help="Labels a round.")
@click.option("--seeds", type=int, default=5, show_default=True)
@click.option("--rows", type=int, default=None, help="Pool rows; the default is all.")
@click.option("--strategy", "names", multiple=True, help="Strategies; the default is all.")
def quality_command(out: Path, budget: str, seeds: int, rows: int | None, names: tuple[str, ...]) -> None:
    """Proxy accuracy round by round, without fine-tuning."""
    quality(embedded(out / "features.npz"), out / "quality.jsonl", budget, seeds, rows, names or tuple(strategies()))


@main.command("report")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of results.")
@click.option(
    "--docs", type=click.Path(path_type=Path), required=True, help="Folder of selection.md and strategies.md."
)
def report_command(out: Path, docs: Path) -> None:
    """Write tables and plot into the documentation."""
    write_report(out, docs)


if __name__ == "__main__":
    main()
