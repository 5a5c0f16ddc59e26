"""How much disk the models of a run take at most."""

from __future__ import annotations

from dataclasses import dataclass

from asvp.config import Config, evaluated_counts, labels_by_round
from asvp.driver.modes import ModePlan


@dataclass(frozen=True)
class ModelDisk:
    """Bytes that models of a run take at most.

    Attributes
    ----------
    cache : int
        In the cache, one for every training; trainings that several runs share are there once.
    checkpoint : int
        In the run directory while the run lasts; next to nothing where the cache has the weights.
    final : int
        In the run directory, for good.
    """

    cache: int
    checkpoint: int
    final: int


def model_disk(config: Config, mode: ModePlan, weights: int) -> ModelDisk:
    """What the models of a run take, of which each has so many bytes of weights."""
    refreshes = _most_refreshes(config, mode)
    tunes = config.training.method != "lp"
    finals = len(evaluated_counts(config.budget, config.training.evaluate_at))
    cached = config.extraction.cache is not None
    return ModelDisk(
        cache=weights * (refreshes + (finals if tunes else 0)) if cached else 0,
        checkpoint=weights if refreshes and not cached else 0,
        final=0 if config.training.keep == "none" else weights,
    )


def _most_refreshes(config: Config, mode: ModePlan) -> int:
    refresh, before_the_last = mode.refresh, len(config.budget) - 1
    if refresh.policy == "never":
        return 0
    if refresh.policy == "at":
        return len(set(refresh.at or []) & set(labels_by_round(config.budget)[:-1]))
    return before_the_last // (refresh.every or 1) if refresh.policy == "every" else before_the_last
