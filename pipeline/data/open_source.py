"""From what the configuration names to a source of rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from asvp.config import DataConfig
from asvp.data import arrays, images, tables
from asvp.data.arrays import ArraySource
from asvp.data.digests import Digests
from asvp.data.feature_column import FeatureColumn
from asvp.data.images import ImageColumn, ImageFolder
from asvp.data.source import Kind, Source
from asvp.data.storage import BUILTIN, StoredFile, locate, nearest
from asvp.data.table_source import Column, TableSource, TextColumn
from asvp.data.tables import Tables
from asvp.errors import DataError
from asvp.plugins import SOURCES, call_plugin, is_import_path, load_plugin, plugins

IMAGE_FOLDER = "imagefolder:"
_HOW_A_SOURCE_IS_OPENED = "A source is opened by a function (place, config) -> Source; docs/extending.md shows one"
_PLACE = re.compile(r"^[A-Za-z_][\w.-]*:(?!//)")


def open_source(config: DataConfig, split: str, digests: Digests) -> Source:
    """Open the rows of one split.

    Parameters
    ----------
    config : DataConfig
    split : {"pool", "test"}
        Which of `config.pool` and `config.test` to open.
    digests : Digests

    Raises
    ------
    DataError
        If there is nothing to open, or it cannot be used.
    """
    key = f"data.{split}"
    value = config.pool if split == "pool" else config.test or config.pool
    named = plugin_place(value)
    if named is not None:
        return _from_plugin(*named, config, key)
    if config.image is not None and config.features is not None:
        mend = "Name the column of one of them, and set the other to null"
        raise DataError("contradicts data.features", key="data.image", value=config.image, mend=mend)
    path = value.removeprefix(IMAGE_FOLDER)
    storage, stored, is_folder = locate(path, key=key, split=split, suffixes=(*tables.SUFFIXES, *images.SUFFIXES))
    if is_folder:
        table_files = [] if path != value else _ending(stored, tables.SUFFIXES)
        image_files = _ending(stored, images.SUFFIXES)
        if not table_files and not image_files:
            what = "image files" if path != value else "table or image files"
            counted = images.SUFFIXES if path != value else (*tables.SUFFIXES, *images.SUFFIXES)
            mend = f"Files that count end in {' '.join(counted)}"
            raise DataError(f"is a folder without {what}", key=key, value=value, mend=mend)
        if not table_files:
            return ImageFolder(storage, image_files, key=key, value=value, digests=digests)
        stored = table_files
    elif path != value:
        raise DataError("is a file", key=key, value=value, mend="Name the folder whose sub-folders are the classes")
    elif stored[0].path.lower().endswith(".npz"):
        name = config.features or arrays.DEFAULT_NAME
        return ArraySource(
            storage, stored[0], features=name, label=config.label, id=config.id, key=key, value=value, digests=digests
        )
    opened = Tables(storage, stored, key=key, value=value)
    names = opened.schema.names
    label = _label_column(config, split, names, opened)
    default_id = DataConfig.model_fields["id"].default
    id = config.id if config.id in names or config.id != default_id else None
    return TableSource(opened, _content(config), label=label, id=id, digests=digests)


def plugin_place(value: str) -> tuple[str, str] | None:
    """The opener and the place that a value of the form `NAME:PLACE` or `package.module:FUNCTION:PLACE` names, or None.

    NAME is an entry point of the group "asvp.sources", installed or not; `builtin:`, `imagefolder:` and URIs are none,
    and a file or folder that is there goes first.
    """
    reserved = value.startswith((BUILTIN, IMAGE_FOLDER))
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
    return _checked(call_plugin(open_rows, place, config, key=key, value=value), key, value)


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


def _content(config: DataConfig) -> Column:
    if config.features is not None:
        return FeatureColumn(config.features)
    return TextColumn(config.text) if config.image is None else ImageColumn(config.image)


def _label_column(config: DataConfig, split: str, names: list[str], opened: Tables) -> str | None:
    """The label column; None where the pool may do without."""
    if config.label in names:
        return config.label
    if split == "pool" and config.oracle is not None:
        return None
    mend = f"{nearest(config.label, names)}Columns there: {', '.join(names)}"
    if split == "pool":
        mend += ". Labels may also come from data.oracle, a file with columns id and label"
    where = opened.storage.shown(opened.files[0].stored.path)
    raise DataError(f"is no column of {where}", key="data.label", value=config.label, mend=mend)


def _ending(stored: list[StoredFile], suffixes: tuple[str, ...]) -> list[StoredFile]:
    return [file for file in stored if file.path.lower().endswith(suffixes)]
