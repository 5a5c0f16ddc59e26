"""Arrow's many forms of the same values as the few that everything else works on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def plain_type(type: pa.DataType) -> pa.DataType:
    """The type that values of a type have once they are `plain`."""
    if isinstance(type, pa.BaseExtensionType):
        return plain_type(type.storage_type)
    if pa.types.is_dictionary(type) or pa.types.is_run_end_encoded(type):
        return plain_type(type.value_type)
    if pa.types.is_string_view(type):
        return pa.large_string()
    if pa.types.is_binary_view(type):
        return pa.large_binary()
    if pa.types.is_fixed_size_list(type):
        return pa.list_(plain_type(type.value_type), type.list_size)
    if pa.types.is_list(type):
        return pa.list_(plain_type(type.value_type))
    if pa.types.is_large_list(type) or _is_list_view(type):
        return pa.large_list(plain_type(type.value_type))
    if pa.types.is_struct(type):
        return pa.struct([(field.name, plain_type(field.type)) for field in type])
    return type


def unpacked(values: pa.Array) -> pa.Array:
    """Values without extension types and dictionaries, whose numbers are held against the dictionary's length.

    Raises
    ------
    pyarrow.ArrowException
        If a number lies outside, or the dictionary's own offsets do.
    """
    if isinstance(values, pa.ExtensionArray):
        return unpacked(values.storage)
    if not isinstance(values, pa.DictionaryArray):
        return values
    # As bytes: an entry that no row uses may be what it likes.
    _as_bytes(values.dictionary).validate(full=True)
    return unpacked(pc.take(values.dictionary, values.indices, boundscheck=True))


def plain(values: pa.Array) -> pa.Array:
    """Values without views, dictionaries, run lengths and extension types.

    Raises
    ------
    pyarrow.ArrowException
        If pyarrow cannot turn one into the other.
    """
    values = unpacked(values)
    if isinstance(values, pa.RunEndEncodedArray):
        return plain(pc.run_end_decode(values))
    wanted = plain_type(values.type)
    if wanted.equals(values.type) or (pa.types.is_nested(wanted) and _same_shape(values.type, wanted)):
        return values
    if isinstance(values, pa.StructArray):
        fields = [plain(values.field(number)) for number in range(values.type.num_fields)]
        return pa.StructArray.from_arrays(fields, fields=list(wanted), mask=values.is_null())
    if _is_list_view(values.type):
        # Not by a cast: pyarrow 26 gives wrong offsets for a view that begins in the middle of its values.
        lengths = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
        return pa.LargeListArray.from_arrays(offsets, plain(values.flatten()), mask=values.is_null())
    return values.cast(wanted)


def first_not_utf8(values: pa.Array) -> tuple[int, bytes] | None:
    """The first value that is no UTF-8, also inside of structs; None where there is none, or it cannot be told."""
    if isinstance(values, pa.StructArray):
        inner = (first_not_utf8(values.field(number)) for number in range(values.type.num_fields))
        return min((bad for bad in inner if bad is not None), default=None)
    coded = _as_bytes(values)
    if coded is values:
        return None
    for row, content in enumerate(coded.to_pylist()):
        try:
            (content or b"").decode()
        except UnicodeDecodeError:
            return row, content
    return None


def _as_bytes(values: pa.Array) -> pa.Array:
    """Text as the bytes it is made of; other values as they are."""
    if pa.types.is_string_view(values.type):
        return values.cast(pa.binary_view())
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values.cast(pa.binary() if pa.types.is_string(values.type) else pa.large_binary())
    return values


def _is_list_view(type: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(type) or pa.types.is_large_list_view(type))


def _same_shape(type: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether two nested types differ in nothing but the names and marks of their fields."""
    if type.id != wanted.id:
        return False
    if pa.types.is_struct(type):
        return all(_same_shape(one.type, two.type) for one, two in zip(type, wanted, strict=True))
    if pa.types.is_nested(type):
        return _same_shape(type.value_type, wanted.value_type)
    return bool(type.equals(wanted))
