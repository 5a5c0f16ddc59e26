"""How long report.html takes to make, and to open in Debian's chromium: made-up runs of 40 arms with five seeds.

python benchmarks/page_speed.py FOLDER --arms 40 --seeds 5 --rounds 20
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from asvp.config import Config, build_config
from asvp.files import write_atomically
from asvp.record.run_directory import RunDirectory
from asvp.report.comparison import compare
from asvp.report.shown_rows import MAP_SCHEMA, ROW_MAP, SHOWN_ROWS, SHOWN_SCHEMA, write_table

TOLD = """
new MutationObserver((_, watcher) => {
  if (!document.querySelector(".told")) return;
  watcher.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.toldAfter = performance.now() / 1000; }));
}).observe(document, { childList: true, subtree: true });
"""
"""Notes when the frame has been drawn that has the answer."""
PRICES = {"per_label": 0.04, "gpu_hour": 2.5, "cpu_hour": 0.04}
TEST_ROWS, A_ROUND, MAP_ROWS, CLASSES = 1000, 50, 1500, 20


def make_sweep(folder: Path, arms: int, seeds: int, rounds: int) -> None:
    """A sweep's directory with all that finished runs leave and the page reads."""
    random = np.random.default_rng(5)
    place = 0
    for arm in range(arms):
        for seed in range(seeds):
            name = "random" if arm == 0 else f"arm {arm}"
            directory = RunDirectory(folder / "runs" / f"{name}-seed{seed}")
            directory.path.mkdir(parents=True)
            selection = {"strategy": "margin" if arm else "random"}
            told = {"seed": seed, "budget": [A_ROUND] * rounds, "mode": "svp", "selection": selection, "cost": PRICES}
            config = build_config(told)
            with directory.opened(config, {"processor": "made up"}, resume=False):
                _fill(directory, config, random, name, place, rounds)
            place += 1


def _fill(directory: RunDirectory, config: Config, random: Any, arm: str, place: int, rounds: int) -> None:
    correct = {A_ROUND * (n + 1): random.random(TEST_ROWS) < 0.3 + 0.02 * n + 0.001 * place for n in range(rounds)}
    directory.write_arm(arm, place)
    directory.write_rounds([_round(n, float(rows.mean()), place) for n, rows in enumerate(correct.values())])
    picks = random.choice(100_000, rounds * A_ROUND, replace=False)
    labels = [f"class {one % CLASSES}" for one in picks]
    bought = {"row": picks, "id": [str(one) for one in picks], "label": labels,
              "round": np.repeat(np.arange(rounds), A_ROUND)}  # fmt: skip
    directory.write_labelled(pa.table(bought))
    directory.write_test_rows(correct)
    shown = [
        {"round": n, "row": int(picks[n * A_ROUND + i]), "version": 0, "predicted": "class 1", "probability": 0.5,
         "second": "class 2", "second_probability": 0.2, "words": "some words of a row " * 8, "thumbnail": None}
        for n in range(rounds) for i in range(12)
    ]  # fmt: skip
    write_table(directory.path / SHOWN_ROWS, pa.Table.from_pylist(shown, SHOWN_SCHEMA))
    rows = np.concatenate([np.arange(MAP_ROWS) * 60, picks])
    points = {"version": np.zeros(len(rows), np.int32), "row": rows,
              "x": random.normal(size=len(rows)), "y": random.normal(size=len(rows))}  # fmt: skip
    write_table(directory.path / ROW_MAP, pa.table(points).cast(MAP_SCHEMA))
    summary = {"recall": {f"class {i}": 0.5 for i in range(CLASSES)}}
    write_atomically(directory.path / "summary.json", lambda path: path.write_text(json.dumps(summary)))


def _round(number: int, accuracy: float, place: int) -> dict[str, Any]:
    device_seconds = {"cpu": 70.0 + place, "gpu": 10.0}
    paid = (device_seconds["cpu"] * PRICES["cpu_hour"] + device_seconds["gpu"] * PRICES["gpu_hour"]) / 3600
    cost = {"labels": PRICES["per_label"] * A_ROUND, "sampling": paid / 4, "training": paid / 2, "evaluation": paid / 4}
    compute = cost["sampling"] + cost["training"] + cost["evaluation"]
    return {
        "round": number,
        "labelled": A_ROUND * (number + 1),
        "strategy": "margin",
        "mode": "svp",
        "feature_version": 0,
        "refreshed": False,
        "logme": 0.1 + 0.01 * number,
        "logme_ped": 0.2 + 0.01 * number,
        "proxy_accuracy": accuracy - 0.05,
        "final_accuracy": accuracy,
        "final_method": "ft",
        "final_macro_f1": accuracy - 0.1,
        "seconds": {"extract": 1.0, "select": 2.0, "finetune": 3.0, "evaluate": 1.0, "other": 0.1},
        "device_seconds": device_seconds,
        "sampling_seconds": 3.0,
        "training_seconds": 3.0,
        "saved_seconds": 1.0,
        "cost": {**cost, "compute": compute, "total": cost["labels"] + compute},
    }


def opened(page: Path) -> tuple[float, float, float]:
    """Seconds from navigation until the words are on the screen, the first figure is, and all are, as for printing."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_context(viewport={"width": 1100, "height": 1500}).new_page()
        shown.add_init_script(TOLD)
        shown.goto("about:blank")
        began = time.perf_counter()
        shown.goto(page.resolve().as_uri(), wait_until="commit")
        shown.wait_for_selector("#curves .main-svg")
        first = time.perf_counter() - began
        words = shown.evaluate("toldAfter")
        shown.evaluate("dispatchEvent(new Event('beforeprint'))")
        whole = time.perf_counter() - began
        browser.close()
    return words, first, whole


def main() -> None:
    """Make the runs, if they are not there, and the page, and open it three times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arms", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    if not given.folder.exists():
        make_sweep(given.folder, given.arms, given.seeds, given.rounds)
    began = time.perf_counter()
    compare([given.folder], given.folder.with_name(f"{given.folder.name}-report"))
    print(f"asvp report: {time.perf_counter() - began:.1f} s")
    page = given.folder.with_name(f"{given.folder.name}-report") / "report.html"
    print(f"page: {page.stat().st_size / 1e6:.2f} MB")
    for _ in range(3):
        words, first, whole = opened(page)
        print(f"opening: words {words:.2f} s, first figure {first:.2f} s, all {whole:.2f} s")


if __name__ == "__main__":
    main()
