"""What selection costs at any size: constants measured here, a prediction from them, and a run to check it.

    python benchmarks/scaling.py --docs docs

Constants: how fast one core reads features, scores them with a proxy and compares them with centres, and how long a
call of a Ray actor takes. Seconds are CPU seconds on one thread, which other work on the machine disturbs least. The
prediction is operations and bytes over those rates. How often the lazy algorithms look at rows depends on the data, so
it is counted at a quarter of the rows; windows are taken to grow with the rows, all else to stay. The run is one of
1,000,000 x 256 in float16, the largest that this machine holds. Takes minutes; writes its tables into DOCS/scaling.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")

import click
import numpy as np
import ray
import torch
from selection_data import synthetic_case
from selection_report import fill, table

from asvp.actors.selection_worker import SelectionWorker
from asvp.compute.scoring import ScoredRows, probability_rows
from asvp.config import ProxyConfig
from asvp.models.proxy import Proxy, fit_proxy
from asvp.selection import ArrayRows, select
from asvp.selection.geometry.bounds import HeldBounds
from asvp.selection.geometry.lazy import _FarthestFirst
from asvp.selection.geometry.points import Euclidean, Points, full_precision, lower, to_device
from asvp.selection.geometry.window import Window
from asvp.selection.rows import BLOCK_ROWS, even_blocks

NUMBER_BYTES = 2
CENTRES = 256
WINDOW = 512
CANDIDATES = 128
NAMES = ("margin", "badge", "coreset_self")


@dataclass(frozen=True)
class Size:
    """A selection problem: N rows of D numbers, C classes, L labelled rows, B picks; a proxy D -> D -> C."""

    rows: int
    dim: int
    classes: int
    labelled: int
    budget: int


@dataclass(frozen=True)
class Looks:
    """How often a lazy algorithm looked at all rows, a window of them, a candidate, and all centres for a near tie.

    `unseen` is the number of rows in windows times the centres each had not seen.
    """

    passes: int
    windows: int
    candidates: int
    settled: int
    unseen: int

    def at(self, factor: float, budget: int) -> Looks:
        """The same with so many times the rows: windows grow with them, up to one a pick."""
        if not self.windows:
            return self
        windows = min(int(self.windows * factor), budget)
        return replace(self, windows=windows, unseen=self.unseen * windows // self.windows)


@dataclass(frozen=True)
class Work:
    """What a selection takes: operations of scoring and of distances, bytes of probabilities ranked and of features
    read, calls of all parts and the bytes they carry."""

    scoring: float
    distances: float
    ranked: float
    read: float
    calls: float
    travelled: float


@dataclass(frozen=True)
class Rates:
    """Of this machine: operations a second, bytes a second."""

    scoring: float
    distances: float
    ranked: float
    read: float

    def seconds(self, work: Work) -> float:
        """Time of the work where the rows are here."""
        products = work.scoring / self.scoring + work.distances / self.distances
        return products + work.ranked / self.ranked + work.read / self.read


def work_of(name: str, size: Size, looks: Looks) -> Work:
    """Operations and bytes of a strategy, as docs/scaling.md derives them."""
    pass_bytes = float(size.rows * size.dim * NUMBER_BYTES)
    probability_bytes = 4.0 * size.rows * size.classes
    hidden, output = 2.0 * size.rows * size.dim**2, 2.0 * size.rows * size.dim * size.classes
    if name == "margin":
        return Work(hidden + output, 0, probability_bytes, pass_bytes, 1, 16.0 * size.budget)
    if name == "badge":
        # The norms take one pass; each pass computes hidden features and probabilities anew.
        passes = looks.passes + 1
        width = size.dim + size.classes
        # A pass takes in the picks since the one before; those since the last are met by candidates alone.
        distances = 2.0 * size.rows * width * size.budget * (looks.passes - 1) / looks.passes
        # Candidates are compared with half of these on average.
        distances += width * looks.candidates * size.budget / looks.passes
        batches = looks.candidates / CANDIDATES
        row = 4.0 * width
        return Work(
            passes * (hidden + output),
            distances,
            passes * probability_bytes,
            passes * pass_bytes,
            2 * passes + 3 * batches,
            (looks.candidates + size.budget) * row,
        )
    # Two passes for mean and norms; then those over labelled rows and, where windows run dry, over newer picks.
    distances = 2.0 * size.rows * size.dim * (size.labelled + size.budget * (looks.passes - 1) / max(looks.passes, 1))
    # A window is compared with the centres its rows have not seen and with every pick in it.
    windows = 2.0 * size.dim * (looks.unseen + WINDOW * size.budget)
    # Every near tie reads all centres, in float32.
    centres = size.labelled + size.budget
    row = 4.0 * size.dim
    again = row * looks.settled * (size.labelled + size.budget / 2)
    travelled = row * (looks.windows * WINDOW + centres)
    read = (2 + looks.passes) * pass_bytes + again
    return Work(0, distances + windows, 0, read, 3 * looks.windows + looks.passes, travelled)


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Counts passes over all rows and windows while it lasts."""
    counts = {"passes": 0, "windows": 0, "candidates": 0, "settled": 0, "unseen": 0}
    held = HeldBounds.lower, HeldBounds.top, HeldBounds.draw
    greedy = _FarthestFirst._settle, _FarthestFirst._bring_up_to_date
    lower_all, top, draw = held
    settle, bring_up_to_date = greedy

    def counting_lower(bounds: HeldBounds, centres: Points) -> None:
        counts["passes"] += 1
        lower_all(bounds, centres)

    def counting_top(bounds: HeldBounds, count: int) -> tuple[np.ndarray, float]:
        counts["windows"] += 1
        return top(bounds, count)

    def counting_draw(bounds: HeldBounds, shares: np.ndarray) -> np.ndarray:
        counts["candidates"] += len(shares)
        return draw(bounds, shares)

    def counting_settle(picker: _FarthestFirst, window: Window, contested: np.ndarray) -> int:
        counts["settled"] += 1
        return settle(picker, window, contested)

    def counting_update(picker: _FarthestFirst, rows: np.ndarray, points: Points, values: torch.Tensor) -> None:
        counts["unseen"] += int((picker._count - picker._seen[rows]).sum())
        bring_up_to_date(picker, rows, points, values)

    HeldBounds.lower, HeldBounds.top, HeldBounds.draw = counting_lower, counting_top, counting_draw
    _FarthestFirst._settle, _FarthestFirst._bring_up_to_date = counting_settle, counting_update
    try:
        yield counts
    finally:
        HeldBounds.lower, HeldBounds.top, HeldBounds.draw = held
        _FarthestFirst._settle, _FarthestFirst._bring_up_to_date = greedy


