"""What extractions and trainings cost here before, as the cache remembers it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asvp.compute import Extraction
from asvp.driver.prepared import Prepared
from asvp.errors import AsvpError
from asvp.features.cache import EntryInfo
from asvp.spent import NOTHING, Spent
from asvp.tune_spaces.work import ExtractionWork, Work, each_encoder


@dataclass(frozen=True)
class Rates:
    """Costs of a row, of one encoder on one kind of device.

    Attributes
    ----------
    encoded : Spent or None
        Of a row encoded; None: nobody knows.
    trained : mapping of str to Spent
        Of a row in an epoch, by the method of training, as far as it is known.
    measured : bool
        Whether `encoded` was measured just now, on a small sample; else it is remembered.
    cached : frozenset of str
        Which of the pre-trained features, "pool" and "test", are in the cache.
    """

    encoded: Spent | None = None
    trained: Mapping[str, Spent] = field(default_factory=dict)
    measured: bool = False
    cached: frozenset[str] = frozenset()


def known_rates(prepared: Iterable[Prepared], *, gpu: bool) -> dict[Hashable, Rates]:
    """What is remembered of each encoder, by `asvp.tune_spaces.work.shared_by`, on workers with or without a GPU."""
    return {shared: remembered(one, gpu=gpu) for shared, one in each_encoder(prepared).items()}


def remembered(prepared: Prepared, *, gpu: bool) -> Rates:
    """What the cache tells of an encoder on workers with or without a GPU.

    Entries of a remote cache are not listed, which may take minutes: there only the features themselves are asked for.
    """
    cache, config = prepared.cache, prepared.config
    if cache is None:
        return Rates()
    fingerprint = _resolved(prepared, gpu=gpu).encoder_fingerprint
    cached, told = set(), []
    for name, source in (("pool", prepared.dataset.pool), ("test", prepared.dataset.test)):
        extraction = Extraction(source, fingerprint, 0, config.extraction)
        entry = cache.entry("features", extraction.fingerprint)
        spent = entry.spent()
        try:
            whole = len(entry.parts()) == len(extraction.starts) - 1
        except AsvpError:
            continue
        if spent is not None and whole:
            cached.add(name)
            told.append((len(source), spent))
    try:
        listed = [] if "://" in cache.root else cache.entries()
    except AsvpError:
        listed = []
    features = [one for entry in listed if (one := _told(entry, "features", fingerprint)) is not None]
    models = [entry for entry in listed if entry.kind == "models"]
    methods = {str(entry.description.get("method")) for entry in models}
    trained = {
        method: rate
        for method in sorted(methods & {"ft", "lp_ft", "lp"})
        if (rate := _rate([one for entry in models if (one := _told(entry, "models", fingerprint, method))], gpu=gpu))
    }
    return Rates(_rate(features or told, gpu=gpu), trained, cached=frozenset(cached))


def is_cached(work: Work, rates: Mapping[Hashable, Rates]) -> bool:
    """Whether some work was done before, as far as that can be known before anything runs."""
    return isinstance(work, ExtractionWork) and work.first and work.source in rates[work.encoder].cached


def cost_of(work: Work, rates: Mapping[Hashable, Rates]) -> Spent | None:
    """What some work takes; None where nobody knows."""
    known = rates[work.encoder]
    if isinstance(work, ExtractionWork):
        return None if known.encoded is None else known.encoded.times(work.rows)
    rate = known.trained.get(work.method)
    return None if rate is None else rate.times(work.rows * work.epochs)


def _resolved(prepared: Prepared, *, gpu: bool) -> Prepared:
    """With the encoder as it will be on the workers."""
    config, kind = prepared.config.encoder, prepared.dataset.kind
    device = "cuda" if gpu else "cpu"
    if not config.left_open(kind):
        return prepared.resolved(config, device)
    # PyTorch comes with it.
    from asvp.models.encoder import resolve_encoder

    return prepared.resolved(resolve_encoder(config, kind, device=device), device)


def _told(entry: EntryInfo, kind: str, fingerprint: str, method: str | None = None) -> tuple[int, Spent] | None:
    """Rows, times epochs where there are any, and their cost; None for entries of others and of earlier versions."""
    description: Mapping[str, Any] = entry.description
    if entry.kind != kind or description.get("encoder") != fingerprint or description.get("method") != method:
        return None
    rows, epochs, spent = (
        description.get("rows"),
        description.get("epochs", 1),
        Spent.from_json(description.get("spent")),
    )
    if type(rows) is not int or type(epochs) is not int or rows * epochs < 1 or spent is None:
        return None
    return rows * epochs, spent


def _rate(told: list[tuple[int, Spent]], *, gpu: bool) -> Spent | None:
    """The cost of a row over all of them, of those on the kind of device alone."""
    alike = [(rows, spent) for rows, spent in told if bool(spent.gpu_seconds) == gpu and spent.seconds > 0]
    if not alike:
        return None
    return sum((spent for _, spent in alike), NOTHING).times(1 / sum(rows for rows, _ in alike))
