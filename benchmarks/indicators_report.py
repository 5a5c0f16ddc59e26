"""Tables and figures of the study in indicators.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator
from scipy.stats import spearmanr

from asvp.alignment import Observation, Reading, make_policy
from asvp.config import RefreshConfig

WORTH = 0.02
"""Proxy accuracy that a refresh must gain to be worth its fine-tune and extraction, in this study."""


def write_report(records: list[dict[str, Any]], folder: Path) -> None:
    """Print what the indicators foretell and draw the figures; needs at least two data sets."""
    folder.mkdir(parents=True, exist_ok=True)
    print_gains(records)
    first = [record for record in records if not record["trained_on"]]
    text = [record for record in records if record["data"].startswith("sections")]
    print_predictors("all readings", records)
    print_predictors("readings of pre-trained features", first)
    print_predictors("readings of the text encoder", text)
    print_thresholds([record for record in text if not record["trained_on"]])
    print_replay(first)
    draw_courses(records, folder / "indicators-courses.png")
    draw_scatter(records, ["gap", "logme", "cv error", "labels a class"], folder / "indicators-gain.png")


def print_predictors(title: str, records: list[dict[str, Any]]) -> None:
    """How well each predictor ranks and decides, best ones first."""
    gains = np.array([record["gain"] for record in records])
    groups = np.array([record["data"] for record in records])
    if len(np.unique(groups)) < 2:
        return
    ranks = {name: score(column(records, name), gains, groups) for name in records[0]["readings"]}
    always = np.sum(gains - WORTH) / ideal(gains)
    print(f"\n{title}: {len(records)}, {np.mean(gains >= WORTH):.0%} with a gain of at least {WORTH}; ", end="")
    print(f"refreshing always has {always:.2f} of the ideal value")
    print("| predictor | Spearman, all | Spearman, mean in a data set | AUC | share of the ideal value |")
    print("|---|---|---|---|---|")
    for name, row in sorted(ranks.items(), key=lambda item: -abs(item[1][2] - 0.5)):
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |")


def column(records: list[dict[str, Any]], name: str) -> np.ndarray:
    """One predictor over all records."""
    return np.array([record["readings"][name] for record in records])


def ideal(gains: np.ndarray) -> float:
    """Value of refreshing exactly where it is worth it."""
    return float(np.maximum(gains - WORTH, 0).sum())


def score(values: np.ndarray, gains: np.ndarray, groups: np.ndarray) -> tuple[float, float, float, float]:
    """Rank correlation over all and within data sets, AUC, and the value of a threshold chosen on other data sets."""
    within = [spearmanr(values[groups == group], gains[groups == group])[0] for group in np.unique(groups)]
    good = gains >= WORTH
    pairs = values[good][:, None] - values[~good]
    auc = float(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    earned = 0.0
    for group in np.unique(groups):
        held = groups == group
        sign, threshold = best_rule(values[~held], gains[~held])
        earned += np.sum((gains[held] - WORTH)[sign * values[held] >= threshold])
    return float(spearmanr(values, gains)[0]), float(np.mean(within)), auc, earned / ideal(gains)


def best_rule(values: np.ndarray, gains: np.ndarray) -> tuple[int, float]:
    """Sign and threshold of the rule `sign * value >= threshold` that earns most."""
    rules = []
    for sign in (1, -1):
        order = np.argsort(-sign * values)
        earned = np.cumsum((gains - WORTH)[order])
        best = int(np.argmax(earned))
        ends = sign * values[order][best : best + 2]
        rules.append((earned[best], sign, float(ends.mean())))
    return max(rules)[1:]


def print_thresholds(records: list[dict[str, Any]]) -> None:
    """What the gap's threshold earns and how often it is right, on pre-trained features of the text encoder."""
    if not records:
        return
    gap, gains = column(records, "gap"), np.array([record["gain"] for record in records])
    print(
        "\n| threshold of the gap | refreshes | mean gain of those | worthwhile ones found | share of the ideal value |"
    )
    print("|---|---|---|---|---|")
    for threshold in np.arange(0.02, 0.31, 0.02):
        chosen = gap >= threshold
        mean = gains[chosen].mean() if chosen.any() else 0.0
        found = np.mean(chosen[gains >= WORTH])
        value = np.sum(gains[chosen] - WORTH) / ideal(gains)
        print(f"| {threshold:.2f} | {np.mean(chosen):.0%} | {mean:.3f} | {found:.0%} | {value:.2f} |")


