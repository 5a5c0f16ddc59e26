"""Arms suggested by Optuna, without Ray: run directories are written by hand."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asvp.config import Config
from asvp.errors import AsvpError, ConfigError, DataError
from asvp.tune_spaces import Space, choice, grid, loguniform, uniform
from asvp.tune_spaces.draws import draw
from asvp.tune_spaces.search import Search
from asvp.tune_spaces.space import Trial, varying_arms
from asvp.tune_spaces.suggestions import Suggestions, reached
from asvp.tune_spaces.tpe import FIRST, Tpe

BASE = Config(mode="svp", budget=[20, 10], proxy={"lr": 0.5}).model_dump()
SPACE = Space(
    {"svp": {"mode": "svp"}, "standard": {"mode": "standard", "training": {"epochs": grid(1, 2, 3)}}},
    axes={"proxy.lr": loguniform(0.01, 1.0), "proxy.epochs": uniform(5, 50)},
)


class Checker:
    """Checks nothing, or refuses what it is told to."""

    def __init__(self, runs: Path, refused: Any = lambda trial: None) -> None:
        self.runs = runs
        self.refused = refused

    def check(self, trial: Trial) -> None:
        error = self.refused(trial)
        if error is not None:
            raise error


def suggestions(space: Space, out: Path, samples: int, said: list[str] | None = None, **given: Any) -> Suggestions:
    say = (lambda line: None) if said is None else said.append
    seeds, refused = given.get("seeds", (0,)), given.get("refused", lambda trial: None)
    return Suggestions(space, BASE, seeds, Search("optuna", samples), Checker(out / "runs", refused), say)  # type: ignore[arg-type]


def finish(out: Path, trial: Trial, accuracy: float | None) -> None:
    """Leave what a trial leaves that has come to its end, or failed."""
    folder = out / "runs" / trial.name
    folder.mkdir(parents=True)
    if accuracy is None:
        (folder / "failure.json").write_text(json.dumps({"kind": "WorkError", "message": "broken"}))
        return
    rounds = [{"round": number, "labelled": 20 + 10 * number} for number in range(len(trial.config.budget))]
    (folder / "rounds.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rounds))
    (folder / "summary.json").write_text(json.dumps({"final_accuracy": accuracy}))


def likes_standard(trial: Trial) -> float:
    """The highest for the arm that fine-tunes, and for it at a learning rate of the proxy about 0.1."""
    return (0.5 if trial.config.mode == "standard" else 0.1) - 0.1 * abs(trial.config.proxy.lr - 0.1)


def run(found: Suggestions, out: Path, before: Any = (), accuracy: Any = likes_standard) -> list[str]:
    """Run one arm after another to its end, and return their names."""
    names: list[str] = []
    trials = found.begin(before)
    while trials:
        for trial in trials:
            if not (out / "runs" / trial.name).exists():
                finish(out, trial, accuracy(trial))
        names += dict.fromkeys(trial.arm for trial in trials)
        trials = found.more()
    return names


def test_what_reached_more_is_suggested_more(tmp_path: Path) -> None:
    names = run(suggestions(SPACE, tmp_path, 60), tmp_path)
    assert len(set(names)) == 60
    later = Counter(name.partition("-")[0] for name in names[FIRST:])
    # Drawn at random they would be about as many.
    assert later["standard"] > 2 * later["svp"]


def test_one_at_a_time_they_are_the_same_in_each_run(tmp_path: Path) -> None:
    first, second = (run(suggestions(SPACE, tmp_path / name, 12), tmp_path / name) for name in ("a", "b"))
    assert first == second


def test_an_interrupted_sweep_goes_on_with_what_it_would_have_suggested(tmp_path: Path) -> None:
    whole = run(suggestions(SPACE, tmp_path / "whole", 14), tmp_path / "whole")
    begun = suggestions(SPACE, tmp_path / "parts", 8)
    run(begun, tmp_path / "parts")
    kept = json.loads(json.dumps(begun.suggested))
    again = suggestions(SPACE, tmp_path / "parts", 14)
    assert run(again, tmp_path / "parts", kept) == whole
    assert again.suggested[: len(kept)] == kept


def test_while_a_trial_is_on_its_way_a_sweep_that_goes_on_asks_for_no_other_arm(tmp_path: Path) -> None:
    begun = suggestions(SPACE, tmp_path, 9)
    first = begun.begin([])
    assert suggestions(SPACE, tmp_path, 9).begin(begun.suggested) == first
    finish(tmp_path, first[0], 0.5)
    again = suggestions(SPACE, tmp_path, 9).begin(begun.suggested)
    assert again[0] == first[0]
    assert len(again) == 2


def test_parameters_are_the_arm_and_those_of_its_axes(tmp_path: Path) -> None:
    found = suggestions(SPACE, tmp_path, 20)
    run(found, tmp_path)
    shared = {"arm", "proxy.lr", "proxy.epochs"}
    for one in found.suggested:
        more = {"training.epochs"} if one["parameters"]["arm"] == "standard" else set()
        assert set(one["parameters"]) == shared | more
        assert 0.01 <= one["parameters"]["proxy.lr"] <= 1.0
        assert one["parameters"]["proxy.epochs"] in range(5, 51)


def test_axes_of_one_key_that_differ_between_arms_are_parameters_of_their_own() -> None:
    space = Space({"a": {"proxy": {"lr": grid(0.1, 0.2)}}, "b": {"proxy": {"lr": uniform(0.1, 0.9)}}})
    tpe = Tpe(varying_arms(space))
    keys = {frozenset(tpe.ask().parameters) for _ in range(20)}
    assert keys == {frozenset({"arm", "proxy.lr of a"}), frozenset({"arm", "proxy.lr of b"})}


@pytest.mark.parametrize("number", range(20))
def test_what_was_drawn_can_be_suggested(number: int) -> None:
    axes = {"proxy.epochs": loguniform(0.5, 9), "proxy.lr": loguniform(1e-3, 1), "budget": grid([9], small=[5])}
    arms = varying_arms(Space({"svp": {}}, axes=axes))
    tpe = Tpe(arms)
    arm, point = draw(arms, number)
    suggested = tpe.ask(tpe.parameters(arm, point))
    assert (suggested.arm, suggested.point) == (arm, point)


def test_equal_arms_are_not_run_twice_and_others_take_their_place(tmp_path: Path) -> None:
    space = Space({"svp": {"mode": "svp"}}, axes={"refresh.every": grid(1, 2, 3, 4), "proxy.epochs": grid(5, 6, 7)})
    found = suggestions(space, tmp_path, 3)
    assert sorted(run(found, tmp_path)) == ["svp-epochs_5", "svp-epochs_6", "svp-epochs_7"]
    # What came to the same was told what the first one reached.
    states = Counter(trial.state.name for trial in found._tpe._study.trials)
    assert states == {"COMPLETE": len(found.suggested) - 1, "RUNNING": 1}


def test_a_space_with_fewer_arms_than_asked_for_is_run_whole_and_it_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    space = Space({"svp": {}, "standard": {"mode": "standard"}})
    assert sorted(run(suggestions(space, tmp_path, 5, said), tmp_path)) == ["standard", "svp"]
    assert said == ["2 different arms were found, not 5: further draws came to the same as those"]


def test_an_arm_of_which_a_trial_failed_is_told_as_failed(tmp_path: Path) -> None:
    found = suggestions(Space(axes={"proxy.lr": uniform(0.1, 0.9)}), tmp_path, 3, seeds=(0, 1))
    run(found, tmp_path, accuracy=lambda trial: None if trial.seed else 0.5)
    # After the last one nobody asks.
    assert [trial.state.name for trial in found._tpe._study.trials] == ["FAIL", "FAIL", "RUNNING"]


def test_what_an_arm_reached_is_the_mean_over_its_seeds(tmp_path: Path) -> None:
    found = suggestions(Space({"svp": {}}), tmp_path, 1, seeds=(0, 1))
    first, second = found.begin([])
    assert reached([first, second], tmp_path / "runs") == (False, None)
    finish(tmp_path, first, 0.5)
    assert reached([first, second], tmp_path / "runs") == (False, None)
    finish(tmp_path, second, 0.75)
    assert reached([first, second], tmp_path / "runs") == (True, 0.625)


def test_an_arm_that_was_stopped_early_has_ended_and_reached_nothing(tmp_path: Path) -> None:
    [trial] = suggestions(Space({"svp": {}}), tmp_path, 1).begin([])
    folder = tmp_path / "runs" / trial.name
    folder.mkdir(parents=True)
    (folder / "stopped.json").write_text(json.dumps({"message": "stopped early"}))
    assert reached([trial], tmp_path / "runs") == (True, None)


def test_what_cannot_be_run_is_named_once_told_as_failed_and_another_is_asked_for(tmp_path: Path) -> None:
    def refused(trial: Trial) -> AsvpError | None:
        return (
            DataError("is too much", key="budget", value=trial.config.budget) if sum(trial.config.budget) > 30 else None
        )

    said: list[str] = []
    space = Space(axes={"budget": choice([20], [900]), "proxy.lr": uniform(0.1, 0.9)})
    found = suggestions(space, tmp_path, 6, said, refused=refused)
    names = run(found, tmp_path)
    assert len(names) == 6
    assert all(name.startswith("20-lr_") for name in names)
    assert said == ["Not run: budget: is too much (got [900])"]
    failed = [one for one in found.suggested if one["arm"] is None]
    assert len(failed) == sum(trial.state.name == "FAIL" for trial in found._tpe._study.trials) > 0


def test_what_all_arms_share_is_at_fault_before_any_work(tmp_path: Path) -> None:
    missing = DataError("is missing", key="data.pool")
    with pytest.raises(DataError, match=r"data\.pool: is missing"):
        suggestions(SPACE, tmp_path, 3, refused=lambda trial: missing).begin([])


def test_a_space_of_which_no_arm_can_be_run_is_refused(tmp_path: Path) -> None:
    said: list[str] = []
    space = Space({"bad": {"selection": {"strategy": "marign"}}})
    with pytest.raises(AsvpError, match=r"in arm bad.*Did you mean margin"):
        suggestions(space, tmp_path, 3, said).begin([])


def test_a_space_that_does_not_hold_what_was_suggested_is_refused(tmp_path: Path) -> None:
    begun = suggestions(SPACE, tmp_path, 3)
    run(begun, tmp_path)
    other = Space(SPACE.arms, axes={"proxy.lr": loguniform(2.0, 3.0), "proxy.epochs": uniform(5, 50)})
    with pytest.raises(ConfigError, match="does not hold it any more"):
        suggestions(other, tmp_path, 3).begin(begun.suggested)


def test_without_optuna_it_is_said_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"optuna is not installed.*pip install 'asvp\[optuna\]'"):
        suggestions(SPACE, tmp_path, 3)
