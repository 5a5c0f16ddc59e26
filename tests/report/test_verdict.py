"""The verdict names the best and the cheapest, and what the numbers do not carry."""

from __future__ import annotations

from asvp.report.verdict import verdict


def test_the_cheapest_arm_that_does_as_well_is_named(make_run):
    runs = [
        *(make_run("random", seed, [0.4, 0.50 + 0.01 * seed]) for seed in (0, 1)),
        *(make_run("svp", seed, [0.5, 0.69 + 0.01 * seed], sampling=2.0) for seed in (0, 1)),
        *(make_run("standard", seed, [0.5, 0.68 + 0.04 * seed], sampling=300.0) for seed in (0, 1)),
    ]
    answer = verdict(runs)
    assert (answer.best, answer.cheapest, answer.target) == ("standard", "svp", 0.68)
    assert answer.rivals == ("svp",)
    assert "standard ends with the highest accuracy: 0.700 (0.680 to 0.720 over 2 seeds) with 200 labels" in answer.text
    assert "svp reaches 0.680 at the least total cost" in answer.text
    assert "overlaps that of svp" in answer.text


def test_at_equal_cost_the_quicker_picks_win(make_run):
    runs = [
        make_run("slow", 0, [0.70], sampling=0.4),
        make_run("quick", 0, [0.70], sampling=0.1),
    ]
    answer = verdict(runs)
    assert answer.cheapest == "quick"
    assert "slow costs as much but took longer" in answer.text
    assert "one seed shows no spread" in answer.text


def test_an_arm_that_leads_alone_is_said_to(make_run):
    answer = verdict([make_run("random", 0, [0.4]), make_run("asvp", 0, [0.6])])
    assert (answer.best, answer.cheapest, answer.rivals) == ("asvp", "asvp", ())
    assert "No other arm's mean reaches 0.600" in answer.text


def test_one_arm_alone_is_only_described(make_run):
    assert (
        verdict([make_run("svp", 0, [0.6])]).text
        == "svp ends with the highest accuracy: 0.600 (one seed) with 100 labels."
    )


def test_unfinished_runs_do_not_count(make_run):
    answer = verdict([make_run("svp", 0, [0.5, 0.6]), make_run("asvp", 0, [0.9], finished=False)])
    assert answer.best == "svp"
    assert "1 unfinished run is not counted" in answer.text


def test_different_ends_are_said(make_run):
    answer = verdict([make_run("svp", 0, [0.5, 0.6]), make_run("asvp", 0, [0.9])])
    assert "end at different label counts" in answer.text


def test_without_accuracies_there_is_no_answer(make_run):
    answer = verdict([make_run("svp", 0, rounds=[])])
    assert (answer.best, answer.cheapest) == (None, None)
