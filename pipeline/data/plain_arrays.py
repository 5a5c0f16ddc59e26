"""Arrow's many forms of the same values as the few that everything else works on."""

from __future__ import annotations

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


def plain(values: pa.Array) -> pa.Array:
    """Values without views, dictionaries, run lengths and extension types.

    Raises
    ------
    pyarrow.ArrowException
        If pyarrow cannot turn one into the other.
    """
    if isinstance(values, pa.ExtensionArray):
        return plain(values.storage)
    if isinstance(values, pa.DictionaryArray):
        return plain(values.dictionary_decode())
    if isinstance(values, pa.RunEndEncodedArray):
        return plain(pc.run_end_decode(values))
    wanted = plain_type(values.type)
    if wanted.equals(values.type) or (pa.types.is_nested(wanted) and _same_shape(values.type, wanted)):
        return values
    if isinstance(values, pa.StructArray):
        fields = [plain(values.field(number)) for number in range(values.type.num_fields)]
        return pa.StructArray.from_arrays(fields, fields=list(wanted), mask=values.is_null())
    return values.cast(wanted)


def first_not_utf8(values: pa.Array) -> tuple[int, bytes] | None:
    """The first value that is no UTF-8, also inside of structs; None where there is none, or it cannot be told."""
    if isinstance(values, pa.DictionaryArray):
        bad = first_not_utf8(values.dictionary)
        rows = [] if bad is None else pc.equal(values.indices, bad[0]).to_pylist()
        return (rows.index(True), bad[1]) if bad is not None and True in rows else None
    if isinstance(values, pa.StructArray):
        inner = (first_not_utf8(values.field(number)) for number in range(values.type.num_fields))
        return min((bad for bad in inner if bad is not None), default=None)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        coded = values.cast(pa.large_binary())
    elif pa.types.is_string_view(values.type):
        coded = values.cast(pa.binary_view()).cast(pa.large_binary())
    else:
        return None
    for row, content in enumerate(coded.to_pylist()):
        try:
            (content or b"").decode()
        except UnicodeDecodeError:
            return row, content
    return None


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
