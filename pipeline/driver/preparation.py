"""Everything that can be checked before work starts, checked; nothing is written."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asvp.config import Config, labels_by_round
from asvp.data import Dataset, open_dataset
from asvp.data.open_source import is_remote, plugin_place
from asvp.driver.modes import ModePlan, plan_mode
from asvp.errors import BudgetError, ConfigError
from asvp.features.cache import Cache, content_key, parse_size
from asvp.features.store import local_root
from asvp.models.encoder import check_encoder, encoder_spec_fingerprint
from asvp.models.encoder.images import check_augmentation
from asvp.models.encoder.location import local_folder
from asvp.progress import Reporter
from asvp.selection import check_strategy
from asvp.selection.contract import Plan

_SAMPLE_TEXTS = 64


@dataclass(frozen=True)
class Prepared:
    """A configuration that can be run.

    Attributes
    ----------
    config : Config
    dataset : Dataset
    mode : ModePlan
    selection : Plan
    cold_start : Plan
    cache : Cache or None
    """

    config: Config
    dataset: Dataset
    mode: ModePlan
    selection: Plan
    cold_start: Plan
    cache: Cache | None

    @property
    def looks_at_features(self) -> bool:
        """Whether rows are chosen, or refreshes decided, by looking at features."""
        asked = self.selection.inputs or self.cold_start.inputs or self.mode.policy.needs
        return bool(asked) or self.mode.scoring == "head"

    def plan(self, number: int) -> Plan:
        """What chooses the rows of a round."""
        return self.selection if number else self.cold_start

    def resolved(self, dtype: str) -> Prepared:
        """The same with `encoder.dtype: auto` replaced by what it became."""
        encoder = self.config.encoder.model_copy(update={"dtype": dtype})
        return replace(self, config=self.config.model_copy(update={"encoder": encoder}))

    def encoder_fingerprint(self) -> str:
        """Of the pre-trained encoder; `encoder.dtype` must be resolved."""
        if self.dataset.kind == "features":
            return "none"
        encoder = self.config.encoder
        return content_key(encoder_spec_fingerprint(encoder, self.dataset.kind), encoder.batch_size)


def prepare(config: Config, dataset: Dataset | None = None) -> Prepared:
    """Check a configuration against its data, encoder and strategies.

    Raises
    ------
    ConfigError, DataError, EncoderError, SelectionError, BudgetError, CacheError
        Whatever is wrong first, with key, value and mend.
    """
    config = with_absolute_paths(config)
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
    cache = open_cache(config)
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
    return Prepared(config, dataset, mode, selection, cold_start, cache)


def tell_of_data(prepared: Prepared, reporter: Reporter) -> None:
    """Say, a line each, what was left out of the data or looks unintended; `asvp check` looks at the rows too."""
    for note in prepared.dataset.notes:
        reporter.say(f"Warning: {note}")


def with_absolute_paths(config: Config) -> Config:
    """The same with local paths made absolute: actors and trials have working directories of their own."""
    data = config.data.model_copy(
        update={
            key: _absolute(value)
            for key in ("pool", "test", "oracle")
            if (value := getattr(config.data, key)) is not None
        }
    )
    encoder = config.encoder
    if local_folder(encoder.model) is not None:
        encoder = encoder.model_copy(update={"model": _absolute(encoder.model)})
    extraction = config.extraction
    if extraction.cache is not None:
        extraction = extraction.model_copy(update={"cache": local_root(extraction.cache)})
    return config.model_copy(update={"data": data, "encoder": encoder, "extraction": extraction})


def _absolute(place: str) -> str:
    """A local path from the root; URIs, built-in sets and data sets of the hub as they are."""
    if is_remote(place):
        return place
    named = plugin_place(place)
    if named is not None:
        return f"{named[0]}:{_absolute_where_it_is_a_path(named[1])}"
    kind, colon, path = place.rpartition("imagefolder:")
    return f"{kind}{colon}{_from_the_root(path)}"


def _absolute_where_it_is_a_path(place: str) -> str:
    """What another package opens: all of it, or what is before a ? or #, may be a local path that is there."""
    for path in (place, re.split("[?#]", place)[0]):
        if path and Path(path).expanduser().exists():
            return _from_the_root(path) + place[len(path) :]
    return place


def _from_the_root(path: str) -> str:
    return str(Path(path).expanduser().absolute())


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
        check_encoder(config.encoder, dataset.kind, _sample_of_texts(dataset))
        if dataset.kind == "image" and config.training.augment and _will_fine_tune(config, mode):
            check_augmentation()
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
