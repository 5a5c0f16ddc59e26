"""From what the configuration names to a source of rows."""

from __future__ import annotations

from pipeline.config import DataConfig
from pipeline.data import arrays, images, tables
from pipeline.data.arrays import ArraySource
from pipeline.data.digests import Digests
from pipeline.data.feature_column import FeatureColumn
from pipeline.data.images import ImageColumn, ImageFolder
from pipeline.data.source import Source
from pipeline.data.storage import StoredFile, locate, nearest
from pipeline.data.table_source import Column, TableSource, TextColumn
from pipeline.data.tables import Tables
from pipeline.errors import DataError

IMAGE_FOLDER = "imagefolder:"


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
