"""What a configuration comes to: in which rounds features may be refreshed, and what else makes a difference."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from asvp.alignment.policy import Attempt, EveryRounds, Limited, Observation
from asvp.alignment.verification import holdout_share
from asvp.config import Config, labels_by_round
from asvp.driver.modes import plan_mode


@dataclass(frozen=True)
class Refreshes:
    """When an arm refreshes its features.

    Attributes
    ----------
    rounds : tuple of int
        In which it does, or at most does.
    certain : bool
        Whether it does: an indicator may say no, and a verified refresh may be put aside.
    """

    rounds: tuple[int, ...]
    certain: bool


def refreshes(config: Config) -> Refreshes:
    """Ask the policy in every round but the last, after which nothing is left to choose.

    An indicator is taken to say yes whenever it is asked; its limits hold (`refresh.min_growth`, `refresh.min_left`).
    """
    plan = plan_mode(config)
    policy = plan.policy
    if policy.needs and isinstance(policy, Limited):
        policy = replace(policy, policy=EveryRounds(1))
    counts = labels_by_round(config.budget)
    attempts: list[Attempt] = []
    for number, labelled in enumerate(counts[:-1]):
        observation = Observation(
            round=number,
            labelled=labelled,
            refreshes=len(attempts),
            rounds_since_refresh=number - (attempts[-1].round if attempts else -1),
            logme=None,
            logme_ped=None,
            attempts=tuple(attempts),
            left=counts[-1] - labelled,
        )
        if policy.decide(observation).refresh:
            attempts.append(Attempt(number, labelled, kept=True))
    verified = holdout_share(plan.refresh.holdout) > 0
    return Refreshes(tuple(attempt.round for attempt in attempts), not plan.policy.needs and not verified)


def behaviour(config: Config) -> Hashable:
    """Equal for configurations that differ in nothing that is ever looked at, the seed apart.

    Options of other policies than the arm's, those of a refresh that never comes, and defaults that are spelt out make
    no difference.

    Raises
    ------
    SelectionError
        If the strategy or one of its options is none.
    """
    # PyTorch comes with it, and whoever reads a space can do without.
    from asvp.selection import check_strategy

    selection = config.selection
    plan = check_strategy(selection.strategy, selection.options, selection.wrap, key="selection.")
    options = [(wrapper.name, own.model_dump_json()) for wrapper, own in plan.wrappers]
    chosen = (selection.strategy, plan.options.model_dump_json(), *options)
    mode, when = plan_mode(config), refreshes(config)
    how: Hashable = None
    if when.rounds:
        policy = mode.policy if mode.policy.needs else when.rounds
        how = (policy, mode.refresh.features, holdout_share(mode.refresh.holdout))
    rest = config.model_dump_json(exclude={"seed": True, "mode": True, "refresh": True, "selection": _CHOSEN})
    return mode.scoring, chosen, how, rest


_CHOSEN = {"strategy", "options", "wrap"}
