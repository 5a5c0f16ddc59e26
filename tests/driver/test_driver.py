"""The driver: what each mode does, that seeds decide the picks, and that an interrupted run ends as any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from recording import Recording
from tiny_runs import picks, tiny_config

from asvp.compute import Extraction
from asvp.config import Config, build_config, load_config
from asvp.driver.feature_versions import VersionZero
from asvp.driver.loop import RunResult, run
from asvp.driver.preparation import prepare
from asvp.errors import BudgetError, ConfigError, RunDirectoryError
from asvp.models.classifier import Classifier, load_head
from asvp.report.test_rows import read_test_rows
from asvp.selection import strategies


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def recorded(config: Config) -> tuple[RunResult, list[tuple[Any, ...]]]:
    workers = Recording(config)
    return run(config, backend=workers), workers.calls


def test_svp_trains_nothing_but_the_final_model_and_extracts_once(folder: Path) -> None:
    result, calls = recorded(tiny_config(folder))
    assert calls == [("extract", "pool", 0), ("extract", "test", 0), ("train", "ft", 40), ("extract", "test", 0)]
    assert [record["labelled"] for record in result.rounds] == [20, 30, 40]
    assert [record["refreshed"] for record in result.rounds] == [False] * 3


def test_a_resumed_trial_takes_the_shared_version_0_and_extracts_nothing_again(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(folder)
    whole = run(config, out=tmp_path / "whole", in_process=True)
    workers, prepared = Recording(config), prepare(config)
    pool, test = (
        workers.extract(Extraction(source, prepared.encoder_fingerprint, 0, config.extraction, title=title))
        for title, source in (("pool", prepared.dataset.pool), ("test", prepared.dataset.test))
    )
    shared = VersionZero(pool, test)
    run(config, out=tmp_path / "run", backend=workers, features=shared, until_round=0)
    workers.calls.clear()
    resumed = run(config, out=tmp_path / "run", backend=workers, features=shared, resume=True)
    assert workers.calls == [("train", "ft", 40), ("extract", "test", 0)]
    assert picks(tmp_path / "run") == picks(tmp_path / "whole")
    assert resumed.summary["final_accuracy"] == whole.summary["final_accuracy"]


def test_asvp_refreshes_where_it_is_told_and_carries_the_labels_over(folder: Path) -> None:
    result, calls = recorded(tiny_config(folder, mode="asvp", refresh={"policy": "at", "at": [30]}))
    assert calls[2:5] == [("train", "ft", 30), ("extract", "pool", 1), ("extract", "test", 1)]
    assert [record["feature_version"] for record in result.rounds] == [0, 1, 1]
    assert [record["labelled"] for record in result.rounds] == [20, 30, 40]
    assert result.summary["refreshed_at"] == [30]


def test_asvp_every_two_rounds_refreshes_in_the_second(folder: Path) -> None:
    result, _ = recorded(tiny_config(folder, mode="asvp", refresh={"policy": "every", "every": 2}, budget="20+10x3"))
    assert [record["refreshed"] for record in result.rounds] == [False, True, False, False]


def test_standard_refreshes_every_round_but_the_last_and_fits_no_proxy(folder: Path) -> None:
    result, calls = recorded(tiny_config(folder, mode="standard"))
    trained = [call[2] for call in calls if call[0] == "train"]
    assert trained == [20, 30, 40]
    assert [record["refreshed"] for record in result.rounds] == [True, True, False]
    assert all(record["proxy_accuracy"] is None for record in result.rounds)


def test_a_refresh_and_a_final_model_on_the_same_rows_are_one_training(folder: Path) -> None:
    result, calls = recorded(tiny_config(folder, mode="standard", training={"evaluate_at": "every"}))
    assert [call[2] for call in calls if call[0] == "train"] == [20, 30, 40]
    assert all(record["final_accuracy"] is not None for record in result.rounds)


def test_the_test_rows_that_each_final_model_got_right_are_kept(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(folder, training={"evaluate_at": "several"}, budget="20+10x5")
    result = run(config, out=tmp_path / "whole", in_process=True)
    told = {one["labelled"]: one["final_accuracy"] for one in result.rounds if one["final_accuracy"] is not None}
    assert list(told) == [30, 50, 60, 70]
    kept = read_test_rows(tmp_path / "whole" / "test_rows.parquet")
    assert {labelled: right.mean() for labelled, right in kept.items()} == pytest.approx(told)
    assert {len(right) for right in kept.values()} == {60}
    run(config, out=tmp_path / "parts", in_process=True, until_round=2)
    run(config, out=tmp_path / "parts", in_process=True, resume=True)
    again = read_test_rows(tmp_path / "parts" / "test_rows.parquet")
    assert {labelled: right.tolist() for labelled, right in again.items()} == {n: kept[n].tolist() for n in kept}


@pytest.mark.parametrize(("mode", "method"), [("svp", "lp_ft"), ("standard", "ft")])
def test_auto_is_lp_ft_before_the_first_refresh_and_ft_after_it(folder: Path, mode: str, method: str) -> None:
    result, _ = recorded(tiny_config(folder, mode=mode, training={"method": "auto"}, budget="20+10"))
    assert result.summary["final_method"] == method


def test_no_row_is_bought_twice_and_picks_follow_the_seed_alone(folder: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tiny_config(folder, seed=seed), out=tmp_path / name, in_process=True)
    assert len(set(picks(tmp_path / "a"))) == 40
    assert picks(tmp_path / "a") == picks(tmp_path / "b")
    assert picks(tmp_path / "a") != picks(tmp_path / "c")


def test_all_arms_of_a_seed_start_from_the_same_rows(folder: Path, tmp_path: Path) -> None:
    run(tiny_config(folder), out=tmp_path / "svp", in_process=True, until_round=0)
    run(tiny_config(folder, mode="standard"), out=tmp_path / "standard", in_process=True, until_round=0)
    run(tiny_config(folder, selection={"strategy": "random"}), out=tmp_path / "random", in_process=True, until_round=0)
    assert picks(tmp_path / "svp") == picks(tmp_path / "standard") == picks(tmp_path / "random")


@pytest.mark.parametrize("mode", ["svp", "asvp", "standard"])
@pytest.mark.parametrize("stop", [0, 1])
def test_a_run_stopped_after_a_round_and_resumed_ends_as_one_that_was_not(
    folder: Path, tmp_path: Path, mode: str, stop: int
) -> None:
    config = tiny_config(folder, mode=mode, refresh={"policy": "at", "at": [20]} if mode == "asvp" else {})
    whole = run(config, out=tmp_path / "whole", in_process=True)
    run(config, out=tmp_path / "parts", in_process=True, until_round=stop)
    parts = run(config, out=tmp_path / "parts", in_process=True, resume=True)
    assert picks(tmp_path / "parts") == picks(tmp_path / "whole")
    for key in ("final_accuracy", "final_macro_f1", "recall", "refreshed_at", "final_method"):
        assert parts.summary[key] == whole.summary[key]
    for one, other in zip(parts.rounds, whole.rounds, strict=True):
        for key in ("labelled", "proxy_accuracy", "feature_version", "feature_fingerprint", "refreshed"):
            assert one[key] == other[key]


def test_a_finished_run_resumed_does_nothing_and_tells_the_same(folder: Path, tmp_path: Path) -> None:
    first = run(tiny_config(folder), out=tmp_path / "run", in_process=True)
    workers = Recording(tiny_config(folder))
    again = run(tiny_config(folder), out=tmp_path / "run", backend=workers, resume=True)
    assert workers.calls == []
    assert again.summary == first.summary
    assert again.rounds == first.rounds


def test_the_run_directory_holds_what_the_contract_names(folder: Path, tmp_path: Path) -> None:
    result = run(tiny_config(folder), out=tmp_path / "run", in_process=True)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.yaml", "environment.json", "rounds.jsonl", "labelled.parquet", "summary.json", "model", "checkpoint",
        "run.log", "commands.jsonl", "jobs.jsonl", "test_rows.parquet", "shown_rows.parquet", "map.parquet",
    }  # fmt: skip
    lines = (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.rounds
    assert set(result.rounds[0]["seconds"]) == {
        "extract", "proxy", "indicator", "select", "finetune", "evaluate", "other"
    }  # fmt: skip
    table = pq.read_table(tmp_path / "run" / "labelled.parquet")
    assert table.column_names == ["row", "id", "label", "round"]
    pool = pq.read_table(folder / "pool.parquet")
    for row, name, label in zip(*(table[c].to_pylist() for c in ("row", "id", "label")), strict=True):
        assert (pool["id"][row].as_py(), pool["label"][row].as_py()) == (name, label)


def test_the_saved_model_predicts_as_accurately_as_the_summary_says(folder: Path, tmp_path: Path) -> None:
    result = run(tiny_config(folder), out=tmp_path / "run", in_process=True)
    test = pq.read_table(folder / "test.parquet")
    predicted = Classifier.load(tmp_path / "run" / "model").predict(test["text"].to_pylist())
    accuracy = np.mean([one == other for one, other in zip(predicted, test["label"].to_pylist(), strict=True)])
    assert accuracy == pytest.approx(result.summary["final_accuracy"])


def test_a_second_run_into_the_same_directory_is_refused(folder: Path, tmp_path: Path) -> None:
    run(tiny_config(folder), out=tmp_path / "run", in_process=True, until_round=0)
    with pytest.raises(RunDirectoryError, match="Add --resume"):
        run(tiny_config(folder), out=tmp_path / "run", in_process=True)
    with pytest.raises(RunDirectoryError, match="seed = 0, not 1"):
        run(tiny_config(folder, seed=1), out=tmp_path / "run", in_process=True, resume=True)


def test_changed_data_under_a_resumed_run_is_found(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    run(config, out=tmp_path / "run", in_process=True, until_round=0)
    table = pq.read_table(tmp_path / "pool.parquet")
    texts = table["text"].to_pylist()
    texts[5] = "video video video"
    pq.write_table(table.set_column(1, "text", [texts]), tmp_path / "pool.parquet")
    with pytest.raises(RunDirectoryError, match="the data or the encoder have changed"):
        run(config, out=tmp_path / "run", in_process=True, resume=True)


def test_a_budget_beyond_the_pool_and_a_cold_start_that_needs_labels_are_refused(folder: Path) -> None:
    with pytest.raises(BudgetError, match="300 rows"):
        prepare(tiny_config(folder, budget="200+200"))
    with pytest.raises(ConfigError, match=r"selection\.cold_start"):
        prepare(tiny_config(folder, selection={"cold_start": "margin"}))


def test_a_class_without_labelled_rows_and_a_first_round_of_one_label_work(folder: Path) -> None:
    result, _ = recorded(tiny_config(folder, budget="1+1+2"))
    assert [record["labelled"] for record in result.rounds] == [1, 2, 4]


@pytest.mark.parametrize("strategy", list(strategies()))
def test_every_strategy_runs_through_the_driver(folder: Path, strategy: str) -> None:
    result = run(
        tiny_config(folder, selection={"strategy": strategy}, training={"method": "lp"}, budget="20+10"),
        in_process=True,
    )
    assert [record["labelled"] for record in result.rounds] == [20, 30]
    assert result.rounds[1]["strategy"] == strategy


def test_a_wrapped_strategy_runs_through_the_driver(folder: Path) -> None:
    wrap = [{"subsample": {"rows": 100}}, {"class_balance": {}}]
    selection = {"strategy": "badge", "wrap": wrap, "cold_start": "typiclust"}
    result = run(tiny_config(folder, selection=selection, training={"method": "lp"}, budget="20+10"), in_process=True)
    assert result.rounds[0]["strategy"] == "typiclust"


def test_an_ensemble_strategy_needs_proxies_to_make_one_of(folder: Path) -> None:
    with pytest.raises(ConfigError, match="ensemble of proxies"):
        prepare(tiny_config(folder, mode="standard", selection={"strategy": "bald"}))


def test_ready_made_features_need_no_encoder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, rows in (("pool", 120), ("test", 40)):
        labels = np.arange(rows) % 3
        features = rng.normal(size=(rows, 8)).astype(np.float32) + np.eye(8, dtype=np.float32)[labels] * 6
        np.savez(tmp_path / f"{name}.npz", features=features, labels=labels)
    config = build_config(
        {
            "mode": "svp",
            "data": {"pool": str(tmp_path / "pool.npz"), "test": str(tmp_path / "test.npz")},
            "extraction": {"cache": None},
            "budget": "12+12",
        }
    )
    result = run(config, out=tmp_path / "run", in_process=True)
    assert result.summary["final_method"] == "lp"
    assert result.summary["final_accuracy"] > 0.9
    head, classes = load_head(tmp_path / "run" / "model")
    test = np.load(tmp_path / "test.npz")
    predicted = np.array([int(classes[number]) for number in head.probabilities(test["features"]).argmax(axis=1)])
    assert (predicted == test["labels"]).mean() == pytest.approx(result.summary["final_accuracy"])


def test_paths_of_a_prepared_configuration_hold_in_every_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_config(folder)
    monkeypatch.chdir(folder)
    config = tiny_config(folder, data={"pool": "pool.parquet", "test": "test.parquet"}, encoder={"model": "encoder"})
    prepared = prepare(config).config
    assert prepared.data.pool == str(folder / "pool.parquet")
    assert prepared.data.test == str(folder / "test.parquet")
    assert prepared.encoder.model == str(folder / "encoder")
    assert prepare(load_config("demo")).config.data.pool == "builtin:debian_sections"
