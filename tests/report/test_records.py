"""Runs and sweeps are read back as they were written, and what cannot be compared is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import yaml

from asvp.errors import DataError, RunDirectoryError
from asvp.report.records import read_records
from asvp.report.results import TrialRounds, write_results
from asvp.report.test_rows import write_test_rows


def test_a_run_directory_is_read_whole(tmp_path, write_run, a_round):
    rounds = [a_round(0, 100, proxy=0.5, sampling=2.0), a_round(1, 200, final=0.7, proxy=0.6, training=5.0)]
    write_run(tmp_path / "run", arm="mine", seed=3, rounds=rounds, labels=["a", "b", "a"])
    (record,) = read_records([tmp_path / "run"])
    assert (record.arm, record.seed, record.finished) == ("mine", 3, True)
    assert (record.labelled, record.planned) == (200, 300)
    assert list(record.rounds) == rounds
    assert record.picks == {"a": 2, "b": 1}
    assert record.accuracies("final") == [(200, 0.7)]
    assert record.accuracies("proxy") == [(100, 0.5), (200, 0.6)]
    assert record.total("sampling_seconds") == 3.0
    assert record.total("seconds", "finetune") == 5.0
    assert record.total("cost", "labels") == pytest.approx(8.0)


def test_an_unfinished_run_is_in_as_far_as_it_went(tmp_path, write_run, a_round):
    folder = write_run(tmp_path / "run", rounds=[a_round(0, 100, proxy=0.5)], finished=False)
    with (folder / "rounds.jsonl").open("a") as out:
        out.write('{"round": 1, "labelled": 2')  # killed while it wrote
    (record,) = read_records([folder])
    assert not record.finished
    assert record.labelled == 100


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["selection.strategy=random"], "random"),
        (["selection.strategy=badge"], "svp badge"),
        (["mode=standard", "selection.strategy=random"], "standard random"),
    ],
)
def test_a_run_without_a_name_gets_one_from_its_mode_and_strategy(tmp_path, write_run, a_round, overrides, name):
    folder = write_run(tmp_path / "run", rounds=[a_round(0, 100)], overrides=overrides)
    assert read_records([folder])[0].arm == name


def test_a_sweep_is_read_from_its_runs(tmp_path, write_run, a_round):
    for seed in (0, 1):
        write_run(tmp_path / "runs" / f"trial-{seed}", arm="svp", seed=seed, rounds=[a_round(0, 100, final=0.5)])
    write_run(tmp_path / "runs" / "never-began", arm="asvp", finished=False)
    assert [(record.arm, record.seed) for record in read_records([tmp_path])] == [("svp", 0), ("svp", 1)]


def test_a_sweep_is_read_from_its_results_when_the_runs_are_gone(tmp_path, make_run):
    runs = [make_run("svp", 0, [0.5, 0.6]), make_run("asvp", 0, [0.5, 0.7], finished=False)]
    write_results(
        [TrialRounds(run.arm, run.arm, run.seed, run.finished, run.config, run.rounds) for run in runs],
        tmp_path / "results.parquet",
    )
    records = read_records([tmp_path])
    assert [(record.arm, record.finished) for record in records] == [("svp", True), ("asvp", False)]
    assert records[0].accuracies("final") == [(100, 0.5), (200, 0.6)]
    assert records[0].total("cost", "total") == pytest.approx(runs[0].total("cost", "total"))
    assert records[0].planned == 200


def test_one_folder_given_twice_counts_once(tmp_path, write_run, a_round):
    folder = write_run(tmp_path / "run", rounds=[a_round(0, 100)])
    assert len(read_records([folder, folder / ".." / "run"])) == 1


def test_runs_with_one_name_and_different_options_are_told_apart(tmp_path, write_run, a_round):
    for name, lr in (("one", 0.1), ("two", 0.2)):
        write_run(tmp_path / name, arm="svp", rounds=[a_round(0, 100)],
                  overrides=[f"proxy.lr={lr}", f"workers.count={len(name)}"])  # fmt: skip
    arms = [record.arm for record in read_records([tmp_path / "one", tmp_path / "two"])]
    assert arms == ["svp (proxy.lr=0.1)", "svp (proxy.lr=0.2)"]


def test_options_that_have_no_part_in_a_runs_work_are_not_in_its_name(tmp_path, write_run, a_round):
    for name, pool, lr in (("one", "a.npz", 0.1), ("two", "b.npz", 0.1), ("text", "c.csv", 0.2)):
        write_run(tmp_path / name, arm="svp", rounds=[a_round(0, 100)],
                  overrides=[f"data.pool={pool}", f"encoder.model={name}", f"training.lr={lr}",
                             f"refresh.threshold={lr}"])  # fmt: skip
    arms = [record.arm for record in read_records([tmp_path / name for name in ("one", "two", "text")])]
    assert arms == [
        "svp (data.pool=a.npz)",
        "svp (data.pool=b.npz)",
        "svp (data.pool=c.csv)",
    ]


@pytest.mark.parametrize(
    ("mode", "told"), [("asvp", [" (refresh.holdout=0.1)", " (refresh.holdout=0.2)"]), ("svp", ["", ""])]
)
def test_refreshes_are_in_the_names_of_runs_that_refresh_alone(tmp_path, write_run, a_round, mode, told):
    for seed, share in enumerate((0.1, 0.2)):
        write_run(tmp_path / str(seed), arm="arm", seed=seed, rounds=[a_round(0, 100)],
                  overrides=[f"mode={mode}", f"refresh.holdout={share}"])  # fmt: skip
    assert [record.arm for record in read_records([tmp_path / "0", tmp_path / "1"])] == [f"arm{one}" for one in told]


def test_seeds_of_one_arm_keep_its_name(tmp_path, write_run, a_round):
    for seed in (0, 1):
        write_run(tmp_path / str(seed), arm="svp", seed=seed, rounds=[a_round(0, 100)])
    assert {record.arm for record in read_records([tmp_path / "0", tmp_path / "1"])} == {"svp"}


def test_two_runs_of_one_arm_and_seed_are_refused(tmp_path, write_run, a_round):
    for name in ("one", "two"):
        write_run(tmp_path / name, arm="svp", rounds=[a_round(0, 100)])
    with pytest.raises(DataError, match="svp has more than one run with seed 0"):
        read_records([tmp_path / "one", tmp_path / "two"])


def test_folders_that_are_no_runs_are_refused(tmp_path, write_run):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunDirectoryError, match=r"neither a run .* nor a sweep"):
        read_records([tmp_path / "empty"])
    with pytest.raises(RunDirectoryError, match="is no folder"):
        read_records([tmp_path / "missing"])
    with pytest.raises(RunDirectoryError, match="no finished round"):
        read_records([write_run(tmp_path / "young", finished=False)])
    with pytest.raises(RunDirectoryError, match="no folder was given"):
        read_records([])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rounds.jsonl", '{"labelled": 100}\nnonsense\n{"labelled": 300}\n', "line 2 is no round"),
        ("rounds.jsonl", '{"round": 0}\n', "line 1 is no round"),
        ("config.yaml", "seed: [", "cannot be read"),
        ("config.yaml", "just text", "no mapping"),
        ("summary.json", "{", "cannot be read"),
        ("labelled.parquet", "not parquet", "cannot be read"),
    ],
)
def test_a_broken_file_is_named(tmp_path, write_run, a_round, name, content, said):
    folder = write_run(tmp_path / "run", rounds=[a_round(0, 100)])
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        read_records([folder])
    assert re.search(rf"{re.escape(name)}: ", str(caught.value))


def test_the_rows_that_final_models_got_right_are_read_where_they_fit_the_rounds(tmp_path, write_run, a_round):
    folder = write_run(
        tmp_path / "run", rounds=[a_round(0, 100, final=0.5), a_round(1, 200, final=0.75), a_round(2, 300)]
    )
    rows = {100: [True, False, True, False], 200: [True, False, False, False], 300: [True] * 4}
    write_test_rows(folder / "test_rows.parquet", {n: np.array(right) for n, right in rows.items()})
    (record,) = read_records([folder])
    assert {n: right.tolist() for n, right in record.correct.items()} == {100: rows[100]}


def test_a_run_without_such_rows_has_none_and_broken_ones_are_named(tmp_path, write_run, a_round):
    folder = write_run(tmp_path / "run", rounds=[a_round(0, 100, final=0.5)])
    assert read_records([folder])[0].correct == {}
    (folder / "test_rows.parquet").write_text("not parquet")
    with pytest.raises(DataError, match=r"test_rows\.parquet: cannot be read"):
        read_records([folder])


def test_proxies_never_stand_in_for_final_models(make_run):
    run = make_run("a", 0, [None, 0.6], proxies=[0.4, 0.5])
    assert run.accuracies() == run.accuracies("final") == [(200, 0.6)]
    assert run.accuracies("proxy") == [(100, 0.4), (200, 0.5)]


def test_json_of_a_round_keeps_its_nulls(tmp_path, write_run, a_round):
    folder = write_run(tmp_path / "run", rounds=[a_round(0, 100)])
    (record,) = read_records([folder])
    assert json.loads((folder / "rounds.jsonl").read_text()) == record.rounds[0]


def test_runs_of_versions_with_different_options_are_told_apart(tmp_path, write_run, a_round):
    old = write_run(tmp_path / "old", arm="svp", rounds=[a_round(0, 100)])
    new = write_run(tmp_path / "new", arm="svp", rounds=[a_round(0, 100)], overrides=["proxy.lr=0.2"])
    config = yaml.safe_load((old / "config.yaml").read_text())
    del config["proxy"]["lr"]
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    arms = [record.arm for record in read_records([old, new])]
    assert arms == ["svp (proxy.lr=unset)", "svp (proxy.lr=0.2)"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "- a"),
        ("config.yaml", "seed: many"),
        ("config.yaml", "selection: 5"),
        ("config.yaml", "data: [1]"),
        ("config.yaml", "budget: [a]"),
        ("config.yaml", "budget: []"),
        ("config.yaml", "1: 2"),
        ("config.yaml", "day: !!timestamp 2024-99-99"),
        ("arm.json", "[1]"),
        ("summary.json", "[1]"),
        ("summary.json", "\xff"),
        ("rounds.jsonl", '{"labelled": true}\n'),
        ("rounds.jsonl", '{"labelled": -1}\n'),
        ("rounds.jsonl", '{"labelled": 1, "final_accuracy": "high"}\n'),
        ("rounds.jsonl", '{"labelled": 1, "cost": 5}\n'),
        ("rounds.jsonl", '{"labelled": 1, "seconds": {"extract": "long"}}\n'),
        ("labelled.parquet", ""),
    ],
)
def test_files_of_others_are_named(tmp_path, write_run, a_round, name, content):
    folder = write_run(tmp_path / "run", rounds=[a_round(0, 100)])
    (folder / name).write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=re.escape(name)):
        read_records([folder])


@pytest.mark.parametrize("name", ["", "s3://bucket/run", "a" * 300, "nul\0", "~nobody-of-this-name/x"])
def test_names_that_can_be_no_folder_are_refused(name):
    with pytest.raises(RunDirectoryError, match="DIR"):
        read_records([name])
