"""A comparison reads folders and writes tables and figures that agree with each other."""

from __future__ import annotations

import csv
import io
import json

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

import asvp.report
from asvp.errors import DataError, RunDirectoryError
from asvp.report import compare, compare_records, draw_figures
from asvp.report.comparison import compare_in_place


@pytest.fixture
def sweep(tmp_path, write_run, a_round):
    for arm, accuracies in (("random", (0.5, 0.55, 0.6)), ("asvp", (0.5, 0.6, 0.7))):
        for seed in (0, 1):
            rounds = [
                a_round(
                    i,
                    100 * (i + 1),
                    final=value + 0.01 * seed,
                    proxy=value - 0.1,
                    refreshed=arm == "asvp" and i == 1,
                    logme=0.6 - 0.1 * i,
                    logme_ped=0.7,
                )
                for i, value in enumerate(accuracies)
            ]
            write_run(tmp_path / "sweep" / "runs" / f"{arm}-{seed}", arm=arm, seed=seed, rounds=rounds,
                      labels=["a", "b", "b", arm])  # fmt: skip
    return tmp_path / "sweep"


def test_a_sweep_is_compared_in_files_and_words(sweep, tmp_path):
    comparison = compare([sweep], tmp_path / "out")
    names = "arms.csv class_balance.png indicator.png learning_curves.png rankings.csv"
    names += " report.html report.md rounds.csv savings.csv"
    assert sorted(path.name for path in comparison.files) == names.split()
    assert all(path.stat().st_size > 0 for path in comparison.files)
    rounds = list(csv.DictReader((tmp_path / "out" / "rounds.csv").open()))
    assert len(rounds) == 12
    assert comparison.verdict.best == "asvp"
    assert comparison.verdict.text in (tmp_path / "out" / "report.md").read_text()
    assert comparison.to_json()["arms"][1]["final_accuracy"] == pytest.approx(0.705)


def test_the_values_of_a_comparison_are_plain_json_also_where_nothing_is_known(make_run):
    for runs in ([make_run("random", 0, [0.4, 0.5]), make_run("svp", 0, [0.5, 0.6])], [make_run("svp", 0, [0.5])]):
        json.dumps(compare_records(runs).to_json(), allow_nan=False)


def test_the_terminal_shows_tables_notes_and_answer(sweep):
    console = Console(width=200, record=True, file=io.StringIO())
    comparison = compare([sweep], targets=[0.6])
    comparison.print(console)
    shown = console.export_text()
    assert "0.705 (0.700 to 0.710)" in shown
    assert comparison.verdict.text.split(".")[0] in shown
    assert comparison.files == ()
    # Random needs 300 and 280 labels for 0.6, asvp 200 and 190.
    assert comparison.savings.numbers[1]["saved"] == pytest.approx(((1 - 200 / 300) + (1 - 190 / 280)) / 2)


def test_notes_say_what_hinders_a_comparison(make_run):
    free = [{"labelled": 100, "final_accuracy": 0.5, "cost": {"labels": 4.0, "compute": 0.0, "total": 4.0}}]
    runs = [make_run("svp", 0, rounds=free), make_run("asvp", 1, rounds=free, finished=False)]
    runs += [make_run("standard", 0, rounds=free)]
    runs[1].config["data"]["limit"] = 5
    notes = " ".join(compare_records(runs).notes)
    for said in (
        "asvp with seed 1 is not finished",
        "one label count are no curve",
        "intervals are of seeds alone",
        "no arm with random picks",
        "different seeds",
        "differ in their data",
        "Compute was free",
    ):
        assert said in notes


def test_figures_show_the_arms_in_different_colours(sweep, tmp_path):
    comparison = compare([sweep])
    pixels = matplotlib.image.imread(draw_figures(comparison.records, tmp_path / "figures")[0])
    assert pixels.shape[:2] == (560, 1000)
    colours = {tuple(colour) for colour in np.round(pixels[..., :3].reshape(-1, 3) * 255).astype(int)}
    assert {(0x00, 0x72, 0xB2), (0x6B, 0x6B, 0x6B)} <= colours


def test_runs_without_indicator_and_picks_have_learning_curves_only(make_run, tmp_path):
    assert [path.name for path in draw_figures([make_run("svp", 0, [0.5])], tmp_path)] == ["learning_curves.png"]
    assert draw_figures([make_run("svp", 0, rounds=[{"labelled": 100}])], tmp_path)


def test_many_arms_and_classes_are_drawn(make_run, tmp_path):
    picks = {f"class {i}": i + 1 for i in range(60)}
    runs = [
        make_run(f"arm {i}", 0, [None, 0.5 + 0.001 * i], proxies=[0.4, 0.5], refreshed=[False, True], picks=picks)
        for i in range(9)
    ]
    assert [path.name for path in draw_figures(runs, tmp_path)] == ["learning_curves.png", "class_balance.png"]


def test_an_out_folder_that_is_a_file_is_refused(sweep, tmp_path):
    (tmp_path / "out").write_text("taken")
    with pytest.raises(RunDirectoryError, match="--out: cannot be written"):
        compare([sweep], tmp_path / "out")


@pytest.mark.parametrize("theirs", ["arms.csv", "learning_curves.png", "notes.txt"])
def test_files_of_others_are_neither_replaced_nor_joined(sweep, tmp_path, theirs):
    out = tmp_path / "out"
    out.mkdir()
    (out / theirs).write_text("mine")
    with pytest.raises(RunDirectoryError, match="was not written by asvp"):
        compare([sweep], out)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(theirs, "mine")]


def test_a_report_is_written_again_over_the_last_one(sweep, tmp_path):
    for targets in ([0.55], [0.6]):
        compare([sweep], tmp_path / "out", targets=targets)
    assert "0.600" in (tmp_path / "out" / "report.md").read_text()


def test_every_public_name_of_the_package_is_there():
    for name in asvp.report.__all__:
        assert callable(getattr(asvp.report, name))


def test_the_page_alone_is_written_where_runs_lie_and_nothing_that_is_not_asvps_is_replaced(
    write_run, a_round, tmp_path
):
    run = write_run(tmp_path / "run", rounds=[a_round(0, 100, final=0.5)])
    said = []
    here = compare_in_place([run], run, known=True, say=said.append)
    assert here.files == (run / "report.html",)
    assert "learning_curves.png" not in {path.name for path in run.iterdir()}
    assert compare_in_place([run], run, known=False, say=said.append).files == here.files
    (run / "report.html").write_text("mine")
    assert compare_in_place([run], run, known=True, say=said.append).files == ()
    assert (run / "report.html").read_text() == "mine"
    assert len(said) == 1
    assert "--out" in said[0]


def test_a_damaged_run_of_a_sweep_is_left_out_and_said(write_run, a_round, tmp_path):
    sweep = tmp_path / "sweep"
    for name in ("a", "b"):
        write_run(sweep / "runs" / name, arm=name, rounds=[a_round(0, 100, final=0.5)])
    (sweep / "runs" / "b" / "config.yaml").write_text("seed: [")
    found = compare([sweep])
    assert [run.arm for run in found.records] == ["a"]
    assert any("damaged and left out: b" in note for note in found.notes)
    (sweep / "runs" / "a" / "config.yaml").write_text("seed: [")
    with pytest.raises(DataError, match=r"config\.yaml"):
        compare([sweep])
