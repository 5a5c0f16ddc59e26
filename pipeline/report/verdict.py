"""The answer in plain sentences: which arm is best for which total cost, and what is not told apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from asvp.report.curves import by_arm
from asvp.report.intervals import MOST_SEEDS, Interval
from asvp.report.prices import price_of
from asvp.report.rankings import Ranking, rankings
from asvp.report.records import RunRecord
from asvp.report.redrawn import Redrawn
from asvp.report.savings import has_curve
from asvp.report.tables import count, dollars, fixed


@dataclass(frozen=True)
class Verdict:
    """Which arm is best at the largest cost that all arms come to, and which pays the least for the same accuracy.

    Attributes
    ----------
    best : str or None
        Arm whose final models are best at the last of `rankings`; None where nothing can be said.
    cheapest : str or None
        Arm that pays the least in all for the target.
    target : float or None
        The accuracy that every run reaches.
    rivals : tuple of str
        Arms that are not told apart from the best.
    text : str
        The answer in words.
    rankings : tuple of Ranking
        The arms at each total cost, the smallest first.
    provisional : bool
        Whether runs are unfinished, so that the answer may change.
    """

    best: str | None
    cheapest: str | None
    target: float | None
    rivals: tuple[str, ...]
    text: str
    rankings: tuple[Ranking, ...] = field(default=(), repr=False)
    provisional: bool = False


def verdict(records: Sequence[RunRecord], redrawn: Redrawn | None = None) -> Verdict:
    """Answer "which arm is best, and which reaches the same accuracy at the least total cost?".

    Only finished runs count, and only final models. While fewer than two arms of several have a finished run, there is
    no answer yet; while some run is unfinished, the answer is said to be provisional.

    Parameters
    ----------
    records : sequence of RunRecord
    redrawn : Redrawn, optional
        The finished runs on other draws of test rows; None: intervals are of seeds alone.
    """
    finished = [run for run in records if run.finished]
    stopped = [run for run in records if run.stopped]
    unfinished = len(records) - len(finished) - len(stopped)
    arms, done = by_arm(records), by_arm(finished)
    if not records or not done or (unfinished and len(done) < min(2, len(arms))):
        return _none(f"No verdict yet: {_waiting(done, arms)}.", provisional=bool(unfinished))
    ranked = rankings(finished, redrawn)
    if not ranked:
        return _none("No final model was measured, so there is nothing to compare.", provisional=bool(unfinished))
    last = ranked[-1]
    said = [f"Provisional, as {_runs(unfinished, len(records))}."] if unfinished else []
    cheapest, target = None, None
    if not last.behind:
        said.append(_alone(last, done[last.best]))
    else:
        said += [_best(last), *_behind(last), *_with_less(ranked)]
        cheapest, target, sentence = _cheapest(done, redrawn)
        said += sentence
    said += [*_left_out(done, last), *_stopped(stopped, done)]
    return Verdict(
        best=last.best,
        cheapest=cheapest or last.best,
        target=target,
        rivals=last.equals,
        text=" ".join(said),
        rankings=tuple(ranked),
        provisional=bool(unfinished),
    )


def _none(text: str, *, provisional: bool) -> Verdict:
    return Verdict(None, None, None, (), text, provisional=provisional)


def _waiting(done: Mapping[str, object], arms: Mapping[str, object]) -> str:
    if not arms:
        return "there is no run"
    if not done:
        return "no run is finished"
    return f"of {len(arms)} arms only {_list(list(done))} has a finished run"


def _runs(unfinished: int, runs: int) -> str:
    return f"{unfinished} of {runs} runs {'is' if unfinished == 1 else 'are'} not finished"


def _alone(ranking: Ranking, runs: Sequence[RunRecord]) -> str:
    labels = {run.accuracies("final")[-1][0] for run in runs if run.accuracies("final")}
    bought = f" with {count(max(labels))} labels" if len(labels) == 1 else ""
    reached = f"{ranking.best}: final models reach {_accuracy(ranking.accuracy)}{bought}"
    return f"{reached}, for {dollars(ranking.cost)} in all (labels and compute)."


def _best(ranking: Ranking) -> str:
    nobody = "no arm is told apart as the best; " if len(ranking.equals) == len(ranking.behind) else ""
    place = "first" if ranking.equals else "best"
    money = " in all (labels and compute)" if ranking.cost else ""
    return (
        f"With {ranking.amount}{money} {nobody}{ranking.best} is {place}: its final models reach "
        f"{_accuracy(ranking.accuracy)}."
    )


def _accuracy(found: Interval) -> str:
    return f"{found.mean:.3f} ({'one seed' if found.seeds == 1 else f'mean of {found.seeds} seeds'})"


def _behind(ranking: Ranking) -> list[str]:
    """Which arms are worse by more than chance, and which are not told apart."""
    compared = [(other, other.difference) for other in ranking.behind if other.difference is not None]
    worse = [
        f"{other.arm} (by {fixed(found.mean, 3)}, 95 % interval {fixed(found.low, 3)} to {fixed(found.high, 3)})"
        for other, found in compared
        if other.told_apart
    ]
    doubts = [f"{other.arm} ({_doubt(found)})" for other, found in compared if not other.told_apart and found.seeds > 1]
    single = [other.arm for other, found in compared if found.seeds == 1]
    apart = [other.arm for other in ranking.behind if other.difference is None]
    said = []
    if worse:
        said.append(f"Behind it {_are(worse)} {_list(worse)}.")
    if doubts:
        said.append(f"Not told apart from it: {_list(doubts)}.")
    if single:
        said.append(f"One seed tells nothing apart ({_list(single)}): run three or more.")
    if apart:
        said.append(f"Without a seed in common with it, and so not compared: {_list(apart)}.")
    return said


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _doubt(found: Interval) -> str:
    if abs(found.mean) < 0.0005:
        return "as good"
    return f"{found.mean:.3f} behind; {seeds_that_would_tell(found)}"


def seeds_that_would_tell(found: Interval) -> str:
    """How many more seeds, in words: about so many, or that seeds would not."""
    more = found.more_seeds()
    if more is not None:
        return f"about {more} more seed{'' if more == 1 else 's'} would tell"
    if found.rows_hide_it and found.mean:
        return "more test rows would be needed to tell, not seeds"
    return f"not even {MOST_SEEDS} seeds would tell"


def _with_less(ranked: Sequence[Ranking]) -> list[str]:
    """Which arm is best for less money."""
    said = []
    for ranking in ranked[:-1]:
        equals = f", not told apart from {_list(list(ranking.equals))}" if ranking.equals else ""
        said.append(f"with {ranking.amount} {ranking.best} ({ranking.accuracy.mean:.3f}{equals})")
    return [f"For less: {'; '.join(said)}."] if said else []


def _cheapest(
    arms: Mapping[str, Sequence[RunRecord]], redrawn: Redrawn | None
) -> tuple[str | None, float | None, list[str]]:
    """The arm that pays the least for what every run reaches, that accuracy, and a sentence."""
    if not all(has_curve(run) for runs in arms.values() for run in runs):
        said = "What an accuracy costs is not known: it takes final models at two label counts or more for every run"
        return None, None, [f"{said} (training.evaluate_at=several)."]
    reached = min(max(value for _, value in run.accuracies("final")) for runs in arms.values() for run in runs)
    target = math.floor(reached * 1000) / 1000
    prices = sorted((price_of(runs, target, redrawn) for runs in arms.values()), key=lambda price: round(price.mean, 2))
    cheapest, *others = prices
    if not prices[-1].mean:
        return None, target, []
    if round(prices[-1].mean, 2) == round(cheapest.mean, 2):
        return None, target, [f"Every run reaches {target:.3f}, and all arms pay the same for it, {cheapest.text}."]
    against = [
        f"{price.text} for {price.arm}{'' if price.dearer_than(cheapest) else ' (not told apart)'}" for price in others
    ]
    sentence = f"Every run reaches {target:.3f}; {cheapest.arm} pays the least in all for it, {cheapest.text}, against"
    return cheapest.arm, target, [f"{sentence} {_list(against)}."]


def _left_out(arms: Mapping[str, Sequence[RunRecord]], last: Ranking) -> list[str]:
    """What the comparison does without."""
    ranked = {last.best, *(other.arm for other in last.behind)}
    missing = [arm for arm in arms if arm not in ranked]
    said = [f"{_list(missing)} {'has' if len(missing) == 1 else 'have'} no final model."] if missing else []
    if last.labelled is None and last.behind:
        said.append("The arms have no label count in common: each is taken at its end.")
    return said


def _stopped(stopped: Sequence[RunRecord], done: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Which arms were stopped early, with all seeds or with some, so that what is told of them is of the others."""
    arms = by_arm(stopped)
    out = [arm for arm in arms if arm not in done]
    said = [f"Stopped early, and so not in the answer: {_list(out)}."] if out else []
    partly = [f"{arm} ({len(runs)} of {len(runs) + len(done[arm])} seeds)" for arm, runs in arms.items() if arm in done]
    if partly:
        said.append(f"Told of by the seeds that were not stopped early, and better for it: {_list(partly)}.")
    return said


def _list(names: Iterable[str]) -> str:
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last
