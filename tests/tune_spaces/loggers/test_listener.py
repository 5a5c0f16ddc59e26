"""Loggers are told what is new, once, and cannot stop a sweep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asvp.errors import StorageError, SupersededError
from asvp.tune_spaces.listeners import Listeners
from asvp.tune_spaces.loggers.listener import Loggers
from asvp.tune_spaces.loggers.points import Point
from asvp.tune_spaces.loggers.trial import LoggedTrial

TRIALS = {name: LoggedTrial(name, "svp", 0, due=frozenset({20, 40})) for name in ("a", "b")}


class Kept:
    """Keeps what it is given; `fails` is raised when it is given something."""

    def __init__(self, held: Sequence[tuple[str, int]] = (), fails: Exception | None = None, finished: bool = False):
        self.wants_finished = finished
        self.points: list[tuple[str, str, int]] = []
        self.ends: list[tuple[str, bool]] = []
        self.closed = 0
        self._held = held
        self._fails = fails

    def holds(self, trial: LoggedTrial, points: Sequence[Point]) -> set[tuple[str, int]]:
        return set(self._held)

    def write(self, trial: LoggedTrial, points: Sequence[Point]) -> None:
        if self._fails is not None:
            raise self._fails
        self.points += [(trial.name, point.name, point.labels) for point in points]

    def ended(self, trial: LoggedTrial, failed: bool) -> None:
        self.ends.append((trial.name, failed))

    def close(self) -> None:
        self.closed += 1

    def at(self, name: str, trial: str = "a") -> list[int]:
        return [labels for of, told, labels in self.points if (of, told) == (trial, name)]


def write_rounds(out: Path, trial: str, *finals: float | None) -> None:
    """Rounds of 20 labels, with final accuracies where there are some."""
    (out / "runs" / trial).mkdir(parents=True, exist_ok=True)
    rounds = [
        {"round": number, "labelled": 20 * (number + 1), "proxy_accuracy": 0.5, "final_accuracy": final}
        for number, final in enumerate(finals)
    ]
    (out / "runs" / trial / "rounds.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rounds))


def loggers(out: Path, said: list[str] | None = None, **destinations: Any) -> Loggers:
    return Loggers(destinations, TRIALS, out / "runs", ([] if said is None else said).append)


def test_what_is_new_is_passed_on_once_and_late_accuracies_at_their_own_labels(tmp_path: Path) -> None:
    kept = Kept()
    told = loggers(tmp_path, kept=kept)
    told.started("a")
    told.step({})
    assert kept.points == []
    write_rounds(tmp_path, "a", None)
    told.round("a", {})
    told.step({})
    told.step({})
    assert kept.at("accuracy/proxy") == [20]
    assert kept.at("accuracy/final") == []
    write_rounds(tmp_path, "a", 0.5, None)
    told.round("a", {})
    told.round("a", {})
    told.step({})
    assert kept.at("accuracy/proxy") == [20, 40]
    assert kept.at("accuracy/final") == [20]
    write_rounds(tmp_path, "a", 0.5, 0.6)
    told.ended("a", None)
    assert kept.ends == []
    told.close()
    assert kept.at("accuracy/final") == kept.at("cost/dollars") == [20, 40]
    assert (kept.ends, kept.closed) == ([("a", False)], 1)
    assert len(set(kept.points)) == len(kept.points)


def test_what_a_destination_holds_from_before_is_not_given_again_and_what_it_lacks_is(tmp_path: Path) -> None:
    kept = Kept(held=[("accuracy/proxy", 20)])
    write_rounds(tmp_path, "a", 0.5, 0.6)
    told = loggers(tmp_path, kept=kept)
    told.started("a")
    told.step({})
    assert kept.at("accuracy/proxy") == [40]
    assert kept.at("accuracy/final") == [20, 40]


def test_a_trial_that_is_lost_and_goes_on_is_told_once(tmp_path: Path) -> None:
    kept = Kept()
    told = loggers(tmp_path, kept=kept)
    write_rounds(tmp_path, "a", None)
    told.round("a", {})
    told.step({})
    told.lost("a", 1)
    told.started("a")
    told.step({})
    assert kept.at("accuracy/proxy") == [20]


def test_a_trial_that_fails_gives_what_waited_and_its_end(tmp_path: Path) -> None:
    kept = Kept()
    told = loggers(tmp_path, kept=kept)
    write_rounds(tmp_path, "a", None, 0.6)
    told.ended("a", "it broke")
    told.ended("b", "it broke")
    told.step({})
    assert kept.at("accuracy/final") == [40]
    assert kept.ends == [("a", True), ("b", True)]


def test_only_who_wants_them_is_told_of_trials_that_were_finished_before(tmp_path: Path) -> None:
    files, server = Kept(held=[("accuracy/proxy", 20)], finished=True), Kept()
    write_rounds(tmp_path, "a", 0.5, 0.6)
    loggers(tmp_path, files=files, server=server).catch_up(["a"])
    assert files.at("accuracy/proxy") == [40]
    assert files.ends == [("a", False)]
    assert (server.points, server.ends) == ([], [])


def test_a_mistake_is_said_once_and_the_others_go_on(tmp_path: Path) -> None:
    bad, good, said = Kept(fails=ZeroDivisionError("oh")), Kept(), []
    told = loggers(tmp_path, said, bad=bad, good=good)
    for finals in ((None,), (0.5, None)):
        write_rounds(tmp_path, "a", *finals)
        told.round("a", {})
        told.step({})
    assert said == ["Warning: nothing more is logged to bad, and the sweep goes on: ZeroDivisionError: oh"]
    assert good.at("accuracy/proxy") == [20, 40]
    assert bad.closed == 1
    told.close()
    assert (bad.closed, good.closed, len(said)) == (1, 1, 1)


@pytest.mark.parametrize("error", [StorageError("the disk is full"), SupersededError("taken over")])
def test_a_full_disk_and_a_successor_end_the_sweep(tmp_path: Path, error: Exception) -> None:
    told = loggers(tmp_path, bad=Kept(fails=error))
    write_rounds(tmp_path, "a", None)
    # Ray Tune takes what these raise for a trial's failure.
    told.started("a")
    told.round("a", {})
    told.ended("a", None)
    with pytest.raises(type(error)):
        told.step({})


def test_rounds_that_cannot_be_read_are_left_to_the_results(tmp_path: Path) -> None:
    kept, said = Kept(), []
    told = loggers(tmp_path, said, kept=kept)
    write_rounds(tmp_path, "a", None)
    (tmp_path / "runs" / "a" / "rounds.jsonl").write_text("nonsense\n")
    told.round("a", {})
    told.step({})
    assert (kept.points, said) == ([], [])


def test_several_listeners_are_told_in_turn() -> None:
    calls: list[tuple[Any, ...]] = []

    class Noted:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getattr__(self, what: str) -> Any:
            return lambda *given: calls.append((self.name, what, *given))

    both: Any = Listeners(Noted("first"), Noted("second"))  # type: ignore[arg-type]
    for what, given in {
        "started": ("a",),
        "round": ("a", {}),
        "ended": ("a", None),
        "lost": ("a", 1),
        "step": ({},),
    }.items():
        getattr(both, what)(*given)
        assert calls[-2:] == [("first", what, *given), ("second", what, *given)]
