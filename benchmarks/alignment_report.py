"""Tables of the study in alignment.py; the figures are in alignment_plots.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from alignment_plots import draw_courses, draw_held, draw_indicator, draw_variants
from alignment_results import RULES, Results, Setting, Summary, gain_of, judge, summary, trials
from scipy.stats import spearmanr

MAIN = ("new", "both", "half", "old + half", "ensemble", "old, averaged", "both, averaged")
NAMES = {
    "old, averaged": "old, two proxies",
    "both, averaged": "old + new, two proxies",
    "new": "new",
    "both": "old + new",
    "ensemble": "a proxy on old and one on new",
    "half": "half-way weights",
    "old + half": "old + half-way weights",
}
VARIANTS = ("share 0.25", "half", "share 0.75", "3 epochs", "LP-FT", "augmented")
FEWEST = 4
"""Readings that a rank correlation needs."""
CROSSED = ("cross-fitted, full", "cross-fitted, mean")


def write_report(records: list[dict[str, Any]], folder: Path) -> None:
    """Print the tables and draw the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(records)
    print_main(results, "accuracy")
    print_main(results, "loss")
    print_totals(results, "ece")
    print_verified(results)
    print_variants(results)
    print_head(results)
    print_again(results)
    print_holdout_cost(results)
    for features in ("both", "new"):
        print_rules(results, features)
    print_indicators(results)
    print_picks(results)
    print_costs(results)
    draw_courses(results, folder / "alignment-gain.png")
    draw_variants(results, folder / "alignment-variants.png")
    draw_held(results, folder / "alignment-held-out.png")
    draw_indicator(results, folder / "alignment-gap.png")


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A Markdown table under a title; nothing if it has no rows."""
    if not rows:
        return
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


def plain(value: float) -> str:
    """Three digits after the point, no leading zero."""
    text = f"{value:.3f}"
    return "" if np.isnan(value) else text.replace("0.", ".", 1) if abs(value) < 1 else text


def signed(value: float, digits: int) -> str:
    """With its sign and no leading zero."""
    return f"{value:+.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:+.{digits}f}"


def print_main(results: Results, measure: str) -> None:
    """Old features' score and the differences of the others, for every course and label count."""
    rows = []
    for course in results.courses():
        for multiple in (1, 2, 4):
            gains = [results.gain(course, name, multiple, measure) for name in MAIN]
            if gains[0].seeds:
                old = plain(results.level(course, "old", multiple, measure, beside="new"))
                shown = [told(gain, gains[0].seeds) for gain in gains]
                rows.append([*course, multiple * course[2], gains[0].seeds, old, *shown])
    head = ["data", "picks", "refresh at", "labels", "seeds", "old", *(NAMES[name] for name in MAIN)]
    print_table(f"{measure} of the proxy: old features, and others less old (mean over seeds ± s.e.)", head, rows)
    print_totals(results, measure)


def told(gain: Summary, seeds: int) -> str:
    """A mean, with its number of seeds where they are fewer than the row's."""
    return f"{gain} ({gain.seeds})" if 0 < gain.seeds < seeds else str(gain)


def print_totals(results: Results, measure: str) -> None:
    """Differences over all refreshes, and the worst."""
    totals = []
    for multiple in (1, 2, 4):
        cells: list[object] = [f"{multiple} x refresh"]
        for name in MAIN:
            each = [results.difference(s, name, multiple * s.refresh, measure) for s in results.settings()]
            present = [value for value in each if value is not None]
            if not present:
                cells.append("")
                continue
            worst = min(present) if measure == "accuracy" else max(present)
            cells.append(f"{summary(each)} (worst {signed(worst, 3)}, {len(present)})")
        totals.append(cells)
    print_table(f"{measure}: all refreshes together", ["labels", *(NAMES[name] for name in MAIN)], totals)


