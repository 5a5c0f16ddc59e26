"""From labels as stored to class numbers."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asvp.data.findings import Finding, some
from asvp.errors import DataError

_NO_NAMES = frozenset({"", "nan", "none", "null", "n/a", "<na>"})

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


def normalise(values: pa.Array, column: str = "label") -> pa.Array:
    """Labels as text, int64 or booleans; empty text counts as missing.

    Raises
    ------
    DataError
        If a whole number does not fit 64 bits with a sign.
    """
    if pa.types.is_integer(values.type):
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid as error:
            mend = "Store them as text"
            message = f"holds whole numbers that are too large: {str(error).splitlines()[0]}"
            raise DataError(message, key="data.label", value=column, mend=mend) from None
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


def odd_names(classes: Sequence[str]) -> list[Finding]:
    """Warnings of class names that look like one another, or like no name at all."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_as_read(name), []).append(name)
    groups = [names for names in alike.values() if len(names) > 1]
    findings = []
    if groups:
        message = (
            f"{sum(map(len, groups))} classes differ from another only in white space, case or Unicode form, "
            f"such as {' and '.join(map(ascii, groups[0][:3]))}"
        )
        findings.append(Finding("similar_classes", len(groups), message, "Write labels of one class in one way"))
    odd = [name for name in classes if _as_read(name) in _NO_NAMES]
    if odd:
        message = f"{len(odd)} classes have names that look like missing labels: {some(odd)}"
        findings.append(Finding("odd_classes", len(odd), message, "Leave the label empty where there is none"))
    return findings


def _as_read(name: str) -> str:
    """What a reader sees of a name: without white space around, invisible characters, case and Unicode form."""
    visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", visible).casefold().split())


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
    untyped = [other.values for other in sources if other.guessed and other.type == "text"]
    if all(pc.all(pc.match_substring_regex(values, r"^(0|-?[1-9][0-9]{0,17})$")).as_py() for values in untyped):
        return RawLabels(source.values.cast(pa.int64()), source.where)
    return source
