"""Figures of a comparison: learning curves, the course of the indicator, and which classes were picked."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

import asvp
from asvp.folders import write_owned
from asvp.report.baseline import baseline_of
from asvp.report.curves import Curve, by_arm, learning_curves
from asvp.report.records import Measure, RunRecord

# Okabe and Ito's colours, which the colour-blind tell apart, without the yellow that white swallows.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_GREY = "#6B6B6B"
_STYLES = ("-", "--", ":", "-.")
_WIDTH, _HEIGHT, _DPI = 10.0, 5.6, 100
_MOST_CLASSES = 40

_Look = tuple[str, str]


def draw_figures(records: Sequence[RunRecord], out: Path, *, known: bool = False) -> list[Path]:
    """Draw every figure there is data for into a folder that is empty, or asvp's.

    Parameters
    ----------
    records : sequence of RunRecord
        The runs of a comparison.
    out : Path
        Made if missing.
    known : bool
        Whether the folder was shown to be asvp's: that of the run itself.

    Returns
    -------
    list of Path
        learning_curves.png always; indicator.png and class_balance.png where the runs know them.

    Raises
    ------
    RunDirectoryError
        If the folder, or a file that would be replaced, cannot be shown to be asvp's.
    """
    images = figure_images(records)
    write_owned(out, images, version=asvp.__version__, key="--out", known=known)
    return [out / name for name in images]


def figure_images(records: Sequence[RunRecord]) -> dict[str, bytes]:
    """Every figure there is data for, as the content of a PNG file, by the file's name."""
    looks = _looks(records)
    figures = {
        "learning_curves.png": _learning_curves(records, looks),
        "indicator.png": _indicator(records, looks),
        "class_balance.png": _class_balance(records, looks),
    }
    return {name: _image(figure) for name, figure in figures.items() if figure is not None}


