"""A refresh: what is kept beside what, verified on labels it did not see, and taken up again after a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import Recording
from same_runs import assert_same
from tiny_runs import picks, tiny_config

from asvp.compute import FineTuneJob, TrainedModel
from asvp.config import Config
from asvp.driver.loop import RunResult, run
from asvp.driver.preparation import prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def refreshing(
    folder: Path, *, at: tuple[int, ...] = (150, 180), holdout: float = 0.3, features: str = "both", **changes: Any
) -> Config:
    """Refreshes at these label counts that fine-tune long enough to learn; the final model is a probe, for speed."""
    refresh = {"policy": "at", "at": list(at), "holdout": holdout, "features": features}
    training = {"method": "lp", "epochs": 25, "lr": 5e-3, "head_lr": 1e-2}
    settings: dict[str, Any] = {"mode": "asvp", "budget": "150+30x2", "refresh": refresh, "training": training}
    settings["proxy"] = {"epochs": 20}
    return tiny_config(folder, **{**settings, **changes})


class Shuffling(Recording):
    """Fine-tunes on shuffled labels."""

    def train(self, job: FineTuneJob) -> TrainedModel:
        if job.method == "ft":
            job = replace(job, labels=np.random.default_rng(0).permutation(job.labels))
        return super().train(job)


def test_both_keeps_version_0_beside_the_aligned_features_and_makes_it_once(folder: Path) -> None:
    config = refreshing(folder, holdout=0)
    backend = Recording(config)
    result = run(config, backend=backend)
    assert [record["feature_version"] for record in result.rounds] == [1, 2, 2]
    made = [call[1:] for call in backend.calls if call[0] == "extract"]
    assert made == [("pool", 0), ("test", 0), ("pool", 1), ("test", 1), ("pool", 2), ("test", 2)]
    aligned = run(refreshing(folder, holdout=0, features="aligned"), in_process=True)
    fingerprints = [{record["feature_fingerprint"] for record in one.rounds} for one in (result, aligned)]
    assert not fingerprints[0] & fingerprints[1]


def test_a_refresh_that_helps_is_kept_and_one_that_harms_is_put_aside(folder: Path) -> None:
    config = refreshing(folder, at=(150,), features="aligned")
    good = run(config, backend=Recording(config))
    backend = Shuffling(config)
    bad = run(config, backend=backend)
    assert good.rounds[0]["refreshed"]
    assert "kept: on 45 labelled rows that it did not see" in good.rounds[0]["refresh_reason"]
    assert [record["refreshed"] for record in bad.rounds] == [False] * 3
    assert [record["feature_version"] for record in bad.rounds] == [0] * 3
    assert "put aside" in bad.rounds[0]["refresh_reason"]
    assert bad.rounds[0]["seconds"]["finetune"] > 0
    # It is judged on the labelled rows alone; the pool is not made anew for it.
    assert ("train", "ft", 105) in backend.calls
    assert ("extract", "labelled", 1) in backend.calls
    assert ("extract", "pool", 1) not in backend.calls
    assert bad.summary["refreshes"] == 0


def test_after_a_refresh_that_is_put_aside_rows_are_chosen_as_without_it(folder: Path, tmp_path: Path) -> None:
    config = refreshing(folder, at=(150,), features="aligned")
    run(config, backend=Shuffling(config), out=tmp_path / "aside")
    never = config.model_copy(update={"refresh": config.refresh.model_copy(update={"policy": "never", "at": None})})
    run(never, in_process=True, out=tmp_path / "never")
    assert picks(tmp_path / "aside") == picks(tmp_path / "never")


def test_rows_once_held_out_stay_out_of_every_fine_tune(folder: Path) -> None:
    config = refreshing(folder, features="aligned")
    backend = Recording(config)
    result = run(config, backend=backend)
    seen = [set(job.rows.tolist()) for job in backend.jobs if job.method == "ft"]
    assert [len(rows) for rows in seen] == [105, 126]
    assert seen[0] < seen[1]
    assert "on 54 labelled rows" in result.rounds[1]["refresh_reason"]


def test_rows_that_verify_a_refresh_travel_without_the_others(folder: Path) -> None:
    config = refreshing(folder, at=(150,), features="aligned", budget="150+30")
    sources: dict[str, Any] = {}

    class Looking(Recording):
        def extract(self, extraction: Any, weights: Any = None) -> Any:
            sources[extraction.title] = extraction.source
            return super().extract(extraction, weights)

    run(config, backend=Looking(config))
    pool, labelled = sources["pool"], sources["labelled"]
    assert len(labelled) == 150
    assert labelled.base is pool.base, "no view of the pool, which would go with it"


def test_few_labels_cannot_verify_a_refresh_and_it_says_so(folder: Path) -> None:
    config = tiny_config(folder, mode="asvp", refresh={"policy": "at", "at": [20], "holdout": 0.2})
    backend = Recording(config)
    result = run(config, backend=backend)
    assert result.rounds[0]["refreshed"]
    assert "too few labels were held out" in result.rounds[0]["refresh_reason"]
    assert next(call[2] for call in backend.calls if call[0] == "train") == 16


# With and without the cache, and with either kind of features: not every pair of them.
CASES: dict[str, Any] = {
    "kept": {"at": (150, 180), "features": "both"},
    "put aside": {"at": (150,), "features": "aligned"},
    "no cache": {"at": (150, 180), "features": "both"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop", [0, 1])
def test_a_run_goes_on_after_a_refresh(folder: Path, tmp_path: Path, case: str, stop: int) -> None:
    kind, cache = Shuffling if case == "put aside" else Recording, None if case == "no cache" else str(tmp_path / "c")
    config = refreshing(folder, **CASES[case], extraction={"shard_rows": 50, "cache": cache})

    def go(name: str, **more: Any) -> RunResult:
        return run(config, backend=kind(config, prepare(config).cache), out=tmp_path / name, **more)

    whole = go("whole")
    go("run", until_round=stop)
    assert_same(go("run", resume=True), tmp_path / "run", (whole, picks(tmp_path / "whole")))
