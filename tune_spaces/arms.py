"""Arms by the dozen, along the three axes of a study: budgets, strategies and refreshes; and their cross product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from asvp.config import Config, labels_by_round
from asvp.config.budget import format_budget
from asvp.errors import ConfigError
from asvp.tune_spaces.naming import joined, part

Arms = dict[str, dict[str, Any]]


def budgets(*totals: int, round_size: int | Sequence[int], first: int | None = None) -> Arms:
    """Budgets of these totals, each with each size of a round: 500 in rounds of 100 after a first of 200 is 200+100x3.

    Parameters
    ----------
    *totals : int
        Labels at the end.
    round_size : int or sequence of int
        Labels a round; the last round takes what is left.
    first : int, optional
        Labels of the first round; None: `round_size`.

    Raises
    ------
    ConfigError
        If a number is below 1, or the first round would buy more than the total.
    """
    sizes = [round_size] if isinstance(round_size, int) else list(round_size)
    found: Arms = {}
    for total, size in product(totals, sizes):
        begin = size if first is None else first
        if size < 1 or not 1 <= begin <= total:
            raise ConfigError(
                "cannot be split so", key="budgets", value=[total, size, begin], mend="Give a total above the rounds"
            )
        whole, rest = divmod(total - begin, size)
        rounds = [begin, *[size] * whole, *([rest] if rest else [])]
        found[format_budget(rounds)] = {"budget": rounds}
    return found


def strategies(*names: str, **named: Mapping[str, Any]) -> Arms:
    """Arms that choose rows by these strategies.

    Parameters
    ----------
    *names : str
        Strategies with the options they have by default.
    **named : mapping
        The section `selection` of an arm of that name: `{"strategy": "badge", "options": {}, "wrap": [...]}`.
    """
    found: Arms = {part("", name): {"selection": {"strategy": name, "options": {}}} for name in names}
    return found | {name: {"selection": dict(selection)} for name, selection in named.items()}


def refreshes(
    *,
    never: bool = False,
    every: Sequence[int] = (),
    at: Sequence[int | Sequence[int]] = (),
    logme: Sequence[float | None] = (),
    logme_ped: Sequence[float | None] = (),
    standard: bool = False,
) -> Arms:
    """Arms that refresh their features by these rules.

    Parameters
    ----------
    never : bool
        `svp`: the pre-trained features all along.
    every : sequence of int
        `asvp_every_2`: rounds between refreshes.
    at : sequence of int, or of sequences of int
        `asvp_at_200`, `asvp_at_100+400`: label counts to refresh at.
    logme, logme_ped : sequence of float or None
        `asvp_logme_ped_0.12`: the indicator's threshold; None, `asvp_logme_ped`: the measured default.
    standard : bool
        `standard`: a fine-tune every round, whose own head chooses.
    """
    found: Arms = {"svp": {"mode": "svp"}} if never else {}
    for rounds in every:
        found[f"asvp_{part('every', rounds)}"] = _asvp("every", every=rounds)
    for counts in at:
        listed = [counts] if isinstance(counts, int) else list(counts)
        found[f"asvp_{part('at', listed)}"] = _asvp("at", at=listed)
    for policy, thresholds in (("logme", logme), ("logme_ped", logme_ped)):
        for threshold in thresholds:
            name = f"asvp_{policy}" if threshold is None else f"asvp_{part(policy, float(threshold))}"
            found[name] = _asvp(policy, threshold=threshold)
    return found | ({"standard": {"mode": "standard"}} if standard else {})


def cross(*parts: Mapping[str, Mapping[str, Any]]) -> Arms:
    """Every combination of arms, one of each part; names are joined.

    Raises
    ------
    ConfigError
        If two arms of one combination change the same option.
    """
    found: Arms = {}
    for chosen in product(*(arms.items() for arms in parts)):
        changes: dict[str, Any] = {}
        for name, changed in chosen:
            changes = _together(changes, changed, name)
        found[joined("", [name for name, _ in chosen])] = changes
    return found


def intervals(rounds: int) -> list[int]:
    """1, 2, 4, ...: rounds between refreshes, as long as one comes before the last of so many rounds."""
    return [2**power for power in range(rounds) if 2**power < rounds]


def indicator(config: Config) -> dict[str, Any]:
    """What an arm changes that asks the configuration's own indicator, or LogME-PED where it names none."""
    refresh = config.refresh
    if refresh.policy in ("logme", "logme_ped"):
        return _asvp(refresh.policy, threshold=refresh.threshold)
    return _asvp("logme_ped")


def require_rounds(config: Config, fewest: int, reason: str) -> list[int]:
    """Label counts at the ends of rounds, of which there have to be so many.

    Raises
    ------
    ConfigError
        If there are fewer, with the reason.
    """
    counts = labels_by_round(config.budget)
    if len(counts) < fewest:
        number = {2: "two", 3: "three"}.get(fewest, str(fewest))
        raise ConfigError(
            f"needs {number} rounds or more, {reason}",
            key="budget",
            value=config.budget,
            mend="Write for example 200+200x4",
        )
    return counts


def _asvp(policy: str, **told: Any) -> dict[str, Any]:
    """What another policy of the shared configuration was told must not reach this one."""
    return {"mode": "asvp", "refresh": {"policy": policy, "every": None, "at": None, "threshold": None, **told}}


def _together(one: Mapping[str, Any], other: Mapping[str, Any], name: str, path: str = "") -> dict[str, Any]:
    both = dict(one)
    for key, value in other.items():
        if isinstance(both.get(key), Mapping) and isinstance(value, Mapping):
            both[key] = _together(both[key], value, name, f"{path}{key}.")
        elif key in both:
            raise ConfigError("is changed by two arms of one combination", key=f"{path}{key}", value=value, mend=name)
        else:
            both[key] = value
    return both
