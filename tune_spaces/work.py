"""The jobs of a trial that cost most, extractions and trainings, with keys that are equal where the work is.

What a key holds is known before anything runs: rows that two trials are sure to have labelled alike are told by what
made them. Whether an indicator will ask for a refresh is not known, so work is counted twice: as if none did (the
fewest jobs), and as if all did whenever they are asked, each at other rows (the most).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from asvp.alignment.verification import holdout_share
from asvp.compute.jobs import TrainingMethod
from asvp.config import Config, evaluated_counts, labels_by_round
from asvp.driver.prepared import Prepared
from asvp.features.cache import content_key
from asvp.tune_spaces.behaviour import refreshes


@dataclass(frozen=True)
class ExtractionWork:
    """Rows to encode.

    Attributes
    ----------
    key : hashable
        Equal for equal work.
    encoder : hashable
        Equal for trials whose data, encoder and shards are equal.
    rows : int
    source : {"pool", "test"}
    first : bool
        Whether the pre-trained encoder makes them (version 0).
    """

    key: Hashable
    encoder: Hashable
    rows: int
    source: Literal["pool", "test"]
    first: bool


@dataclass(frozen=True)
class TrainingWork:
    """An encoder to fine-tune, or a linear probe.

    Attributes
    ----------
    key, encoder : hashable
        As of an extraction.
    method : {"ft", "lp_ft", "lp"}
    rows, epochs : int
    """

    key: Hashable
    encoder: Hashable
    method: TrainingMethod
    rows: int
    epochs: int


Work = ExtractionWork | TrainingWork


def shared_by(config: Config) -> str:
    """Equal for trials that share version 0 of the features."""
    return content_key(*(part.model_dump() for part in (config.data, config.encoder, config.extraction)))


def each_encoder(prepared: Iterable[Prepared]) -> dict[Hashable, Prepared]:
    """One of the trials for each data and encoder that they share, by `shared_by`."""
    found: dict[Hashable, Prepared] = {}
    for one in prepared:
        found.setdefault(shared_by(one.config), one)
    return found


def work_of(prepared: Prepared, *, most: bool) -> set[Work]:
    """The extractions and trainings of a trial, each once.

    Parameters
    ----------
    prepared : Prepared
    most : bool
        Whether refreshes that are not sure are taken to come.
    """
    when = refreshes(prepared.config)
    rounds = when.rounds if most or when.certain else ()
    return set(_Trial(prepared, rounds, certain=when.certain or not most).work())


def distinct(trials: Iterable[Prepared], *, most: bool) -> list[Work]:
    """The work of all trials, what is equal once, in the order of trials."""
    found: dict[Work, None] = {}
    for prepared in trials:
        found |= dict.fromkeys(work_of(prepared, most=most))
    return list(found)


@dataclass(frozen=True)
class _Trial:
    """A trial that refreshes its features in given rounds."""

    prepared: Prepared
    refreshed: tuple[int, ...]
    certain: bool

    def work(self) -> Iterator[Work]:
        pool, test = len(self.prepared.dataset.pool), len(self.prepared.dataset.test)
        shared = shared_by(self.prepared.config)
        yield ExtractionWork((shared, "pool"), shared, pool, source="pool", first=True)
        yield ExtractionWork((shared, "test"), shared, test, source="test", first=True)
        for number in self.refreshed:
            model = self._training("ft", number, holdout_share(self.prepared.mode.refresh.holdout))
            yield model
            yield ExtractionWork((model.key, "pool"), shared, pool, source="pool", first=False)
            yield ExtractionWork((model.key, "test"), shared, test, source="test", first=False)
        for number in self._evaluated():
            model = self._training(self._method(number), number)
            yield model
            if model.method != "lp":
                yield ExtractionWork((model.key, "test"), shared, test, source="test", first=False)

    def _evaluated(self) -> list[int]:
        """Rounds after which a final model is trained."""
        config = self.prepared.config
        evaluated = evaluated_counts(config.budget, config.training.evaluate_at)
        return [n for n, count in enumerate(labels_by_round(config.budget)) if count in evaluated]

    def _method(self, number: int) -> TrainingMethod:
        """As `asvp.driver.model_maker` decides."""
        method = self.prepared.config.training.method
        if method != "auto":
            return method
        if self.prepared.dataset.kind == "features":
            return "lp"
        return "ft" if any(earlier <= number for earlier in self.refreshed) else "lp_ft"

    def _training(self, method: TrainingMethod, number: int, kept_out: float = 0.0) -> TrainingWork:
        config = self.prepared.config
        settings = config.training.model_dump_json(exclude={"method", "evaluate_at", "keep"})
        labelled = labels_by_round(config.budget)[number]
        rows = labelled - round(kept_out * labelled)
        # What an indicator refreshes at is only assumed, so nobody else is sure to do the same.
        own = None if self.certain or number not in self.refreshed else self.prepared.mode.policy
        key = (method, settings, self._labelled(number), kept_out, own)
        return TrainingWork(key, shared_by(config), method, rows, config.training.epochs)

    def _labelled(self, number: int) -> Hashable:
        """What the rows labelled by the end of a round follow from."""
        config, mode = self.prepared.config, self.prepared.mode
        begun = (shared_by(config), config.seed, config.selection.cold_start, tuple(config.budget[: number + 1]))
        if number == 0:
            return begun
        selection = config.selection
        chosen = selection.model_dump_json(include={"strategy", "options", "wrap"})
        if not self.prepared.selection.inputs:
            return begun, chosen
        before = tuple(earlier for earlier in self.refreshed if earlier < number)
        how: Hashable = None
        if before:
            told = config.training.model_dump_json(exclude={"method", "evaluate_at", "keep"})
            how = (before, mode.refresh.features, mode.refresh.holdout, told, None if self.certain else mode.policy)
        return begun, chosen, mode.scoring, config.proxy.model_dump_json(), how
