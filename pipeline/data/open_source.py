"""From what the configuration names to a source of rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from asvp.config import DataConfig
from asvp.data import arrays
from asvp.data.arrays import ArraySource
from asvp.data.boundary import Boundary
from asvp.data.digests import Digests
from asvp.data.feature_column import FeatureColumn
from asvp.data.findings import Finding
from asvp.data.folders import choose_files, told_of
from asvp.data.guarded import GuardedSource
from asvp.data.hugging_face import bookkeeping, hub_files, is_hub_place, is_saved, saved_files
from asvp.data.images import ImageColumn, ImageFolder
from asvp.data.listing import Listing, locate, require_place
from asvp.data.source import Kind, Source
from asvp.data.storage import BUILTIN, Storage, StoredFile, nearest
from asvp.data.table_source import Column, TableSource, TextColumn
from asvp.data.tables import Tables
from asvp.errors import DataError
from asvp.plugins import SOURCES, call_plugin, is_import_path, load_plugin, plugins

IMAGE_FOLDER = "imagefolder:"
_HOW_A_SOURCE_IS_OPENED = "A source is opened by a function (place, config) -> Source; docs/extending.md shows one"
_PLACE = re.compile(r"^[A-Za-z_][\w.-]*:(?!//)")


def open_source(config: DataConfig, split: str, digests: Digests, notes: list[Finding] | None = None) -> Source:
    """Open the rows of one split.

    Parameters
    ----------
    config : DataConfig
    split : {"pool", "test"}
        Which of `config.pool` and `config.test` to open.
    digests : Digests
    notes : list of Finding, optional
        Gets what is to be told: what was left out, and what looks unintended.

    Raises
    ------
    DataError
        If there is nothing to open, or it cannot be used.
    """
    key = f"data.{split}"
    value = config.pool if split == "pool" else config.test or config.pool
    notes = [] if notes is None else notes
    named = plugin_place(value)
    if named is not None:
        return _from_plugin(*named, config, key)
    if config.image is not None and config.features is not None:
        mend = "Name the column of one of them, and set the other to null"
        raise DataError("contradicts data.features", key="data.image", value=config.image, mend=mend)
    if is_hub_place(value):
        listing, label_names = hub_files(value, key=key, split=split)
        return _table_source(config, split, listing.storage, listing.files, digests, notes, label_names)
    path = value.removeprefix(IMAGE_FOLDER)
    listing = locate(path, key=key, split=split)
    if listing.is_folder:
        return _from_folder(config, split, listing, digests, notes, images_only=path != value)
    if path != value:
        raise DataError("is a file", key=key, value=value, mend="Name the folder whose sub-folders are the classes")
    if listing.files[0].path.lower().endswith(".npz"):
        return ArraySource(
            listing.storage,
            listing.files[0],
            features=config.features or arrays.DEFAULT_NAME,
            label=config.label,
            id=config.id,
            key=key,
            value=value,
            digests=digests,
        )
    return _table_source(config, split, listing.storage, listing.files, digests, notes, {})


def require_places(config: DataConfig) -> None:
    """Raise a DataError where a built-in set, or a local file or folder, is named that is not there; nothing is read.

    What lies elsewhere, or is opened by another package, is found out when it is opened.
    """
    for split, value in (("pool", config.pool), ("test", config.test)):
        if value is None or plugin_place(value) is not None or (is_remote(value) and not value.startswith(BUILTIN)):
            continue
        require_place(value.removeprefix(IMAGE_FOLDER), key=f"data.{split}", split=split)


def _from_folder(
    config: DataConfig, split: str, listing: Listing, digests: Digests, notes: list[Finding], *, images_only: bool
) -> Source:
    key = f"data.{split}"
    value = config.pool if split == "pool" else config.test or config.pool
    if is_saved(listing) and not images_only:
        saved, label_names = saved_files(listing, key, value)
        boundary_of(config).require(listing, saved.files, key=key, value=value)
        notes += told_of(listing, saved.files, value, besides=bookkeeping(listing))
        return _table_source(config, split, saved.storage, saved.files, digests, notes, label_names)
    chosen = choose_files(listing, images_only=images_only, with_images=config.image is not None, key=key, value=value)
    notes += chosen.notes
    boundary_of(config).require(listing, chosen.files, key=key, value=value)
    if chosen.are_images:
        return ImageFolder(
            *(listing.storage, chosen.files, config.max_image_bytes), key=key, value=value, digests=digests
        )
    return _table_source(config, split, listing.storage, chosen.files, digests, notes, {})


def _table_source(
    config: DataConfig,
    split: str,
    storage: Storage,
    stored: list[StoredFile],
    digests: Digests,
    notes: list[Finding],
    label_names: dict[str, list[str]],
) -> TableSource:
    value = config.pool if split == "pool" else config.test or config.pool
    opened = Tables(storage, stored, key=f"data.{split}", value=value)
    label = _label_column(config, split, opened)
    id = _id_column(config, opened, notes)
    return TableSource(
        opened, _content(config), label=label, id=id, digests=digests, label_names=label_names.get(config.label)
    )


def is_remote(value: str) -> bool:
    """Whether a value is a URI, a built-in set or a data set of the hub: no path of this machine."""
    return "://" in value or value.startswith(BUILTIN) or is_hub_place(value)


def plugin_place(value: str) -> tuple[str, str] | None:
    """The opener and the place that a value of the form `NAME:PLACE` or `package.module:FUNCTION:PLACE` names, or None.

    NAME is an entry point of the group "asvp.sources", installed or not; `builtin:`, `imagefolder:`, `hf:` and URIs are
    none, and a file or folder that is there goes first.
    """
    reserved = value.startswith((BUILTIN, IMAGE_FOLDER)) or is_hub_place(value)
    if reserved or not _PLACE.match(value) or Path(value).expanduser().exists():
        return None
    head, _, rest = value.partition(":")
    function, second, place = rest.partition(":")
    opener = f"{head}:{function}"
    return (opener, place) if second and head not in plugins(SOURCES) and is_import_path(opener) else (head, rest)


def _from_plugin(opener: str, place: str, config: DataConfig, key: str) -> Source:
    value = f"{opener}:{place}"
    open_rows = load_plugin(SOURCES, opener, key=key)
    if open_rows is None:
        known = sorted(plugins(SOURCES))
        mend = f"{nearest(opener, known)}Sources of installed packages: {', '.join(known) or 'none'}"
        raise DataError(f"there is no such file, nor a source {opener!r}", key=key, value=value, mend=mend)
    if not callable(open_rows):
        message = f"names a {type(open_rows).__name__}, not a function"
        raise DataError(message, key=key, value=value, mend=_HOW_A_SOURCE_IS_OPENED)
    source = _checked(call_plugin(open_rows, place, config, key=key, value=value), key, value)
    return GuardedSource(source, config, key=key, value=value)


def _checked(source: object, key: str, value: str) -> Source:
    """What another package opened, if it is a source with rows."""
    if not isinstance(source, Source):
        message = f"gives a {type(source).__name__}, not a source of rows"
        raise DataError(message, key=key, value=value, mend=_HOW_A_SOURCE_IS_OPENED)
    if source.kind not in get_args(Kind):
        message = f"gives rows of kind {source.kind!r}, which is none of {', '.join(get_args(Kind))}"
        raise DataError(message, key=key, value=value, mend="asvp.data.testing checks what a source promises")
    if len(source) == 0:
        raise DataError("holds no rows", key=key, value=value)
    return source


def boundary_of(config: DataConfig) -> Boundary:
    """What the rows that a configuration names may refer to; errors as of `Boundary`."""
    return Boundary(config.root, config.allow_outside)


def _content(config: DataConfig) -> Column:
    if config.features is not None:
        return FeatureColumn(config.features)
    if config.image is None:
        return TextColumn(config.text, config.max_text_bytes)
    return ImageColumn(config.image, boundary_of(config), config.max_image_bytes)


def _label_column(config: DataConfig, split: str, opened: Tables) -> str | None:
    """The label column; None where the pool may do without."""
    having = opened.having(config.label)
    if any(having):
        _check_everywhere(having, config.label, "data.label", opened)
        return config.label
    if split == "pool" and config.oracle is not None:
        return None
    extra = ". Labels may also come from data.oracle, a file with columns id and label" if split == "pool" else ""
    try:
        opened.types(config.label, "data.label")
    except DataError as error:
        raise DataError(error.message, key=error.key, value=error.value, mend=f"{error.mend}{extra}") from None
    return config.label


def _id_column(config: DataConfig, opened: Tables, notes: list[Finding]) -> str | None:
    """The id column; None where rows are named by their numbers."""
    if config.id is None:
        return None
    having = opened.having(config.id)
    if any(having) or config.id != DataConfig.model_fields["id"].default:
        _check_everywhere(having, config.id, "data.id", opened)
        return config.id
    other = next((name for name in opened.names if name.lower() == config.id), None)
    if other is not None:
        message = f"{opened.value} has a column {other!r} but none called {config.id!r}, so rows are named by number"
        notes.append(Finding("id_by_another_name", 1, message, f"Set data.id to {other}, or to null"))
    return None


def _check_everywhere(having: list[bool], column: str, key: str, opened: Tables) -> None:
    """Raise a DataError where some files have a column and others lack it."""
    if any(having) and not all(having):
        without = opened.storage.shown(opened.files[having.index(False)].stored.path)
        message = f"is a column of {sum(having)} of {len(having)} files, and is missing in {without}"
        mend = "Give it to all files" + (", or set data.id to null" if key == "data.id" else " or to none")
        raise DataError(message, key=key, value=column, mend=mend)
