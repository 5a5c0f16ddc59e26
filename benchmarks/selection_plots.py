"""Figures of the selection benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

Record = dict[str, Any]


def plot_growth(records: list[Record], file: Path) -> None:
    """Seconds against each thing that grows, with a line in proportion to it."""
    titles = list(dict.fromkeys(record["axis"] for record in records))
    if not titles:
        return
    figure, axes = plt.subplots(1, len(titles), figsize=(3 * len(titles), 3.2), sharey=True, layout="constrained")
    for axis, title in zip(np.atleast_1d(axes), titles, strict=True):
        courses: dict[str, list[tuple[float, float]]] = {}
        for record in records:
            if record["axis"] == title:
                courses.setdefault(record["name"], []).append((record["size"], record["cpu"]))
        for name, points in courses.items():
            axis.loglog(*zip(*sorted(points), strict=True), marker="o", label=name)
        sizes = sorted({size for points in courses.values() for size, _ in points})
        begin = max(min(points)[1] for points in courses.values())
        ends = np.array([sizes[0], sizes[-1]])
        axis.loglog(ends, begin * ends / sizes[0], color="0.6", linestyle="--", label="in proportion")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel(title)
    first = np.atleast_1d(axes)[0]
    seconds = [record["cpu"] for record in records]
    first.set_ylim(0.7 * min(seconds), 2 * max(seconds))
    _readable(first.yaxis)
    first.set_ylabel("CPU seconds")
    first.legend(frameon=False, fontsize="small")
    _save(figure, file)


def plot_costs(records: list[Record], file: Path) -> None:
    """Seconds and extra memory of every strategy, the dearest at the top."""
    if not records:
        return
    ordered = sorted(records, key=lambda record: record["cpu"])
    names = [record["name"] for record in ordered]
    figure, (seconds, memory) = plt.subplots(
        1, 2, figsize=(9, 0.26 * len(names) + 0.8), sharey=True, layout="constrained"
    )
    _bars(seconds, names, [record["cpu"] for record in ordered], "CPU seconds")
    _bars(memory, names, [record["extra_mb"] for record in ordered], "extra MB")
    _save(figure, file)


def _bars(axis: Axes, names: list[str], values: list[float], title: str) -> None:
    axis.barh(names, values, height=0.7)
    axis.set_xscale("log")
    axis.set_xlabel(title)
    axis.margins(y=0.01)
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    _readable(axis.xaxis)


def _readable(axis: Any) -> None:
    """Plain numbers at 1, 2 and 5 of each power of ten, or at the powers alone where there are many."""
    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high / low < 500 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, dpi=110)
    plt.close(figure)
