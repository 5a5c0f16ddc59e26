"""What will cost money or come to nothing in a sweep, told before it starts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from asvp.compute.placement import Placement
from asvp.driver.cautions import WHOLE_POOL, told_of_arms
from asvp.driver.prepared import Prepared
from asvp.tune_spaces.behaviour import refreshes
from asvp.tune_spaces.rates import Rates
from asvp.tune_spaces.space import Trial
from asvp.tune_spaces.work import TrainingWork, shared_by, work_of


def cautions(
    trials: Sequence[Trial], each: Sequence[Prepared], placement: Placement, rates: Mapping[Hashable, Rates]
) -> Iterator[str]:
    """A sentence for each, with its mend; arms are named once, whatever the seeds.

    Parameters
    ----------
    trials : sequence of Trial
    each : sequence of Prepared
        Of the trials, in their order.
    placement : Placement
    rates : mapping of hashable to Rates
        By `shared_by`.
    """
    arms = {trial.arm: prepared for trial, prepared in zip(trials, each, strict=True)}
    # A trial that goes on has more in its configuration: what was decided when it began.
    yield from told_of_arms(
        [(trial.config, prepared.dataset.kind) for trial, prepared in zip(trials, each, strict=True)]
    )
    asking = [arm for arm, one in arms.items() if one.mode.refresh.policy != "never"]
    never = [arm for arm in asking if not refreshes(arms[arm].config).rounds]
    if never:
        yield (
            f"{_listed(never)}: no refresh can come before the last round, by the interval or by the limits "
            "refresh.min_left, min_growth and min_labels. Buy in more rounds, or begin with fewer labels"
        )
    whole = [arm for arm, one in arms.items() if sum(one.config.budget) == len(one.dataset.pool)]
    if whole:
        yield f"{_listed(whole)}: {WHOLE_POOL}. Lower budget, or raise data.limit"
    if placement.gpus and not any(_works_on_an_encoder(one, rates) for one in arms.values()):
        yield (
            f"The workers hold {placement.workers * placement.gpus:g} GPUs, and no arm extracts or fine-tunes: the "
            "features are there already, and proxies alone are fitted. With -s workers.gpus=0 you pay for cores only"
        )
    if any(prepared.cache is None for prepared in arms.values()):
        yield (
            "extraction.cache is null: only jobs at the same time are shared, and a resume computes again what was "
            "extracted and trained. Name a folder that every node sees"
        )


def _works_on_an_encoder(prepared: Prepared, rates: Mapping[Hashable, Rates]) -> bool:
    if prepared.dataset.kind == "features":
        return False
    trains = any(isinstance(work, TrainingWork) and work.method != "lp" for work in work_of(prepared, most=True))
    return trains or not rates[shared_by(prepared.config)].cached >= {"pool", "test"}


def _listed(arms: Sequence[str]) -> str:
    named = ", ".join(arms[:3])
    more = f" and {len(arms) - 3} more" if len(arms) > 3 else ""
    return f"{'Arm' if len(arms) == 1 else 'Arms'} {named}{more}"
