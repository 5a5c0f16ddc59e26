"""`asvp extract`: fill the cache with version-0 features, alone; a team does this once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asvp.compute import Extraction
from asvp.config import Config
from asvp.driver.loop import open_backend
from asvp.driver.preparation import prepare
from asvp.driver.prepared import tell_of_code, tell_of_data
from asvp.errors import ConfigError
from asvp.features.feature_set import FeatureSet
from asvp.features.lateness import telling_lateness
from asvp.progress import Reporter


@dataclass(frozen=True)
class Extracted:
    """What is in the cache now, for one source of rows.

    Attributes
    ----------
    title : str
        "pool" or "test".
    rows, dim, nbytes : int
    seconds : float
        Busy seconds of the workers, in this and earlier calls.
    reused : bool
        Whether all of it was there already.
    key : str
        Of the cache entry.
    """

    title: str
    rows: int
    dim: int
    nbytes: int
    seconds: float
    reused: bool
    key: str

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self)


def extract(config: Config, *, in_process: bool, address: str | None, reporter: Reporter) -> list[Extracted]:
    """Extract pool and test features into the cache; what an interrupted call has left there is kept.

    Raises
    ------
    ConfigError
        If the configuration has no cache.
    AsvpError
        If the input is wrong, or a row cannot be read.
    """
    if config.extraction.cache is None:
        raise ConfigError("is needed to keep the features", key="extraction.cache", mend="Name a folder or URI")
    reporter.say("Reading the data and the encoder")
    prepared = prepare(config)
    dataset = prepared.dataset
    tell_of_data(prepared, reporter)
    tell_of_code(prepared.trusted, reporter.say)
    if not in_process:
        reporter.say("Starting workers")
    with (
        telling_lateness(reporter.say),
        open_backend(prepared, reporter, in_process=in_process, address=address) as backend,
    ):
        encoder = prepared.resolved_by(backend, backend.machine()).encoder_fingerprint
        made = [
            _extracted(title, backend.extract(Extraction(source, encoder, 0, config.extraction, title=title)))
            for title, source in (("pool", dataset.pool), ("test", dataset.test))
        ]
    if prepared.cache is not None:
        prepared.cache.trim(frozenset(one.key for one in made), reporter.say)
    return made


def _extracted(title: str, features: FeatureSet) -> Extracted:
    return Extracted(
        title=title,
        rows=len(features),
        dim=features.dim,
        nbytes=features.nbytes,
        seconds=features.spent.seconds,
        reused=features.saved == features.spent,
        key=features.fingerprint,
    )