def print_verified(results: Results) -> None:
    """Gains of fine-tunes on 80 % of the labels."""
    rows = []
    for course in results.courses():
        cells = [results.gain(course, name, multiple) for multiple in (1, 2) for name in ("part", "old + part")]
        if cells[0].seeds:
            olds = [plain(results.level(course, "old", multiple, beside="part")) for multiple in (1, 2)]
            rows.append([*course, cells[0].seeds, olds[0], *cells[:2], olds[1], *cells[2:]])
    head = ["data", "picks", "refresh at", "seeds", "old, 1 x", "new", "old + new", "old, 2 x", "new", "old + new"]
    print_table("fine-tunes on 80 % of the labels: accuracy on old features, and others less old", head, rows)


def print_variants(results: Results) -> None:
    """Other weights and trainings, alone and beside the old features, less the plain refresh in the same place."""
    rows = []
    for course in results.courses():
        for name in (*VARIANTS, *CROSSED):
            cells: list[Summary] = []
            for multiple in (1, 2):
                cells.append(results.gain(course, name, multiple, base="new"))
                cells.append(results.gain(course, f"old + {name}", multiple, base="both"))
            if cells[0].seeds and (name != "half" or course[1:] == ("random", 400)):
                rows.append([*course, name, cells[0].seeds, *cells])
        wide = [results.gain(course, "both, wide proxy", multiple, base="both") for multiple in (1, 2)]
        if wide[0].seeds:
            rows.append([*course, "both, wide proxy", wide[0].seeds, "", wide[0], "", wide[1]])
    head = ["data", "picks", "refresh at", "variant", "seeds"]
    head += [f"{how}, {multiple} x" for multiple in (1, 2) for how in ("alone less new", "beside old less both")]
    print_table("accuracy of variants", head, rows)
    print_table(
        "cosine of the folds' features",
        ["data", "seed", "cosine"],
        [[record["data"], record["seed"], plain(record["cosine"])] for record in results.of("agreement")],
    )


def print_head(results: Results) -> None:
    """The tuned head beside the proxies on the same labels."""
    rows = []
    heads = {(results.setting(r), r["features"]): r["accuracy"] for r in results.of("head")}
    for course in results.courses():
        for recipe in ("full", "3 epochs", "LP-FT", "augmented"):
            found = [(seed, heads.get((Setting(*course, seed), recipe))) for seed in results.seeds(course)]
            present = [(seed, value) for seed, value in found if value is not None]
            if not present:
                continue
            cells = []
            for name in ("old", "both"):
                apart = []
                for seed, value in present:
                    proxy = results.value(Setting(*course, seed), name, course[2])
                    apart.append(None if proxy is None else value - proxy)
                cells.append(summary(apart))
            rows.append([*course, recipe, len(present), plain(float(np.mean([v for _, v in present]))), *cells])
    head = ["data", "picks", "refresh at", "training", "seeds", "head", "less the proxy on old", "less that on both"]
    print_table("accuracy of the tuned head", head, rows)


