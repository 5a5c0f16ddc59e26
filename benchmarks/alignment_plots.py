"""Figures of the study in alignment.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from alignment_results import Results, gain_of, trials
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

LOOKS = {
    "new": ("new", "#d55e00", "o", "--"),
    "both": ("old + new", "#0072b2", "s", "-"),
    "ensemble": ("a proxy on old, one on new", "#009e73", "^", ":"),
    "half": ("half-way weights", "#e69f00", "D", "--"),
    "old + half": ("old + half-way weights", "#cc79a7", "v", "-"),
}
"""Label, colour (Okabe and Ito's, which colour-blind people tell apart), marker and line of each choice of features."""
ON_PART = {"new": "part", "both": "old + part"}
"""What is shown where there was no fine-tune on all labels."""
MARKS = ("o", "s", "^", "D", "v", "P")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
POINTS = FuncFormatter(lambda value, _: f"{round(100 * value, 1):+g}")
ACROSS = "proxy accuracy less that on old features (points)"


def draw_courses(results: Results, path: Path) -> None:
    """Gain over old features against labels, a panel for each data set and refresh."""
    courses = sorted(results.courses(), key=lambda course: (course[1] != "random", course[2]))
    kinds = list(dict.fromkeys(course[1:] for course in courses))
    data = results.data()
    figure, axes = plt.subplots(
        len(kinds),
        len(data),
        figsize=(4.1 * len(data), 2.7 * len(kinds)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for row, (picks, count) in zip(axes, kinds, strict=True):
        for axis, name in zip(row, data, strict=True):
            if (name, picks, count) in courses:
                draw_course(axis, results, (name, picks, count))
            else:
                axis.set_axis_off()
        row[0].set_ylabel("points")
    handles = [
        Line2D([], [], color=colour, marker=marker, ls=line, ms=5, label=label)
        for label, colour, marker, line in LOOKS.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(LOOKS), fontsize=9)
    figure.suptitle(f"After a refresh: {ACROSS}; bars: s.e. over seeds", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_course(axis: Any, results: Results, course: tuple[str, str, int]) -> None:
    """One refresh: every choice of features at each label count."""
    data, picks, count = course
    axis.axhline(0, color="0.4", lw=1)
    ticks: list[int] = []
    whole = results.gain(course, "new", 1).seeds > 0
    for place, (shown, (label, colour, marker, line)) in enumerate(LOOKS.items()):
        name = shown if whole else ON_PART.get(shown, shown)
        multiples = [multiple for multiple in (1, 2, 4) if results.gain(course, name, multiple).seeds]
        gains = [results.gain(course, name, multiple) for multiple in multiples]
        ticks = [multiple * count for multiple in multiples] or ticks
        # a little apart, so that the bars do not hide each other
        where = [multiple * count * (1 + 0.03 * (place - 2)) for multiple in multiples]
        error = [0 if np.isnan(gain.error) else gain.error for gain in gains]
        axis.errorbar(
            where,
            [gain.mean for gain in gains],
            error,
            color=colour,
            marker=marker,
            ls=line,
            ms=5,
            lw=1.3,
            label=label,
        )
    axis.set(xscale="log", title=f"{data}, {picks}, refresh at {count}{'' if whole else ' (on 80 % of them)'}")
    axis.title.set_fontsize(10)
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(POINTS)
    axis.tick_params(labelleft=True)
    axis.set_xlabel("labels of the proxy")


def draw_variants(results: Results, path: Path) -> None:
    """Every variant at twice the labels of a refresh at 400 random rows, alone and beside the old features."""
    names = ["new", "share 0.75", "half", "share 0.25", "3 epochs", "LP-FT", "augmented", "cross-fitted, full"]
    names.append("cross-fitted, mean")
    shown = {"new": "plain refresh", "half": "share 0.5"}
    data = results.data()
    names = [name for name in names if any(results.gain((task, "random", 400), name, 2).seeds for task in data)]
    figure, axes = plt.subplots(
        1,
        len(data),
        figsize=(4.1 * len(data), 1.2 + 0.45 * len(names)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, task in zip(axes[0], data, strict=True):
        axis.axvline(0, color="0.4", lw=1)
        for beside, colour, marker, shift in ((False, "#d55e00", "o", 0.15), (True, "#0072b2", "s", -0.15)):
            for place, name in enumerate(reversed(names)):
                key = ("both" if name == "new" else f"old + {name}") if beside else name
                gain = results.gain((task, "random", 400), key, 2)
                if gain.seeds:
                    error = 0 if np.isnan(gain.error) else gain.error
                    axis.errorbar(gain.mean, place + shift, xerr=error, color=colour, marker=marker, ms=5, lw=1.3)
        axis.set_title(task, fontsize=10)
        axis.xaxis.set_major_formatter(POINTS)
        axis.set_xlabel("points")
        axis.grid(axis="y", color="0.92")
    axes[0][0].set_yticks(range(len(names)), [shown.get(name, name) for name in reversed(names)])
    handles = [
        Line2D([], [], color=colour, marker=marker, ls="", label=label)
        for colour, marker, label in (("#d55e00", "o", "alone"), ("#0072b2", "s", "beside the old features"))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    figure.suptitle(f"Refresh at 400 random labels, 800 labels: {ACROSS}", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_held(results: Results, path: Path) -> None:
    """Held-out differences against what test rows say, for the two choices of features."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 7), sharey=True, layout="constrained")
    for row, features in zip(axes, ("both", "new"), strict=True):
        tried = trials(results, features)
        for axis, measure in zip(row, ("accuracy", "loss"), strict=True):
            axis.axhline(0, color="0.4", lw=1)
            axis.axvline(0, color="0.4", lw=1)
            for data, colour, marker in zip(results.data(), COLOURS, MARKS, strict=False):
                same = [trial for trial in tried if trial.setting.data == data]
                axis.errorbar(
                    [trial.held[f"{measure}_difference"] for trial in same],
                    [trial.true for trial in same],
                    xerr=[trial.held[f"{measure}_error"] for trial in same],
                    color=colour,
                    marker=marker,
                    ls="",
                    ms=5,
                    lw=0.6,
                    label=data,
                )
            axis.yaxis.set_major_formatter(POINTS)
            axis.set_title(f"{LOOKS[features][0]} less old", fontsize=10)
        row[0].xaxis.set_major_formatter(POINTS)
        row[0].set(xlabel="held-out accuracy difference (points)", ylabel="accuracy gained on test rows (points)")
        row[1].set_xlabel("held-out log-loss difference (nats)")
    axes[0][0].legend(fontsize=8)
    figure.suptitle("What held-out labels say of a refresh; bars: s.e. over held-out rows", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_indicator(results: Results, path: Path) -> None:
    """Gain of the two choices of features against the gap on old features."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    for axis, features in zip(axes, ("new", "both"), strict=True):
        axis.axhline(0, color="0.4", lw=1)
        axis.axvline(0.12, color="0.6", lw=1, ls="--")
        for data, colour, marker in zip(results.data(), COLOURS, MARKS, strict=False):
            for picks in ("random", "margin"):
                same = [r for r in results.of("indicators") if (r["data"], r["picks"]) == (data, picks)]
                gains = [gain_of(results, results.setting(record), features) for record in same]
                axis.scatter(
                    [record["gap"] for record in same],
                    gains,
                    s=36,
                    marker=marker,
                    edgecolors=colour,
                    facecolors=colour if picks == "random" else "none",
                    label=f"{data}, {picks}",
                )
        axis.yaxis.set_major_formatter(POINTS)
        axis.set_title(f"{LOOKS[features][0]} less old", fontsize=10)
        axis.set_xlabel("gap LogME-PED - LogME on old features (nats a row)")
    axes[0].set_ylabel("accuracy gained (points)")
    axes[1].legend(fontsize=8)
    figure.suptitle("The gap before a refresh and what the refresh gains; dashed: default threshold", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)