def least_seconds(
    work: Callable[[], object], repeats: int = 5, clock: Callable[[], float] = time.process_time
) -> float:
    """Least seconds of some repeats."""
    seconds = []
    for _ in range(repeats):
        start = clock()
        work()
        seconds.append(clock() - start)
    return min(seconds)


def measure_rates(dim: int, classes: int) -> Rates:
    """Rates with rows of this width, over 16 blocks."""
    rng = np.random.default_rng(0)
    rows = 16 * BLOCK_ROWS
    features = rng.normal(size=(rows, dim)).astype(np.float16)
    proxy = made_proxy(features[:1000], classes)
    blocks = [part for _, part in even_blocks(ArrayRows(features))]
    scoring = least_seconds(lambda: [proxy.probabilities(block) for block in blocks]) / rows
    probabilities = proxy.probabilities(features)
    ranked = least_seconds(lambda: select("margin", budget=rows // 100, seed=0, probabilities=probabilities))
    with full_precision():
        points = Points((to_device(blocks[0], torch.device("cpu")),), torch.ones(BLOCK_ROWS))
        centres = Points((points.factors[0][:CENTRES],), points.norms[:CENTRES])
        geometry = Euclidean(torch.zeros(dim), 1.0)
        held = torch.zeros(BLOCK_ROWS)
        distances = least_seconds(lambda: lower(geometry, held, points, centres))
    read = least_seconds(lambda: [to_device(block, torch.device("cpu")).sum() for block in blocks])
    return Rates(
        2.0 * (dim**2 + dim * classes) / scoring,
        2.0 * BLOCK_ROWS * CENTRES * dim / distances,
        probabilities.nbytes / ranked,
        features.nbytes / read,
    )


def made_proxy(features: np.ndarray, classes: int) -> Proxy:
    """A proxy D -> D -> C; what it was fitted on does not change how long it takes."""
    labels = np.arange(len(features)) % classes
    return fit_proxy(features, labels, classes=classes, config=ProxyConfig(epochs=1), seed=0, device="cpu")


def measure_ray() -> tuple[float, float]:
    """Seconds of a call of an actor with little to carry, and bytes a second of what a call carries."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        worker = SelectionWorker.options(num_cpus=0).remote(1)
        carried = np.ones(1 << 23, dtype=np.float32)
        call = least_seconds(lambda: ray.get(worker.__ray_ready__.remote()), 200, time.perf_counter)
        carry = least_seconds(
            lambda: ray.get(worker.__ray_call__.remote(lambda _, array: array[::4096].sum(), carried)),
            clock=time.perf_counter,
        )
        return call, carried.nbytes / carry
    finally:
        ray.shutdown()


def run(name: str, size: Size, proxy: Proxy, features: np.ndarray) -> tuple[float, Looks]:
    """Seconds of a selection with a proxy that is asked block by block, and what it looked at."""
    rows = ArrayRows(features[: size.rows])
    scored = ScoredRows(rows, proxy)
    inputs = {
        "margin": {"probabilities": probability_rows(rows, proxy)},
        "badge": {"features": scored.hidden, "probabilities": scored.probabilities},
        "coreset_self": {"features": rows},
    }[name]
    with counted() as counts:
        start = time.process_time()
        select(name, budget=size.budget, seed=0, labelled=np.arange(size.labelled), **inputs)
        return time.process_time() - start, Looks(**counts)


def constants_table(rates: dict[int, Rates], call: float, carried: float) -> str:
    """What was measured."""
    lines = [
        [
            f"D = {dim}",
            f"{one.scoring / 1e9:.0f}",
            f"{one.distances / 1e9:.0f}",
            f"{one.ranked / 1e9:.2f}",
            f"{one.read / 1e9:.2f}",
        ]
        for dim, one in rates.items()
    ]
    columns = [
        "",
        "scoring, GFLOP/s",
        "distances, GFLOP/s",
        "probabilities ranked, GB/s",
        "float16 features read, GB/s",
    ]
    told = f"A call of an actor: {call * 1e3:.2f} ms. What calls carry: {carried / 1e9:.2f} GB/s."
    return f"{table(columns, lines)}\n\n{told}"


def costs_table(costs: list[tuple[str, str, Work, float, float]]) -> str:
    """Work and predicted seconds."""
    lines = [
        [
            title,
            name,
            f"{(work.scoring + work.distances) / 1e12:,.1f}",
            f"{work.read / 1e9:,.0f}",
            f"{work.calls:,.0f}",
            f"{work.travelled / 1e6:,.1f}",
            f"{here:,.0f}",
            f"{there:,.1f}",
        ]
        for title, name, work, here, there in costs
    ]
    columns = [
        "size",
        "strategy",
        "TFLOP",
        "GB read",
        "calls",
        "MB travelling",
        "core seconds",
        "seconds, 10 x 16 cores",
    ]
    return table(columns, lines)


@click.command(help=__doc__)
@click.option("--docs", type=click.Path(path_type=Path), required=True, help="Folder of scaling.md.")
@click.option("--rows", type=int, default=1_000_000, show_default=True, help="Rows of the run that checks.")
def main(docs: Path, rows: int) -> None:
    torch.set_num_threads(1)
    largest = Size(rows, 256, 100, 1000, 10_000)
    sizes = {
        "ImageNet, 1.28 M x 2048": Size(1_281_167, 2048, 1000, 10_000, 10_000),
        "100 M x 768": Size(100_000_000, 768, 1000, 10_000, 10_000),
    }
    rates = {dim: measure_rates(dim, classes) for dim, classes in ((256, 100), (768, 1000), (2048, 1000))}
    call, carried = measure_ray()
    features = synthetic_case(rows, largest.dim, largest.classes).features
    proxy = made_proxy(features[:1000], largest.classes)
    checks, costs = [], []
    for name in NAMES:
        quarter = Size(rows // 4, largest.dim, largest.classes, largest.labelled, largest.budget)
        _, looks = run(name, quarter, proxy, features)
        predicted = rates[largest.dim].seconds(work_of(name, largest, looks.at(4, largest.budget)))
        seconds, seen = run(name, largest, proxy, features)
        checks.append(
            [
                name,
                f"{predicted:.1f}",
                f"{seconds:.1f}",
                f"{predicted / seconds:.2f}",
                f"{looks.passes} / {seen.passes}",
                f"{looks.windows} / {seen.windows}",
                f"{looks.candidates:,} / {seen.candidates:,}",
                f"{looks.settled:,} / {seen.settled:,}",
                f"{looks.unseen / 1e6:,.0f} / {seen.unseen / 1e6:,.0f}",
            ]
        )
        click.echo(" | ".join(checks[-1]))
        for title, size in sizes.items():
            work = work_of(name, size, seen.at(size.rows / rows, size.budget))
            here = rates[size.dim].seconds(work)
            there = here / 160 + work.calls * call + work.travelled / carried
            costs.append((title, name, work, here, there))
    counted_twice = [f"{what}, quarter / all" for what in ("passes", "windows", "candidates", "near ties", "unseen, M")]
    columns = ["strategy", "predicted, s", "measured, s", "ratio", *counted_twice]
    fill(
        docs / "scaling.md",
        {
            "constants": constants_table(rates, call, carried),
            "check": table(columns, checks),
            "costs": costs_table(sorted(costs, key=lambda cost: cost[0], reverse=True)),
        },
    )


if __name__ == "__main__":
    main()
