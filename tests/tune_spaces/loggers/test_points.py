"""What loggers are given of a trial's rounds."""

from __future__ import annotations

from typing import Any

from tiny_runs import tiny_config

from asvp.tune_spaces.loggers.points import points_of
from asvp.tune_spaces.loggers.trial import LoggedTrials
from asvp.tune_spaces.space import Space, trials


def round_of(number: int, final: float | None = None, **more: Any) -> dict[str, Any]:
    """A round's object; what it cost tells whether its final model is in it."""
    dollars = 1.0 + number + (0.0 if final is None else 10.0)
    return {
        "round": number,
        "labelled": 20 + 10 * number,
        "feature_version": number // 2,
        "logme": None,
        "logme_ped": -1.5,
        "proxy_accuracy": 0.5 + number / 10,
        "final_accuracy": final,
        "final_macro_f1": None if final is None else final - 0.1,
        "cost": {"total": dollars},
        "device_seconds": {"cpu": 2 * dollars, "gpu": 0.0},
        **more,
    }


def curves(rounds: list[dict[str, Any]], due: set[int]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for point in points_of(rounds, due):
        found.setdefault(point.name, []).append((point.labels, point.value))
    return found


def test_a_round_gives_its_numbers_at_the_labels_bought_by_then() -> None:
    found = curves([round_of(0), round_of(1), round_of(2, 0.75)], {40})
    assert found == {
        "accuracy/proxy": [(20, 0.5), (30, 0.6), (40, 0.7)],
        "indicator/logme_ped": [(20, -1.5), (30, -1.5), (40, -1.5)],
        "features/version": [(20, 0.0), (30, 0.0), (40, 1.0)],
        "accuracy/final": [(40, 0.75)],
        "macro_f1/final": [(40, 0.65)],
        "cost/dollars": [(20, 1.0), (30, 3.0), (40, 16.0)],
        "cost/cpu_seconds": [(20, 2.0), (30, 6.0), (40, 32.0)],
        "cost/gpu_seconds": [(20, 0.0), (30, 0.0), (40, 0.0)],
    }


def test_what_a_final_model_may_still_change_waits_for_it_and_nothing_changes_afterwards() -> None:
    due = {20, 30, 40}
    early = [round_of(0), round_of(1, 0.6)]
    assert "accuracy/final" not in curves(early, due)
    assert "cost/dollars" not in curves(early, due)
    assert curves(early, due)["accuracy/proxy"] == [(20, 0.5), (30, 0.6)]
    first = set(points_of([round_of(0, 0.5), round_of(1)], due))
    then = set(points_of([round_of(0, 0.5), round_of(1, 0.6), round_of(2, 0.7)], due))
    assert first < then
    assert len({point.key for point in then}) == len(then)
    assert curves([round_of(0, 0.5), round_of(1)], due)["cost/dollars"] == [(20, 11.0)]


def test_a_trial_that_has_ended_waits_for_no_model() -> None:
    found = curves([round_of(0), round_of(1, 0.6)], set())
    assert found["accuracy/final"] == [(30, 0.6)]
    assert found["cost/dollars"] == [(20, 1.0), (30, 13.0)]


def test_what_is_no_number_and_rounds_of_earlier_versions_give_no_points() -> None:
    assert curves([{"round": 0, "labelled": 5, "proxy_accuracy": float("nan")}], set()) == {
        "cost/dollars": [(5, 0.0)],
        "cost/cpu_seconds": [(5, 0.0)],
        "cost/gpu_seconds": [(5, 0.0)],
    }


def test_a_trial_is_told_by_what_any_arm_changes_and_its_seed(tmp_path: Any) -> None:
    base = tiny_config(tmp_path, training={"evaluate_at": [30]})
    arms = {
        "svp": {},
        "asvp": {"mode": "asvp", "refresh": {"policy": "at", "at": [20]}},
        "few": {"budget": "20+10", "selection": {"strategy": "random"}},
    }
    chosen = list(trials(Space(arms, (3,)), base.model_dump()))
    found = LoggedTrials(chosen, {trial.name: trial.config for trial in chosen})
    assert found["asvp-seed3"].parameters == {
        "arm": "asvp",
        "seed": 3,
        "mode": "asvp",
        "refresh.policy": "at",
        "refresh.at": "[20]",
        "budget": "[20, 10, 10]",
        "selection.strategy": base.selection.strategy,
    }
    assert found["few-seed3"].settings["budget"] == "[20, 10]"
    assert found["few-seed3"].settings["selection.strategy"] == "random"
    assert found["svp-seed3"].settings["mode"] == "svp"
    assert found["svp-seed3"].due == {30, 40}
    [late] = trials(Space({"fast": {"proxy": {"lr": 0.5}}}, (3,)), base.model_dump())
    found.came(late, late.config)
    assert found["fast-seed3"].settings["proxy.lr"] == 0.5
    assert found["fast-seed3"].settings["mode"] == found["svp-seed3"].settings["mode"] == "svp"
