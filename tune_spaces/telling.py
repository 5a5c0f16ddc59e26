"""A plan in words: two lines at a sweep's start, and the rows of `asvp sweep --dry-run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from asvp.compute.placement import Placement
from asvp.driver.prepared import Prepared
from asvp.driver.words import duration, size
from asvp.tune_spaces.earlier import round_seconds, runs_beside
from asvp.tune_spaces.plan import Between, Jobs, SweepPlan, plan_sweep
from asvp.tune_spaces.rates import known_rates
from asvp.tune_spaces.space import Trial


def tell_start(
    trials: Sequence[Trial],
    prepared: Mapping[str, Prepared],
    placement: Placement,
    out: Path,
    say: Callable[[str], None],
) -> None:
    """Say in a line what a sweep does, in another what that takes, and whatever costs money for nothing."""
    gpu = placement.gpus > 0
    rates, loops = known_rates(prepared.values(), gpu=gpu), round_seconds(runs_beside(out), gpu=gpu)
    plan = plan_sweep(trials, prepared, placement, rates, loops=loops)
    extractions, trainings = plan.pool_extractions.distinct, plan.trainings.distinct
    say(
        f"{_of(plan)}; {number(extractions, 'extraction')} of the pool and {number(trainings, 'training')} after "
        f"sharing, on {placement}"
    )
    say(estimate_in_words(plan))
    for warning in plan.warnings:
        say(f"Warning: {warning}")


def rows(plan: SweepPlan, *, cache: str | None, disk: int | None, out: str, out_disk: int | None) -> dict[str, str]:
    """What is told of a plan, by its name.

    Parameters
    ----------
    plan : SweepPlan
    cache : str or None
        `extraction.cache`.
    disk, out_disk : int or None
        Bytes free where the cache and the sweep directory lie; None: not known.
    out : str
        The sweep directory.
    """
    told = {
        "trials": _of(plan),
        "extractions": f"of the pool {_jobs(plan.pool_extractions)}; of the test rows {_jobs(plan.test_extractions)}",
        "trainings": _jobs(plan.trainings),
        "workers": f"{plan.placement}",
        "time and cost": estimate_in_words(plan),
        "labels": f"{plan.labels:,} bought by all trials, which are charged ${plan.label_dollars:,.2f}",
    }
    if plan.room is not None:
        room = plan.room
        told |= {
            "object store": f"at most {size(room.store)} for features, over all nodes",
            "cache": f"{cache}: at most {size(room.cache)} more{_free(disk)}" if cache else "none",
            "directory": f"{out}: at most {size(room.runs)} for models{_free(out_disk)}",
        }
    return told


def estimate_in_words(plan: SweepPlan) -> str:
    """What the work takes, how that is known, and what of it is not."""
    found, missing = plan.estimate, _listed(plan.unknown)
    if found is None:
        return f"How long that takes is not known: no rate of {missing} is remembered here"
    devices = [
        f"{_hours(hours)} {name}-hours"
        for name, hours in (("GPU", found.gpu_hours), ("core", found.cpu_hours))
        if hours.high
    ]
    how = (
        "extraction measured on a small sample, all else as remembered here" if plan.measured else "as remembered here"
    )
    without = f", without {missing}, of which no rate is remembered here" if missing else ""
    if not devices:
        return f"Nothing is left to extract or to train{without}"
    dollars = between(found.dollars, lambda value: f"${value:,.2f}" if value >= 0.1 else f"${value:.2g}")
    amount = f"{', '.join(devices)}, {dollars}, {between(found.wall_seconds, duration)} or more"
    return f"About {amount} ({how}{without}; evaluations and idle workers come on top)"


def number(count: Between, thing: str = "") -> str:
    """Things: 12, 12 to 18, 1 training, 12 trainings."""
    amount = between(count, lambda value: f"{value:,.0f}")
    return amount if not thing else f"{amount} {thing}{'' if count.high == 1 else 's'}"


def between(value: Between, word: Callable[[float], str]) -> str:
    """One word where both bounds are told alike, else two."""
    low, high = word(value.low), word(value.high)
    return low if low == high else f"{low} to {high}"


def _of(plan: SweepPlan) -> str:
    trials, arms, seeds = (Between(count, count) for count in (plan.trials, len(plan.arms), len(plan.seeds)))
    return f"{number(trials, 'trial')}: {number(arms, 'arm')} x {number(seeds, 'seed')}"


def _jobs(jobs: Jobs) -> str:
    asked = [f"{number(jobs.asked)} asked for"] if jobs.asked != jobs.distinct else []
    cached = [f"{jobs.cached} in the cache"] if jobs.cached else []
    told = "; ".join([*asked, *cached])
    return number(jobs.distinct) + (f" ({told})" if told else "")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(one for one in (", ".join(names[:-1]), *names[-1:]) if one)


def _hours(hours: Between) -> str:
    return between(hours, lambda value: f"{value:.1f}" if value >= 10 else f"{value:.2g}")


def _free(disk: int | None) -> str:
    return "" if disk is None else f", {size(disk)} free"
