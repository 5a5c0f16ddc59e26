"""What a sweep will do and need, worked out before it starts: trials, jobs after sharing, device-hours, bytes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asvp.compute.placement import Placement
from asvp.config import CostConfig
from asvp.driver.prepared import Prepared
from asvp.spent import NOTHING, Share, Spent
from asvp.tune_spaces.cautions import cautions
from asvp.tune_spaces.earlier import Seconds, loop_key
from asvp.tune_spaces.rates import Rates, cost_of, is_cached
from asvp.tune_spaces.room import Bytes, Sizes, room_of
from asvp.tune_spaces.space import Trial
from asvp.tune_spaces.work import ExtractionWork, TrainingWork, Work, distinct, work_of

_HOUR = 3600.0


@dataclass(frozen=True)
class Between:
    """A number that is known within bounds: the lower where no indicator asks for a refresh, the upper where all do."""

    low: float
    high: float

    def times(self, factor: float) -> Between:
        """So many times as much."""
        return Between(self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Jobs:
    """How many jobs of a kind there are.

    Attributes
    ----------
    asked : Between
        By all trials, each as if it were alone.
    distinct : Between
        Of which this many are different, as far as that is known; the others are shared.
    cached : int
        Of the different ones, found in the cache.
    """

    asked: Between
    distinct: Between
    cached: int = 0


@dataclass(frozen=True)
class Estimate:
    """What the work comes to, what is shared or in the cache left out.

    Attributes
    ----------
    cpu_hours, gpu_hours : Between
        Hours of cores and of GPUs.
    dollars : Between
        At the prices of the configuration.
    wall_seconds : Between
        With all workers at work all the time; a sweep takes longer.
    """

    cpu_hours: Between
    gpu_hours: Between
    dollars: Between
    wall_seconds: Between


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will do and need.

    Attributes
    ----------
    arms : mapping of str to mapping
        What each changes.
    seeds : tuple of int
    pool_extractions, test_extractions, trainings : Jobs
    placement : Placement
    estimate : Estimate or None
        None where no rate is known at all.
    unknown : tuple of str
        Kinds of work that the estimate leaves out, since nobody knows their rate.
    measured : bool
        Whether a rate was measured just now, on a small sample; the others are remembered.
    labels : int
        Bought by all trials.
    label_dollars : float
    room : Bytes or None
        None where the width of features was not looked up.
    warnings : tuple of str
        What will cost money or hurt, each with its mend.
    """

    arms: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    pool_extractions: Jobs
    test_extractions: Jobs
    trainings: Jobs
    placement: Placement
    estimate: Estimate | None
    unknown: tuple[str, ...]
    measured: bool
    labels: int
    label_dollars: float
    room: Bytes | None
    warnings: tuple[str, ...]

    @property
    def trials(self) -> int:
        """Arms times seeds."""
        return len(self.arms) * len(self.seeds)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "trials": self.trials}