def _image(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    return content.getvalue()


def _learning_curves(records: Sequence[RunRecord], looks: Mapping[str, _Look]) -> Figure:
    # A curve of final models has two points or more; of one there is a star beside the curve of the proxy.
    curved = any(len(run.accuracies("final")) > 1 for run in records)
    drawn: Measure = "final" if curved or not any(run.accuracies("proxy") for run in records) else "proxy"
    figure, axes = _figure()
    ends = []
    curves = [curve for curve in learning_curves(records, drawn) if curve.points]
    for curve in curves:
        _draw_curve(axes, curve, looks[curve.arm])
        ends.append((curve.arm, curve.points[-1].labelled, curve.points[-1].mean))
    finals = _draw_final_models(axes, records, looks) if drawn == "proxy" else []
    _label_ends(axes, _last_of_each([*ends, *finals]), looks)
    of = {"final": "final models", "proxy": "the proxy"}[drawn]
    title = "Test accuracy: the proxy (lines) and the final model (stars)" if finals else f"Test accuracy of {of}"
    _dress(axes, title, "labels bought")
    _tick_label_counts(axes, records)
    _explain(
        axes,
        band=any(len(point.values) > 1 for curve in curves for point in curve.points),
        refreshed=any(curve.refreshed_at for curve in curves),
        stars=bool(finals),
    )
    return figure


def _draw_curve(axes: Axes, curve: Curve, look: _Look) -> None:
    colour, style = look
    labelled = [point.labelled for point in curve.points]
    means = [point.mean for point in curve.points]
    if any(len(point.values) > 1 for point in curve.points):
        lows, highs = [point.low for point in curve.points], [point.high for point in curve.points]
        axes.fill_between(labelled, lows, highs, color=colour, alpha=0.14, linewidth=0)
    axes.plot(labelled, means, color=colour, linestyle=style, linewidth=2, marker="o", markersize=4)
    at = dict(zip(labelled, means, strict=True))
    marks = [n for n in curve.refreshed_at if n in at]
    axes.plot(marks, [at[n] for n in marks], color=colour, marker="D", markersize=8, linestyle="", zorder=3,
              markeredgecolor="white", markeredgewidth=1.2)  # fmt: skip


def _draw_final_models(
    axes: Axes, records: Sequence[RunRecord], looks: Mapping[str, _Look]
) -> list[tuple[str, int, float]]:
    """Stars with their range where a final model was trained, beside the proxy's curve."""
    ends = []
    for curve in learning_curves(records, "final"):
        for point in curve.points:
            colour = looks[curve.arm][0]
            axes.plot([point.labelled] * 2, [point.low, point.high], color=colour, linewidth=2, alpha=0.5)
            axes.plot([point.labelled], [point.mean], color=colour, marker="*", markersize=14, linestyle="",
                      markeredgecolor="white", markeredgewidth=0.8, zorder=4)  # fmt: skip
            ends.append((curve.arm, point.labelled, point.mean))
    return ends


def _explain(axes: Axes, *, band: bool = False, refreshed: bool = False, stars: bool = False) -> None:
    """A legend of the marks; the arms are named at their lines."""
    entries = []
    if band:
        entries.append(Line2D([], [], color=_GREY, alpha=0.25, linewidth=8, label="range over seeds"))
    if refreshed:
        entries.append(Line2D([], [], color=_GREY, marker="D", markersize=8, linestyle="", label="features refreshed"))
    if stars:
        entries.append(Line2D([], [], color=_GREY, marker="*", markersize=13, linestyle="", label="final model"))
    if entries:
        axes.legend(handles=entries, loc="best", frameon=False, fontsize=11)


def _indicator(records: Sequence[RunRecord], looks: Mapping[str, _Look]) -> Figure | None:
    """LogME before and after the moves of PED, and their gap, by labels bought."""
    courses = {
        arm: {key: _mean_course(runs, key) for key in ("logme", "logme_ped")} for arm, runs in by_arm(records).items()
    }
    courses = {arm: course for arm, course in courses.items() if course["logme"]}
    if not courses:
        return None
    figure = _canvas(_HEIGHT)
    levels, gaps = figure.subplots(1, 2)
    gap_ends, level_ends = [], []
    for arm, course in courses.items():
        colour, style = looks[arm]
        levels.plot(*zip(*course["logme"].items(), strict=True), color=colour, linewidth=2, linestyle=style)
        level_ends.append((arm, *list(course["logme"].items())[-1]))
        if not course["logme_ped"]:
            continue
        levels.plot(*zip(*course["logme_ped"].items(), strict=True), color=colour, linewidth=1.5, linestyle=(0, (1, 1)))
        gap = {n: value - course["logme"][n] for n, value in course["logme_ped"].items() if n in course["logme"]}
        gaps.plot(*zip(*gap.items(), strict=True), color=colour, linewidth=2, linestyle=style, marker="o", markersize=4)
        gap_ends.append((arm, *list(gap.items())[-1]))
        marks = [n for n in _refreshes(by_arm(records)[arm]) if n in gap]
        gaps.plot(marks, [gap[n] for n in marks], color=colour, marker="D", markersize=8, linestyle="",
                  markeredgecolor="white", markeredgewidth=1.2)  # fmt: skip
    _label_ends(levels, level_ends, looks)
    _label_ends(gaps, gap_ends, looks)
    _dress(levels, "LogME (line) and LogME-PED (dots)", "labels bought")
    _dress(gaps, "Gap: LogME-PED minus LogME", "labels bought")
    for axes in (levels, gaps):
        _tick_label_counts(axes, records)
    _explain(gaps, refreshed=any(_refreshes(runs) for arm, runs in by_arm(records).items() if arm in courses))
    return figure


def _class_balance(records: Sequence[RunRecord], looks: Mapping[str, _Look]) -> Figure | None:
    """The share of each class among the labels an arm bought, classes by their share in random picks."""
    shares = {arm: _class_shares(runs) for arm, runs in by_arm(records).items()}
    shares = {arm: share for arm, share in shares.items() if share}
    if not shares:
        return None
    baseline = baseline_of(records)
    reference = shares.get(baseline or "") or {
        name: fmean(share.get(name, 0.0) for share in shares.values()) for name in set().union(*shares.values())
    }
    names = set().union(*shares.values())
    ranked = sorted(names, key=lambda name: (-reference.get(name, 0.0), name))[:_MOST_CLASSES]
    figure, axes = _figure(height=1.6 + 0.22 * len(ranked) + 0.25)
    for arm, share in shares.items():
        axes.plot([share.get(name, 0.0) for name in ranked], range(len(ranked)), color=looks[arm][0], linestyle="",
                  marker="|" if arm == baseline else "o", markersize=11 if arm == baseline else 6,
                  markeredgewidth=2.5 if arm == baseline else 0, alpha=0.9, label=arm)  # fmt: skip
    axes.set_yticks(range(len(ranked)), [_short(name) for name in ranked], fontsize=10)
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    left_out = len(names) - len(ranked)
    more = f" (the {len(ranked)} commonest of {len(names)} classes)" if left_out else ""
    _dress(axes, f"Share of each class among the labels bought{more}", "share of labels")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    axes.set_xlim(left=0)
    axes.grid(True, axis="y", color="#F2F2F2", linewidth=0.8)
    axes.legend(loc="lower right", frameon=False, fontsize=11)
    return figure


def _looks(records: Sequence[RunRecord]) -> dict[str, _Look]:
    """A colour and a line style for each arm; grey for random picks."""
    baseline = baseline_of(records)
    others = [arm for arm in by_arm(records) if arm != baseline]
    looks = {
        arm: (_COLOURS[i % len(_COLOURS)], _STYLES[i // len(_COLOURS) % len(_STYLES)]) for i, arm in enumerate(others)
    }
    return looks if baseline is None else {baseline: (_GREY, "-"), **looks}


def _canvas(height: float) -> Figure:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _figure(height: float = _HEIGHT) -> tuple[Figure, Axes]:
    figure = _canvas(height)
    return figure, figure.subplots()


def _dress(axes: Axes, title: str, x: str) -> None:
    axes.set_title(title, loc="left", fontsize=14, pad=12)
    axes.set_xlabel(x, fontsize=12)
    axes.tick_params(labelsize=11, length=0)
    axes.grid(True, axis="both", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#BBBBBB")


def _tick_label_counts(axes: Axes, records: Sequence[RunRecord]) -> None:
    """Ticks at the ends of rounds while they are few, else at round numbers."""
    counts = sorted({int(one["labelled"]) for run in records for one in run.rounds})
    axes.xaxis.set_major_locator(FixedLocator(counts) if len(counts) <= 8 else MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _label_ends(axes: Axes, ends: Sequence[tuple[str, int, float]], looks: Mapping[str, _Look]) -> None:
    """Name the lines at their ends, the names pushed apart where they would overlap."""
    if not ends:
        return
    low, high = axes.get_ylim()
    apart = 0.048 * (high - low)
    placed: list[float] = []
    for _, _, y in sorted(ends, key=lambda end: end[2]):
        placed.append(max(y, placed[-1] + apart) if placed else y)
    # What was pushed over the top comes down again, and pushes the ones below.
    limit = max(high, max(y for _, _, y in ends))
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - apart
    right = max(x for _, x, _ in ends)
    for (arm, _, _), y in zip(sorted(ends, key=lambda end: end[2]), placed, strict=True):
        axes.annotate(arm, (right, y), xytext=(12, 0), textcoords="offset points", va="center", fontsize=12,
                      color=looks[arm][0], annotation_clip=False)  # fmt: skip
    axes.set_ylim(low, high)


def _last_of_each(ends: Sequence[tuple[str, int, float]]) -> list[tuple[str, int, float]]:
    return list({arm: (arm, x, y) for arm, x, y in ends}.values())


def _mean_course(runs: Sequence[RunRecord], key: str) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for run in runs:
        for one in run.rounds:
            if one.get(key) is not None:
                values.setdefault(int(one["labelled"]), []).append(float(one[key]))
    return {n: fmean(values[n]) for n in sorted(values)}


def _refreshes(runs: Sequence[RunRecord]) -> tuple[int, ...]:
    (curve,) = learning_curves(runs)
    return curve.refreshed_at


def _class_shares(runs: Sequence[RunRecord]) -> dict[str, float]:
    """Mean share of each class over the seeds that know their picks."""
    known: list[Mapping[str, Any]] = [run.picks for run in runs if run.picks]
    names = sorted(set().union(*known)) if known else []
    return {name: fmean(picks.get(name, 0) / sum(picks.values()) for picks in known) for name in names}


def _short(name: str, width: int = 24) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"
