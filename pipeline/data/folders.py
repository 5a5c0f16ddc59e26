"""What of a folder is read as rows, and what is told of the rest."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from asvp.data import images, tables, text_files
from asvp.data.findings import Finding, by_ending, some
from asvp.data.listing import Listing
from asvp.data.storage import StoredFile
from asvp.errors import DataError

BINARY_TABLES = tables.SUFFIXES
SEPARATED = text_files.endings(text_files.SEPARATED)
JSON_LINES = text_files.endings(text_files.JSON_LINES[:2])
JSON = text_files.endings(text_files.JSON_LINES[2:])

_SPLITS = frozenset(
    {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation", "holdout"}
    | {"pool", "unlabeled", "unlabelled"}
)
_UNREMARKABLE = frozenset({"thumbs.db", "desktop.ini", "_success", "_metadata", "_common_metadata"})
_NOTES = (".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".log", ".html", ".pdf")
"""Endings of what people lay beside their pictures; a folder of nothing else is no class that lost its rows."""


@dataclass(frozen=True)
class Chosen:
    """The files of a folder that are rows, whether they are images, and what is to be told of the others."""

    files: list[StoredFile]
    are_images: bool
    notes: list[Finding]


def choose_files(listing: Listing, *, images_only: bool, with_images: bool, key: str, value: str) -> Chosen:
    """Choose one kind of files of a folder: Parquet and Arrow, else images, else CSV, else JSON Lines.

    Parameters
    ----------
    listing : Listing
    images_only : bool
        Tables do not count.
    with_images : bool
        Images beside tables are no surprise: a column names them.

    Raises
    ------
    DataError
        If there is no such file, CSV and JSON Lines lie together, a class is left without an image, or the classes of
        an image folder are splits.
    """
    found = {
        kind: [file for file in listing.ending(endings) if kind == "images" or not _underscored(file.path)]
        for kind, endings in (
            ("tables", BINARY_TABLES),
            ("images", images.SUFFIXES),
            ("separated", SEPARATED),
            ("json lines", JSON_LINES),
            ("json", JSON),
        )
    }
    order = ("images",) if images_only else tuple(found)
    kind = next((kind for kind in order if found[kind]), None)
    if kind is None:
        raise _nothing_to_read(listing, images_only, key, value)
    if kind == "separated" and found["json lines"]:
        mend = "Name a file, or move one kind into a folder of its own"
        raise DataError("holds both CSV and JSON Lines files", key=key, value=value, mend=mend)
    files = found[kind]
    notes = _left_out(listing, files, with_images and kind != "images", value)
    if kind == "images":
        notes += _check_image_classes(listing, files, key, value)
    else:
        notes += _table_notes(listing, files, value)
    return Chosen(files, kind == "images", notes)


def told_of(listing: Listing, files: Sequence[StoredFile], value: str, *, besides: set[str]) -> list[Finding]:
    """What is to be told of a folder whose files are known: all others but `besides` are left out."""
    return _left_out(listing, files, False, value, besides)


def _left_out(
    listing: Listing, files: Sequence[StoredFile], with_images: bool, value: str, besides: Collection[str] = ()
) -> list[Finding]:
    read = {*(file.path for file in files), *besides}
    others = [
        file.path
        for file in listing.files
        if file.path not in read
        and file.path.rpartition("/")[2].lower() not in _UNREMARKABLE
        and not (with_images and file.path.lower().endswith(images.SUFFIXES))
    ]
    notes = []
    if others:
        message = f"{len(others):,} files of {value} are left out ({by_ending(others)}): {some(others)}"
        mend = "Convert them if they are rows, or move them away"
        notes.append(Finding("left_out", len(others), message, mend))
    readable = (*BINARY_TABLES, *images.SUFFIXES, *SEPARATED, *JSON_LINES)
    hidden = [path for path in listing.hidden if path.lower().endswith(readable)]
    if hidden:
        message = f"{len(hidden):,} files of {value} are left out, as a name with a dot in front is: {some(hidden)}"
        notes.append(Finding("hidden_files", len(hidden), message, "Rename them if they are rows"))
    if listing.not_plain:
        count = len(listing.not_plain)
        message = f"{count:,} entries of {value} are left out, links to nothing or no files: {some(listing.not_plain)}"
        notes.append(Finding("no_plain_files", count, message, "Put back what the links lead to, or take them away"))
    if listing.loops:
        count = len(listing.loops)
        message = f"{count:,} links of {value} lead to a folder they lie in and are not followed: {some(listing.loops)}"
        notes.append(Finding("link_loops", count, message, "Take these links away"))
    return notes


def _check_image_classes(listing: Listing, files: list[StoredFile], key: str, value: str) -> list[Finding]:
    """Hold the folders of an image folder against what classes look like."""
    filled = {file.path.partition("/")[0] for file in files if "/" in file.path}
    for name in listing.folders:
        if name not in filled:
            _check_no_class(listing, name, key, value)
    below: dict[str, set[str]] = {}
    for file in files:
        top, *deeper = file.path.split("/")[:-1] or [""]
        below.setdefault(top, set()).update(deeper[:1])
    if filled and len(filled) == len(below) and all(name.lower() in _SPLITS for name in filled):
        first = sorted(filled)[0]
        mend = f"Name one of them, such as {value.rstrip('/')}/{first}"
        raise DataError(
            f"its folders are splits, not classes: {', '.join(sorted(filled))}", key=key, value=value, mend=mend
        )
    shared = set.intersection(*below.values()) if len(below) > 1 else set()
    if len(shared) > 1:
        message = (
            f"each of the {len(below)} class folders of {value} holds folders of the same names, "
            f"{some(sorted(shared))}; the classes are {some(sorted(below))}"
        )
        return [Finding("nested_classes", len(below), message, "If the inner folders are the classes, name one outer")]
    return []


def _check_no_class(listing: Listing, name: str, key: str, value: str) -> None:
    """Raise a DataError where a folder without an image seems to be a class that lost its images."""
    inside = [file.path for file in listing.files if file.path.startswith(f"{name}/")]
    if not inside and any(path.startswith(f"{name}/") for path in (*listing.hidden, *listing.loops)):
        return
    if inside and all(path.lower().endswith(_NOTES) for path in inside):
        return
    what = f"none of its {len(inside):,} files is read ({by_ending(inside)})" if inside else "it is empty"
    mend = "Convert its files, such as to JPEG or PNG, or move the folder away"
    raise DataError(f"the class {name!r} has no image: {what}", key=key, value=value, mend=mend)


def _table_notes(listing: Listing, files: list[StoredFile], value: str) -> list[Finding]:
    notes = []
    splits = sorted({name for file in files if (name := _split_of(file.path)) is not None})
    if len(splits) > 1:
        message = f"the files of {value} seem to be of several splits, {some(splits)}, and all of them are read"
        mend = "Name the file or folder of one split"
        notes.append(Finding("splits_together", len(splits), message, mend))
    if any(file.path.startswith("_delta_log/") for file in listing.files):
        message = f"{value} is a Delta Lake table, and all of its files are read, those of old versions too"
        notes.append(Finding("versioned_table", 1, message, "Write the version you mean as plain Parquet"))
    return notes


def _split_of(path: str) -> str | None:
    """The split that a path such as train/0.parquet or data/test-00000-of-00001.parquet names."""
    *folders, name = path.lower().split("/")
    words = [*folders, re.split(r"[-_.]", name)[0]]
    return next((word for word in words if word in _SPLITS), None)


def _underscored(path: str) -> bool:
    """Whether a table lies under a name with an underscore in front, as writers name what is no data."""
    return any(part.startswith("_") and "=" not in part for part in path.split("/"))


def _nothing_to_read(listing: Listing, images_only: bool, key: str, value: str) -> DataError:
    what = "image files" if images_only else "table or image files"
    counted = images.SUFFIXES if images_only else (*BINARY_TABLES, *SEPARATED, *JSON_LINES, *images.SUFFIXES)
    others = [file.path for file in listing.files]
    there = f"; there are {by_ending(others)}" if others else ""
    plain = [ending for ending in counted if ending.count(".") == 1]
    mend = f"Files that count end in {' '.join(plain)}"
    return DataError(f"is a folder without {what}{there}", key=key, value=value, mend=mend)
