"""Small hand-made runs, and a browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asvp.config import build_config
from asvp.report.records import RunRecord


def make_round(
    number, labelled, *, final=None, proxy=None, refreshed=False, sampling=1.0, training=0.0, bought=100, **more
):
    """A round's object: $0.04 a label, $0.01 a second of sampling and of training, $0.50 of evaluation."""
    cost = {"labels": 0.04 * bought, "sampling": 0.01 * sampling, "training": 0.01 * training, "evaluation": 0.5}
    compute = cost["sampling"] + cost["training"] + cost["evaluation"]
    return {
        "round": number,
        "labelled": labelled,
        "strategy": "margin",
        "mode": "svp",
        "feature_version": int(refreshed),
        "refreshed": refreshed,
        "logme": None,
        "logme_ped": None,
        "proxy_accuracy": proxy,
        "final_accuracy": final,
        "final_method": None if final is None else "ft",
        "final_macro_f1": None if final is None else final - 0.1,
        "seconds": {"extract": 0.0, "select": sampling, "finetune": training, "other": 0.0},
        "sampling_seconds": sampling,
        "training_seconds": training,
        "cost": {**cost, "compute": compute, "total": cost["labels"] + compute},
        **more,
    }


def settings_of(arm):
    """What the name of an arm promises: random picks, or margin's."""
    return {"mode": "svp", "selection": {"strategy": "random" if arm == "random" else "margin"}}


@pytest.fixture
def make_run():
    """A record in memory: accuracies of the final model (or `proxy`) after 100, 200, ... labels.

    `config` is instead of what the arm's name promises.
    """

    def make(
        arm,
        seed,
        finals=(),
        *,
        proxies=(),
        finished=True,
        rounds=None,
        picks=None,
        correct=None,
        config=None,
        **options,
    ):
        count = max(len(finals), len(proxies))
        made = rounds or [
            make_round(
                i,
                100 * (i + 1),
                final=finals[i] if i < len(finals) else None,
                proxy=proxies[i] if i < len(proxies) else None,
                **{key: value[i] if isinstance(value, (list, tuple)) else value for key, value in options.items()},
            )
            for i in range(count)
        ]
        told = {"seed": seed, "budget": [100] * max(count, 1), **(settings_of(arm) if config is None else config)}
        resolved = build_config(told).model_dump(mode="json")
        summary = {} if finished else None
        return RunRecord(arm, seed, resolved, tuple(made), summary, Path("runs"), picks or {}, correct or {})

    return make


@pytest.fixture
def write_run():
    """A run directory with real files."""

    def write(folder, *, arm=None, seed=0, rounds=(), finished=True, overrides=(), labels=None, budget="100x3"):
        folder.mkdir(parents=True)
        config = build_config({"seed": seed, "budget": budget, **settings_of(arm)}, overrides)
        (folder / "config.yaml").write_text(config.to_yaml())
        (folder / "rounds.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rounds))
        if arm is not None:
            (folder / "arm.json").write_text(json.dumps({"arm": arm}))
        if finished:
            (folder / "summary.json").write_text("{}")
        if labels is not None:
            table = {"row": range(len(labels)), "id": [str(i) for i in range(len(labels))], "label": labels,
                     "round": [0] * len(labels)}  # fmt: skip
            pq.write_table(pa.table(table), folder / "labelled.parquet")
        return folder

    return write


@pytest.fixture
def a_round():
    return make_round


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by Playwright."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium to show the page in")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield one
        one.close()