def print_again(results: Results) -> None:
    """A refresh against one at half the labels: the same rows bought, at the same label counts."""
    rows = []
    for course in results.courses():
        data, picks, count = course
        for name, earlier_name in (("new", "new"), ("both", "both"), ("both", "old + part")):
            for labels in (count, 2 * count):
                apart = []
                for seed in results.seeds(course):
                    later = results.value(Setting(*course, seed), name, labels)
                    before = Setting(data, picks, count // 2, seed)
                    whole = results.value(before, "new", labels) is not None
                    earlier = results.value(before, earlier_name, labels)
                    if earlier_name == "old + part" and whole:
                        earlier = None
                    apart.append(None if later is None or earlier is None else later - earlier)
                found = summary(apart)
                if found.seeds:
                    against = f"{count} against {count // 2}"
                    if earlier_name == "old + part":
                        against += ", the earlier one on 80 % of its labels"
                    rows.append([data, picks, against, NAMES[name], labels, found.seeds, found])
    head = ["data", "picks", "refresh at", "features", "labels", "seeds", "accuracy gained"]
    print_table("refreshing again when labels have doubled", head, rows)


def print_holdout_cost(results: Results) -> None:
    """What a fifth of the labels, kept out of the fine-tune, costs."""
    rows = []
    for course in results.courses():
        cells = []
        for part, full in (("part", "new"), ("old + part", "both")):
            cells += [results.gain(course, part, multiple, base=full) for multiple in (1, 2)]
        if cells[0].seeds:
            rows.append([*course, cells[0].seeds, *cells])
    head = ["data", "picks", "refresh at", "seeds", "new, 1 x", "new, 2 x", "both, 1 x", "both, 2 x"]
    print_table("accuracy after a fine-tune on 80 % of the labels, less that after one on all", head, rows)


def print_rules(results: Results, features: str) -> None:
    """What each rule does to refreshes that are verified on held-out rows."""
    tried = trials(results, features)
    rows: list[list[object]] = []
    for name, rule in RULES.items():
        verdict = judge(rule, tried)
        rows.append(
            [
                name,
                f"{verdict.kept} of {len(tried)}",
                f"{verdict.harms - verdict.harms_kept} of {verdict.harms}",
                f"{verdict.gains_lost} of {verdict.gains}",
                signed(verdict.value, 4),
                signed(verdict.worst, 3),
            ]
        )
    head = ["keep if", "kept", "harms put aside", "gains put aside", "mean gain over old", "worst"]
    print_table(f"rules on held-out rows, features: {features}", head, rows)
    pairs = [(trial.true, trial.unheld) for trial in tried if not np.isnan(trial.unheld)]
    print(f"\nwhere both were measured ({len(pairs)}): mean gain after a fine-tune on 80 % of the labels ", end="")
    print(f"{np.mean([one for one, _ in pairs]):+.4f}, on all {np.mean([other for _, other in pairs]):+.4f}\n")
    true = [trial.true for trial in tried]
    for measure in ("accuracy", "loss"):
        held = [trial.held[f"{measure}_difference"] for trial in tried]
        error = np.mean([trial.held[f"{measure}_error"] for trial in tried])
        print(f"held-out {measure}: rank correlation with the true gain {spearmanr(held, true)[0]:.2f}, ", end="")
        print(f"mean s.e. {error:.3f}, spread of the true gain {np.std(true):.3f}")


def predictors(record: dict[str, Any], refresh: int) -> dict[str, float]:
    """What might foretell the gain of a refresh."""
    return {
        "gap": record["gap"],
        "gap / sqrt(features)": record["gap"] / np.sqrt(record["dim"]),
        "gap as a share above chance": record["gap"] / (record["logme_ped"] - record["chance"]),
        "LogME": record["logme"],
        "LogME above chance": record["logme"] - record["chance"],
        "labels": refresh,
        "labels a class": refresh / record["classes"],
    }


def print_indicators(results: Results) -> None:
    """Gains beside the indicators, and how well each ranks them."""
    found = [(results.setting(record), record) for record in results.of("indicators")]
    gains = {name: [gain_of(results, setting, name) for setting, _ in found] for name in ("new", "both")}
    rows = []
    for course in results.courses():
        same = [number for number, (setting, _) in enumerate(found) if setting[:3] == course]
        cells = [summary(gains[name][number] for number in same) for name in ("new", "both")]
        reads = [float(np.mean([found[number][1][key] for number in same])) for key in ("logme", "logme_ped", "gap")]
        rows.append([*course, len(same), *map(plain, reads), *cells])
    head = ["data", "picks", "refresh at", "seeds", "LogME", "LogME-PED", "gap", "gain of new", "gain of both"]
    print_table("indicators on old features, and gains (mean of those at 1 x and 2 x the labels)", head, rows)
    print_correlations(results, found, gains)
    print_thresholds(np.array([record["gap"] for _, record in found]), gains)


def print_correlations(
    results: Results, found: list[tuple[Setting, dict[str, Any]]], gains: dict[str, list[float]]
) -> None:
    """How well each predictor ranks the refreshes, over all of them and within data sets."""
    table = [predictors(record, setting.refresh) | held_readings(results, setting) for setting, record in found]
    groups = np.array([setting.data for setting, _ in found])
    rows = []
    for name in dict.fromkeys(key for row in table for key in row):
        chosen = np.array([name in row for row in table])
        values = np.array([row[name] for row in table if name in row])
        cells: list[str] = []
        for each in gains.values():
            gain, group = np.array(each)[chosen], groups[chosen]
            within = [correlation(values[group == one], gain[group == one]) for one in np.unique(group)]
            present = [value for value in within if not np.isnan(value)]
            cells += [signed(correlation(values, gain), 2), signed(float(np.mean(present)), 2) if present else ""]
        rows.append([name, int(chosen.sum()), *cells])
    head = ["predictor", "refreshes", "new, all", "new, in a data set", "both, all", "both, in a data set"]
    print_table("rank correlation with the gain", head, rows)


def print_thresholds(gap: np.ndarray, gains: dict[str, list[float]]) -> None:
    """What refreshing from a gap on gives."""
    rows = []
    for threshold in (0.0, 0.06, 0.09, 0.12, 0.15, 0.18, 0.21):
        chosen = gap >= threshold
        cells: list[str] = []
        for each in gains.values():
            gain = np.array(each)
            cells += [signed(gain[chosen].mean(), 3) if chosen.any() else "", signed(gain[chosen].sum() / len(gain), 4)]
        rows.append([plain(threshold), int(chosen.sum()), *cells])
    head = ["threshold", "refreshes", "new: mean gain", "new: per chance", "both: mean gain", "both: per chance"]
    print_table("thresholds of the gap", head, rows)


def held_readings(results: Results, setting: Setting) -> dict[str, float]:
    """What held-out rows say of one refresh, empty without holdout."""
    found = {}
    for record in results.of("held"):
        if results.setting(record) == setting and record["features"] in ("new", "both"):
            for measure in ("accuracy", "loss"):
                found[f"held-out {measure} of {record['features']}"] = record[f"{measure}_difference"]
    for record in results.of("held logme"):
        if results.setting(record) == setting:
            found["LogME of held-out rows, new - old"] = record["new"] - record["old"]
    return found


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, NaN where one of them is constant."""
    if len(one) < FEWEST or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other)[0])


def print_picks(results: Results) -> None:
    """Fine-tunes on what each view's proxy picked."""
    rows = []
    found = {(results.setting(r), r["features"]): r for r in results.of("picks")}
    for course in dict.fromkeys(setting[:3] for setting, _ in found):
        seeds = sorted({setting.seed for setting, _ in found if setting[:3] == course})
        old = [found[Setting(*course, seed), "old"]["accuracy"] for seed in seeds]
        cells = [
            summary(
                found[Setting(*course, seed), name]["accuracy"] - before
                for seed, before in zip(seeds, old, strict=True)
            )
            for name in ("new", "both")
        ]
        rows.append([*course, len(seeds), plain(float(np.mean(old))), *cells])
    head = ["data", "picks before", "refresh at", "seeds", "picks by old", "by new, less old", "by both, less old"]
    print_table("accuracy of a fine-tune on twice the labels, the second half picked by margin", head, rows)


def print_costs(results: Results) -> None:
    """CPU seconds of fine-tunes and extraction."""
    rows = []
    costs = results.of("cost")
    for data in results.data():
        for count in sorted({record["refresh"] for record in costs}):
            for recipe in ("full", "3 epochs", "LP-FT", "augmented"):
                same = [r for r in costs if (r["data"], r["refresh"], r["features"]) == (data, count, recipe)]
                if same:
                    train = np.median([record["train_seconds"] for record in same])
                    rate = np.median([record["encoded"] / record["encode_seconds"] for record in same])
                    rows.append([data, count, recipe, f"{train:.0f}", f"{rate:.0f}"])
    head = ["data", "labels", "training", "CPU seconds of the fine-tune", "rows encoded a CPU second"]
    print_table("costs", head, rows)