def print_replay(records: list[dict[str, Any]]) -> None:
    """Where the policies with their default thresholds would first refresh each series, and what that gains."""
    series: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in records:
        series.setdefault((record["data"], record["picks"], record["seed"]), []).append(record)
    print("\n| data | picks | seed | logme | logme_ped | best |")
    print("|---|---|---|---|---|---|")
    for (data, picks, seed), course in series.items():
        cells = [first_refresh(name, course) for name in ("logme", "logme_ped")]
        best = max(course, key=lambda record: record["gain"])
        print(
            f"| {data} | {picks} | {seed} | " + " | ".join([*cells, f"{best['labelled']}: {best['gain']:+.3f}"]) + " |"
        )


def first_refresh(policy: str, course: list[dict[str, Any]]) -> str:
    """Label count and gain of a policy's first refresh of one series."""
    decide = make_policy(RefreshConfig.model_validate({"policy": policy})).decide
    history: tuple[Reading, ...] = ()
    for number, record in enumerate(course):
        now = Reading(record["labelled"], record["readings"]["logme"], record["readings"]["logme_ped"], 0)
        seen = Observation(number, now.labelled, 0, number + 1, now.logme, now.logme_ped, history)
        if decide(seen).refresh:
            return f"{now.labelled}: {record['gain']:+.3f}"
        history = (*history, now)
    return "never"


def print_gains(records: list[dict[str, Any]]) -> None:
    """Mean over seeds of accuracy, indicators and gain, a row for each data set, way of picking, count and version."""
    print("| data | picks | labels | features | before | after | gain | LogME | LogME-PED | gap | cv error |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    key = ("data", "picks", "labelled", "trained_on")
    rows: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in records:
        rows.setdefault(tuple(record[part] for part in key), []).append(record)
    for (data, picks, labelled, trained_on), same in rows.items():
        cells = [np.mean([record[part] for record in same]) for part in ("before", "after", "gain")]
        cells += [np.mean(column(same, part)) for part in ("logme", "logme_ped", "gap", "cv error")]
        features = f"refreshed at {trained_on}" if trained_on else "pre-trained"
        print(f"| {data} | {picks} | {labelled} | {features} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")


def draw_courses(records: list[dict[str, Any]], path: Path) -> None:
    """Gain, gap and LogME of the pre-trained features against labels, one line for each data set and way of picking."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    colours = dict(zip(dict.fromkeys(r["data"] for r in records), plt.get_cmap("tab10").colors, strict=False))
    for data, colour in colours.items():
        for picks, style in (("margin", "-"), ("random", ":")):
            same = [r for r in records if (r["data"], r["picks"], r["trained_on"]) == (data, picks, 0)]
            counts = sorted({r["labelled"] for r in same})
            for axis, of in zip(
                axes,
                (lambda r: r["gain"], lambda r: r["readings"]["gap"], lambda r: r["readings"]["logme"]),
                strict=True,
            ):
                means = [np.mean([of(r) for r in same if r["labelled"] == count]) for count in counts]
                axis.plot(counts, means, style, color=colour, marker=".", label=data if picks == "margin" else None)
    for axis, title in zip(axes, ("gain of a refresh (proxy accuracy)", "LogME-PED - LogME", "LogME"), strict=True):
        axis.set(title=title, xlabel="labels", xscale="log")
        plain_ticks(axis, [100, 200, 400, 800])
        axis.axhline(0, color="0.8", lw=0.8, zorder=0)
    axes[0].legend(fontsize=7, title="solid: margin, dotted: random", title_fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plain_ticks(axis: Any, values: list[int]) -> None:
    """Name these values alone on a logarithmic axis."""
    axis.set_xticks(values, [str(value) for value in values])
    axis.xaxis.set_minor_locator(NullLocator())


def draw_scatter(records: list[dict[str, Any]], names: list[str], path: Path) -> None:
    """Gain against indicators; filled: pre-trained features, open: features refreshed before."""
    figure, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3.8), sharey=True, layout="constrained")
    colours = dict(zip(dict.fromkeys(r["data"] for r in records), plt.get_cmap("tab10").colors, strict=False))
    for axis, name in zip(axes, names, strict=True):
        for data, colour in colours.items():
            for refreshed in (False, True):
                same = [r for r in records if r["data"] == data and bool(r["trained_on"]) is refreshed]
                axis.scatter(
                    column(same, name),
                    [r["gain"] for r in same],
                    s=22,
                    facecolors="none" if refreshed else [colour],
                    edgecolors=[colour],
                    label=None if refreshed else data,
                )
        axis.axhline(WORTH, color="0.6", lw=0.8, ls="--")
        axis.set_xlabel(name)
    axes[-1].set_xscale("log")
    plain_ticks(axes[-1], [3, 10, 30, 100])
    axes[0].set_ylabel("gain of a refresh (proxy accuracy)")
    axes[0].legend(fontsize=6)
    figure.savefig(path, dpi=110)
    plt.close(figure)
