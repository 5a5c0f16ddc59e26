"""Data sets of the Hugging Face `datasets` library: saved folders, read with pyarrow alone, and those of the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from asvp.data.listing import Listing
from asvp.data.storage import Storage
from asvp.errors import DataError, first_line
from asvp.files import parse_json

HUB = "hf:"
_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
_PLACE = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(@(?P<config>[\w.-]+))?(:(?P<split>[\w.-]+))?")


def is_hub_place(value: str) -> bool:
    """Whether a value names a data set of the hub, `hf:NAME[@CONFIG][:SPLIT]`; `hf://` URIs are files there."""
    return value.startswith(HUB) and not value.startswith(f"{HUB}//")


def is_saved(listing: Listing) -> bool:
    """Whether a folder is what `save_to_disk` wrote."""
    names = {file.path for file in listing.files}
    return listing.is_folder and (_SPLITS in names or {_STATE, _INFO} <= names)


def saved_files(listing: Listing, key: str, value: str) -> tuple[Listing, dict[str, list[str]]]:
    """The data files of a saved data set in its own order, and the names of its classes by column.

    Files beside them, such as those in which `map` kept its results, are no rows of it.

    Raises
    ------
    DataError
        If it holds several splits, selects rows of its files, or a file is missing.
    """
    names = {file.path for file in listing.files}
    if _SPLITS in names:
        splits = _read(listing.storage, _SPLITS, key, value).get("splits", [])
        mend = f"Name one of its folders, such as {value.rstrip('/')}/{splits[0] if splits else 'train'}"
        raise DataError(f"is a data set of the splits {', '.join(splits)}", key=key, value=value, mend=mend)
    state = _read(listing.storage, _STATE, key, value)
    if state.get("_indices_data_files"):
        mend = "Save it again after flatten_indices()"
        raise DataError("is a selection of the rows of its files", key=key, value=value, mend=mend)
    by_path = {file.path: file for file in listing.files}
    wanted = [str(entry["filename"]) for entry in state.get("_data_files", [])]
    lost = [name for name in wanted if name not in by_path]
    if lost or not wanted:
        missing = f"the file {lost[0]!r}" if lost else "any data file"
        raise DataError(f"has no longer {missing}", key=key, value=value, mend="Save the data set again")
    read = Listing(listing.storage, [by_path[name] for name in wanted], False)
    return read, class_names(_read(listing.storage, _INFO, key, value).get("features") or {})


def bookkeeping(listing: Listing) -> set[str]:
    """Files of a saved data set that describe it."""
    return {file.path for file in listing.files if PurePosixPath(file.path).name in (_STATE, _INFO, _SPLITS)}


def class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names of the classes of every ClassLabel column."""
    return {
        column: [str(name) for name in feature["names"]]
        for column, feature in features.items()
        if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def hub_files(value: str, *, key: str, split: str) -> tuple[Listing, dict[str, list[str]]]:
    """The Arrow files into which the `datasets` library brings a data set of the hub, and its class names.

    Parameters
    ----------
    value : str
        `hf:NAME[@CONFIG][:SPLIT]`; without a split, `train` for the pool and `test` for the test rows.
    split : {"pool", "test"}

    Raises
    ------
    DataError
        If the library is missing, or the data set cannot be found or fetched.
    """
    place = _PLACE.fullmatch(value.removeprefix(HUB))
    if place is None:
        raise DataError("is no name of a data set", key=key, value=value, mend="Write hf:NAME[@CONFIG][:SPLIT]")
    try:
        import datasets
    except ImportError:
        mend = "Install it: pip install asvp[datasets], or give files that were downloaded"
        raise DataError("needs the package datasets, which is not installed", key=key, value=value, mend=mend) from None
    wanted = place["split"] or {"pool": "train", "test": "test"}[split]
    try:
        loaded = datasets.load_dataset(place["name"], place["config"], split=wanted)
        names = class_names(loaded.features.to_dict())
        paths = [str(entry["filename"]) for entry in loaded.cache_files]
    except Exception as error:
        # The library and the hub's client fail in many ways: offline, no such name, no such split, no access.
        mend = "Check the name, the split, the network and, for a gated data set, the access"
        message = f"cannot be loaded with the package datasets: {type(error).__name__}: {first_line(error)}"
        raise DataError(message, key=key, value=value, mend=mend) from None
    storage = Storage("/", "")
    files = [file for file in storage.stat([path.lstrip("/") for path in paths]) if file is not None]
    if not files or len(files) < len(paths):
        raise DataError("left no files in the cache of datasets", key=key, value=value, mend="Load it again")
    return Listing(storage, files, False), names


def _read(storage: Storage, path: str, key: str, value: str) -> dict[str, Any]:
    try:
        content = parse_json(storage.read(path))
        if not isinstance(content, dict):
            raise ValueError("is no JSON object")
        return content
    except Exception as error:
        message = f"{storage.shown(path)} cannot be read: {first_line(error)}"
        raise DataError(message, key=key, value=value, mend="Save the data set again") from None
