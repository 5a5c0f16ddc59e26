"""Local paths made absolute: workers and trials have working directories of their own."""

from __future__ import annotations

import re
from pathlib import Path

from asvp.config import Config
from asvp.data.open_source import is_remote, plugin_place
from asvp.features.store import local_root
from asvp.files import local_folder


def with_absolute_paths(config: Config) -> Config:
    """The same with local paths made absolute: workers and trials have working directories of their own."""
    data = config.data.model_copy(
        update={
            key: _absolute(value)
            for key in ("pool", "test", "oracle")
            if (value := getattr(config.data, key)) is not None
        }
    )
    if data.root is not None and not is_remote(data.root):
        data = data.model_copy(update={"root": _from_the_root(data.root)})
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
