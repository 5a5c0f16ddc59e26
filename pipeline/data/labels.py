"""From labels as stored to class numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asvp.errors import DataError

LabelType = Literal["text", "whole numbers", "booleans"]


@dataclass(frozen=True)
class RawLabels:
    """Labels of one source: text, int64 or boolean values, null where missing, and whose they are.

    `guessed` marks text that came from a file without types (CSV) and may stand for whole numbers.
    """

    values: pa.Array
    where: str
    guessed: bool = False

    @property
    def type(self) -> LabelType | None:
        """What the labels are; None when all are missing."""
        if len(self.values) == self.values.null_count:
            return None
        if pa.types.is_integer(self.values.type):
            return "whole numbers"
        return "booleans" if pa.types.is_boolean(self.values.type) else "text"


def check_label_type(type: pa.DataType, *, key: str, column: str, where: str) -> LabelType | None:
    """What labels of this column type are; None for a column without values.

    Raises
    ------
    DataError
        If values of this type name no classes.
    """
    if pa.types.is_null(type):
        return None
    if pa.types.is_boolean(type):
        return "booleans"
    if pa.types.is_integer(type):
        return "whole numbers"
    if is_text(type):
        return "text"
    mend = "Store labels as text or whole numbers"
    if pa.types.is_floating(type):
        mend += "; whole numbers with gaps become floats in pandas: use astype('Int64')"
    raise DataError(f"has type {type} in {where}, which names no classes", key=key, value=column, mend=mend)


def is_text(type: pa.DataType) -> bool:
    """Whether values of this type are text."""
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type))


def normalise(values: pa.Array) -> pa.Array:
    """Labels as text, int64 or booleans; empty text counts as missing."""
    if pa.types.is_integer(values.type):
        return values.cast(pa.int64())
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        return values
    text = values.cast(pa.large_string())
    return pc.if_else(pc.equal(text, ""), None, text)


def join(chunks: list[pa.Array]) -> pa.Array:
    """Arrays of one type, some perhaps without any value, as one array."""
    types = [chunk.type for chunk in chunks if not pa.types.is_null(chunk.type)]
    return pa.concat_arrays([chunk.cast(types[0]) if types else chunk for chunk in chunks])


def class_names(sources: list[RawLabels], *, key: str, column: str) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The classes of several sources together, and each source's labels as class numbers.

    Returns
    -------
    classes : tuple of C str
        Whole numbers ascending, text by code point, false before true.
    codes : list of (N,) int64
        One array a source; -1 where the label is missing.

    Raises
    ------
    DataError
        If one source has text and another numbers, or no source has any label.
    """
    sources = [_settle(source, sources) for source in sources]
    typed = [source for source in sources if source.type is not None]
    if not typed:
        raise DataError("there is no label anywhere", key=key, value=column, mend="Give labelled rows or data.oracle")
    for other in typed[1:]:
        if other.type != typed[0].type:
            message = f"labels are {typed[0].type} in {typed[0].where} but {other.type} in {other.where}"
            raise DataError(message, key=key, value=column, mend="Store both with the same type")
    merged = pa.chunked_array([source.values for source in typed])
    classes = pc.unique(merged).drop_null().sort()
    codes = [_codes(source.values, classes) for source in sources]
    return tuple(classes.cast(pa.string()).to_pylist()), codes


def _codes(values: pa.Array, classes: pa.Array) -> np.ndarray:
    if pa.types.is_null(values.type):
        return np.full(len(values), -1, dtype=np.int64)
    found = pc.index_in(values, value_set=classes).fill_null(-1)
    return np.array(found, dtype=np.int64)


def _settle(source: RawLabels, sources: list[RawLabels]) -> RawLabels:
    """Read untyped text as the type the other sources have, else as whole numbers where all of it looks so."""
    if not source.guessed or source.type != "text":
        return source
    types = {other.type for other in sources if not other.guessed and other.type is not None}
    if "text" in types:
        return source
    if types == {"booleans"}:
        lowered = pc.utf8_lower(source.values)
        if pc.all(pc.is_in(lowered, value_set=pa.array(["true", "false", None], lowered.type))).as_py():
            return RawLabels(lowered.cast(pa.bool_()), source.where)
        return source
    if pc.all(pc.match_substring_regex(source.values, r"^(0|-?[1-9][0-9]{0,17})$")).as_py():
        return RawLabels(source.values.cast(pa.int64()), source.where)
    return source