def plan_sweep(
    trials: Sequence[Trial],
    prepared: Mapping[str, Prepared],
    placement: Placement,
    rates: Mapping[Hashable, Rates],
    sizes: Mapping[Hashable, Sizes] | None = None,
    loops: Seconds | None = None,
) -> SweepPlan:
    """Count, and estimate where rates are known; nothing is measured, read or started.

    Parameters
    ----------
    trials : sequence of Trial
    prepared : mapping of str to Prepared
        By the trial's name.
    placement : Placement
        Of the workers.
    rates : mapping of hashable to Rates
        By `asvp.tune_spaces.work.shared_by`.
    sizes : mapping of hashable to Sizes, optional
        By the same; None: no bytes are told.
    loops : mapping of hashable to float, optional
        Busy seconds of a round, by `asvp.tune_spaces.earlier.loop_key`.
    """
    each = [prepared[trial.name] for trial in trials]
    fewest, most = distinct(each, most=False), distinct(each, most=True)
    cost = trials[0].config.cost
    labels = sum(sum(trial.config.budget) for trial in trials)
    rounds, without = _loops(each, loops or {})
    around = Share(placement.cpus, placement.gpus).spent(rounds)
    known, unknown = _estimate(fewest, most, placement, rates, cost, around)
    return SweepPlan(
        arms={trial.arm: trial.changes for trial in trials},
        seeds=tuple(dict.fromkeys(trial.seed for trial in trials)),
        pool_extractions=_jobs(each, fewest, most, rates, "pool"),
        test_extractions=_jobs(each, fewest, most, rates, "test"),
        trainings=_jobs(each, fewest, most, rates, "training"),
        placement=placement,
        estimate=known,
        unknown=(*unknown, *without),
        measured=any(one.measured for one in rates.values()),
        labels=labels,
        label_dollars=labels * cost.per_label,
        room=None if sizes is None else room_of(each, most, placement, rates, sizes),
        warnings=tuple(cautions(trials, each, placement, rates)),
    )


def _kind(work: Work) -> str:
    return "training" if isinstance(work, TrainingWork) else work.source


def _count(works: Sequence[Work] | set[Work], kind: str) -> int:
    return sum(_kind(work) == kind for work in works)


def _jobs(
    each: Sequence[Prepared], fewest: Sequence[Work], most: Sequence[Work], rates: Mapping[Hashable, Rates], kind: str
) -> Jobs:
    asked = (sum(_count(work_of(prepared, most=most), kind) for prepared in each) for most in (False, True))
    cached = sum(_kind(work) == kind and is_cached(work, rates) for work in fewest)
    return Jobs(Between(*asked), Between(_count(fewest, kind), _count(most, kind)), cached)


def _estimate(
    fewest: Sequence[Work],
    most: Sequence[Work],
    placement: Placement,
    rates: Mapping[Hashable, Rates],
    cost: CostConfig,
    around: Spent,
) -> tuple[Estimate | None, tuple[str, ...]]:
    """What is known of the cost, that of the work around the jobs included, and what is not."""
    unknown = sorted({_in_words(work) for work in most if not is_cached(work, rates) and cost_of(work, rates) is None})
    if all(cost_of(work, rates) is None for work in most):
        return None, tuple(unknown)
    low, high = (
        sum((cost_of(work, rates) or NOTHING for work in works if not is_cached(work, rates)), around)
        for works in (fewest, most)
    )
    cpu, gpu = Between(low.cpu_seconds, high.cpu_seconds), Between(low.gpu_seconds, high.gpu_seconds)
    # The scarcer kind of device decides: all workers' GPUs, or their cores where there are none.
    wall = (gpu if placement.gpus else cpu).times(1 / (placement.workers * (placement.gpus or placement.cpus)))
    cpu, gpu = cpu.times(1 / _HOUR), gpu.times(1 / _HOUR)
    dollars = Between(*(cost.cpu_hour * a + cost.gpu_hour * b for a, b in ((cpu.low, gpu.low), (cpu.high, gpu.high))))
    return Estimate(cpu, gpu, dollars, wall), tuple(unknown)


def _loops(each: Sequence[Prepared], loops: Seconds) -> tuple[float, tuple[str, ...]]:
    """Busy seconds of proxies, picks and indicators in all rounds whose like has been run; what is said of others."""
    keys = {id(prepared): loop_key(prepared.config.model_dump(mode="json")) for prepared in each}
    known = [prepared for prepared in each if keys[id(prepared)] in loops]
    seconds = sum(loops[keys[id(prepared)]] * len(prepared.config.budget) for prepared in known)
    missing = len(each) - len(known)
    return seconds, (f"picks ({missing:,} trial{'' if missing == 1 else 's'})",) if missing else ()


def _in_words(work: Work) -> str:
    return "extraction" if isinstance(work, ExtractionWork) else f"training ({work.method})"
