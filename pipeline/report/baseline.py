"""Random picks, which labels saved are told against: which arm they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asvp.report.records import RunRecord

RANDOM = "random"
"""Of several arms with random picks, the one with this name comes first."""

_CHANGE_NOTHING = {"partition", "subsample"}
"""Wrappers that draw at random themselves: rows drawn uniformly stay so."""


def picks_at_random(config: Mapping[str, Any]) -> bool:
    """Whether a run's configuration buys rows drawn uniformly, on features that are never refreshed.

    The first round, which `selection.cold_start` chooses for all arms alike, is not looked at.
    """
    selection, refresh = config.get("selection") or {}, config.get("refresh") or {}
    mode = config.get("mode")
    stays = mode == "svp" or (mode == "asvp" and refresh.get("policy") == "never")
    return stays and selection.get("strategy") == "random" and _wrappers(selection) <= _CHANGE_NOTHING


def random_arms(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """The arms all of whose runs pick at random, the baseline first, from the arm and the configuration of each run.

    That is the one called `random`, or else the first.
    """
    found: dict[str, bool] = {}
    for arm, config in runs:
        found[arm] = found.get(arm, True) and picks_at_random(config)
    return sorted((arm for arm, at_random in found.items() if at_random), key=lambda arm: arm != RANDOM)


def baseline_of(records: Iterable[RunRecord]) -> str | None:
    """The arm that others are held against; None where no arm picks at random."""
    return next(iter(random_arms((run.arm, run.config) for run in records)), None)


def _wrappers(selection: Mapping[str, Any]) -> set[str]:
    """Their names, as far as the list is one."""
    wrap = selection.get("wrap") or []
    entries = wrap if isinstance(wrap, list) else [wrap]
    return {str(name) for entry in entries for name in (entry if isinstance(entry, Mapping) else [entry])}
