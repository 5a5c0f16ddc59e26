"""Everything that can be checked before work starts, checked; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asvp.config import Config, labels_by_round
from asvp.data import Dataset, open_dataset
from asvp.data.open_source import require_places
from asvp.driver.absolute_paths import with_absolute_paths
from asvp.driver.modes import ModePlan, plan_mode
from asvp.driver.prepared import Prepared
from asvp.errors import BudgetError, ConfigError
from asvp.features.cache import Cache, parse_size

if TYPE_CHECKING:
    from asvp.selection.contract import Plan

_SAMPLE_TEXTS = 64


def prepare(config: Config, dataset: Dataset | None = None) -> Prepared:
    """Check a configuration against its data, encoder and strategies.

    Raises
    ------
    ConfigError, DataError, EncoderError, SelectionError, BudgetError, CacheError
        Whatever is wrong first, with key, value and mend.
    """
    config = with_absolute_paths(config)
    cache = look_ahead(config) if dataset is None else open_cache(config)
    # PyTorch comes with these: what needs none of it is refused before.
    from asvp.compute.picking import choice_of
    from asvp.selection import check_strategy

    selection = check_strategy(
        config.selection.strategy, config.selection.options, config.selection.wrap, key="selection."
    )
    cold_start = check_strategy(config.selection.cold_start, key="selection.cold_start.")
    if not cold_start.cold_start:
        raise ConfigError(
            "needs labels or a model, so it cannot make the first picks",
            key="selection.cold_start",
            value=config.selection.cold_start,
            mend="Use random, or a strategy that `asvp strategies` marks as a cold start",
        )
    _check_sharded(config, selection)
    if dataset is None:
        dataset = open_dataset(config.data, digests=digest_folder(cache))
    total = labels_by_round(config.budget)[-1]
    if total > len(dataset.pool):
        raise BudgetError(
            f"the pool has only {len(dataset.pool)} rows",
            key="budget",
            value=total,
            mend="Buy fewer labels, or raise data.limit",
        )
    mode = plan_mode(config)
    if mode.scoring == "head" and "members" in selection.inputs:
        raise ConfigError(
            "needs an ensemble of proxies, and this mode scores with the one head that was fine-tuned",
            key="selection.strategy",
            value=config.selection.strategy,
            mend="Use mode svp or asvp",
        )
    _check_encoder_use(config, dataset, mode)
    chosen = config.selection
    return Prepared(
        config,
        dataset,
        mode,
        choice_of(selection, chosen.strategy, chosen.options, chosen.wrap),
        choice_of(cold_start, chosen.cold_start),
        cache,
    )


def look_ahead(config: Config) -> Cache | None:
    """The cache of a configuration; raises what `prepare` would for it, and for local data that is not there, at once.

    `prepare` does so by itself; this is for whoever else has PyTorch to import.
    """
    config = with_absolute_paths(config)
    cache = open_cache(config)
    require_places(config.data)
    return cache


def open_cache(config: Config) -> Cache | None:
    """The cache of a configuration; None where it has none."""
    parse_size(config.extraction.cache_limit)
    if config.extraction.cache is None:
        return None
    return Cache(config.extraction.cache, config.extraction.cache_limit)


def digest_folder(cache: Cache | None) -> Path | None:
    """Where fingerprints of unchanged files are remembered: beside a local cache."""
    if cache is None or "://" in cache.root:
        return None
    return Path(cache.root) / "digests"


def _check_sharded(config: Config, selection: Plan) -> None:
    if config.selection.sharded is True and not selection.sharded:
        names = [selection.info.name, *(wrapper.name for wrapper, _ in selection.wrappers)]
        raise ConfigError(
            f"{' in '.join(names)} needs all rows in one process",
            key="selection.sharded",
            value=True,
            mend="Use auto or false, another strategy (`asvp strategies` tells which can), or put it in subsample",
        )


def _check_encoder_use(config: Config, dataset: Dataset, mode: ModePlan) -> None:
    if dataset.kind != "features":
        from asvp.models.encoder import check_encoder

        trained = _will_fine_tune(config, mode)
        checkpointing = config.training.checkpointing and trained
        check_encoder(config.encoder, dataset.kind, _sample_of_texts(dataset), checkpointing=checkpointing)
        return
    if mode.refresh.policy != "never":
        raise ConfigError(
            "these rows are ready-made features: there is no encoder to fine-tune",
            key="mode",
            value=config.mode,
            mend="Use mode svp, or give the rows themselves (text or images)",
        )
    if config.training.method not in ("auto", "lp"):
        raise ConfigError(
            "these rows are ready-made features: only a linear probe can be trained on them",
            key="training.method",
            value=config.training.method,
            mend="Use lp or auto",
        )


def _will_fine_tune(config: Config, mode: ModePlan) -> bool:
    """Whether the encoder itself is trained at any time, and not only a probe on its features."""
    return mode.refresh.policy != "never" or config.training.method != "lp"


def _sample_of_texts(dataset: Dataset) -> list[str]:
    """The first texts of the pool, which the encoder's tokenizer is tried on."""
    if dataset.kind != "text":
        return []
    taken = dataset.pool.take(np.arange(min(_SAMPLE_TEXTS, len(dataset.pool)), dtype=np.int64))
    return [row for row in taken if isinstance(row, str)]
