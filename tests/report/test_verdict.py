"""The verdict says in words what the numbers carry, and what they do not."""

from __future__ import annotations

import pytest

from asvp.report.verdict import verdict


def seeds(make_run, arm, curves, **options):
    return [make_run(arm, seed, curve, **options) for seed, curve in enumerate(curves)]


@pytest.fixture
def three_arms(make_run):
    """svp leads, standard is as good and pays 20 cents a round more, random is far behind."""
    return [
        *seeds(make_run, "random", [[0.40, 0.50], [0.41, 0.51], [0.42, 0.52]], sampling=0.0),
        *seeds(make_run, "svp", [[0.50, 0.70], [0.51, 0.69], [0.52, 0.72]], sampling=1.0),
        *seeds(make_run, "standard", [[0.60, 0.70], [0.59, 0.71], [0.58, 0.70]], sampling=20.0),
    ]


def test_the_best_arm_at_the_whole_cost_and_those_behind_it_are_named(three_arms):
    answer = verdict(three_arms)
    assert (answer.best, answer.rivals, answer.provisional) == ("svp", ("standard",), False)
    assert answer.text.startswith(
        "With $8.00 in all (labels and compute) svp is first: its final models reach 0.702 (mean of 3 seeds). "
        "Behind it is random (by 0.192, 95 % interval "
    )
    assert "Not told apart from it: standard (" in answer.text
    assert "would tell)" in answer.text


def test_the_best_arm_for_less_money_is_named(three_arms):
    assert "For less: with $4.20 standard (0.590)." in verdict(three_arms).text


def test_the_cheapest_way_to_what_every_run_reaches_is_named_with_its_total_cost(three_arms):
    answer = verdict(three_arms)
    assert (answer.cheapest, answer.target) == ("svp", 0.5)
    # All of random's money buys 0.500 with the worst seed; svp's curves begin at or above it.
    assert "Every run reaches 0.500; svp pays the least in all for it, at most $4.01, against " in answer.text


def test_an_arm_that_pays_more_by_more_than_chance_is_told_from_one_that_is_not(make_run):
    runs = [
        *seeds(make_run, "svp", [[0.4, 0.8], [0.4, 0.8], [0.4, 0.8]], sampling=0.0),
        *seeds(make_run, "far", [[0.4, 0.60], [0.4, 0.61], [0.4, 0.62]], sampling=0.0),
        *seeds(make_run, "near", [[0.4, 0.80], [0.4, 0.79], [0.4, 0.79]], sampling=0.0),
    ]
    assert "Every run reaches 0.600; svp pays the least in all for it, $6.00, against" in verdict(runs).text
    assert "for near (not told apart) and $7.8" in verdict(runs).text
    assert verdict(runs).text.endswith("for far.")


def test_an_arm_that_is_told_apart_from_all_others_is_the_best(make_run):
    runs = [
        *seeds(make_run, "a", [[0.5, 0.70], [0.5, 0.70], [0.5, 0.71]]),
        *seeds(make_run, "b", [[0.5, 0.60], [0.5, 0.60], [0.5, 0.61]]),
    ]
    text = verdict(runs).text
    assert "a is best: its final models reach 0.703 (mean of 3 seeds). Behind it is b (by 0.100" in text
    assert "Not told apart" not in text.partition("For less")[0]


def test_where_nothing_has_a_price_the_answer_is_given_by_labels(make_run):
    runs = [*seeds(make_run, "a", [[0.5, 0.70], [0.5, 0.71]]), *seeds(make_run, "b", [[0.5, 0.60], [0.5, 0.61]])]
    for run in runs:
        for one in run.rounds:
            one["cost"].update(dict.fromkeys(one["cost"], 0.0))
    assert verdict(runs).text.startswith("With 200 labels a is best: its final models reach 0.705 (mean of 2 seeds).")


def test_when_all_are_tied_no_arm_is_called_the_best(make_run):
    runs = [
        *seeds(make_run, "a", [[0.5, 0.70], [0.5, 0.60], [0.5, 0.65]]),
        *seeds(make_run, "b", [[0.5, 0.60], [0.5, 0.70], [0.5, 0.65]]),
    ]
    answer = verdict(runs)
    assert answer.rivals == ("b",)
    assert "no arm is told apart as the best; a is first" in answer.text
    assert "Not told apart from it: b (as good)." in answer.text


def test_one_seed_tells_nothing_apart(make_run):
    answer = verdict([make_run("random", 0, [0.4, 0.5]), make_run("asvp", 0, [0.5, 0.6])])
    assert (answer.best, answer.rivals) == ("asvp", ("random",))
    assert "(one seed)" in answer.text
    assert "One seed tells nothing apart (random): run three or more." in answer.text


def test_one_arm_alone_is_only_described(make_run):
    assert (
        verdict([make_run("svp", 0, [0.6])]).text
        == "svp: final models reach 0.600 (one seed) with 100 labels, for $4.01 in all (labels and compute)."
    )


def test_final_models_at_one_label_count_say_nothing_of_what_an_accuracy_costs(make_run):
    answer = verdict([make_run("a", 0, [None, 0.5], proxies=[0.4, 0.5]), make_run("b", 0, [None, 0.6])])
    assert (answer.best, answer.cheapest, answer.target) == ("b", "b", None)
    assert "What an accuracy costs is not known: it takes final models at two label counts or more" in answer.text


def test_an_answer_over_unfinished_runs_is_provisional_and_leaves_them_out(make_run):
    runs = [
        *seeds(make_run, "svp", [[0.5, 0.6], [0.5, 0.61]]),
        *seeds(make_run, "random", [[0.4, 0.5], [0.4, 0.51]]),
        make_run("asvp", 0, [0.9], finished=False),
    ]
    answer = verdict(runs)
    assert answer.provisional
    assert answer.best == "svp"
    assert answer.text.startswith("Provisional, as 1 of 5 runs is not finished. With ")


def test_while_fewer_than_two_arms_are_finished_there_is_no_answer(make_run):
    runs = [make_run("svp", 0, [0.5, 0.6]), make_run("asvp", 0, [0.9], finished=False)]
    answer = verdict(runs)
    assert (answer.best, answer.cheapest, answer.provisional) == (None, None, True)
    assert answer.text == "No verdict yet: of 2 arms only svp has a finished run."
    assert verdict(runs[1:]).text == "No verdict yet: no run is finished."
    assert verdict([]).text == "No verdict yet: there is no run."


def test_proxies_are_no_final_models(make_run):
    answer = verdict([make_run("a", 0, proxies=[0.5, 0.6]), make_run("b", 0, proxies=[0.5, 0.6])])
    assert answer.text == "No final model was measured, so there is nothing to compare."
    half = verdict([make_run("a", 0, proxies=[0.5, 0.9]), make_run("b", 0, [0.5, 0.6])])
    assert half.best == "b"
    assert "a has no final model." in half.text


def test_different_ends_are_said(make_run):
    answer = verdict([make_run("svp", 0, [None, 0.5, 0.6]), make_run("asvp", 0, [0.9])])
    assert "no label count in common" in answer.text


def test_arms_with_other_seeds_are_not_compared(make_run):
    answer = verdict([make_run("svp", 0, [0.5, 0.6]), make_run("asvp", 1, [0.4, 0.5])])
    assert "Without a seed in common with it, and so not compared: asvp." in answer.text
