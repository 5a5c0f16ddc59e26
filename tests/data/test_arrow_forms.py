"""Every form in which Arrow and NumPy keep text, numbers and images gives the same rows, or is refused in words."""

from __future__ import annotations

import pickle
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asvp.config import DataConfig
from asvp.data import open_dataset
from asvp.errors import DataError

TEXTS = ["one", "zwei", "трое", ""]
LABELS = ["x", "y", "x", "y"]
LATIN = "é".encode("latin-1")


def write(path, rows: pa.Table) -> str:
    with pa.ipc.new_file(path, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=3)
    return str(path)


def opened(path, **config):
    return open_dataset(DataConfig(pool=str(path), test=str(path), **config))


def not_utf8(values: list[bytes], type: pa.DataType) -> pa.Array:
    """Text as a careless writer leaves it: bytes under the name of text."""
    plain = pa.array(values, pa.binary())
    offsets, data = plain.buffers()[1:]
    wrong = pa.Array.from_buffers(pa.string(), len(values), [None, offsets, data])
    if pa.types.is_dictionary(type):
        return pa.DictionaryArray.from_arrays(pa.array(range(len(values))), wrong)
    return wrong if pa.types.is_string(type) else wrong.cast(type)


@pytest.mark.parametrize(
    "form",
    [
        lambda values: pa.array(values, pa.string_view()),
        lambda values: pa.array(values, pa.large_string()),
        lambda values: pa.array(values).dictionary_encode(),
        lambda values: pa.array(values, pa.large_string()).dictionary_encode(),
        lambda values: pc.run_end_encode(pa.array(values)),
    ],
    ids=["string_view", "large_string", "dictionary", "large dictionary", "run ends"],
)
def test_every_form_of_text_gives_the_same_rows(tmp_path, form):
    rows = pa.table({"text": form(TEXTS), "label": form(LABELS), "id": form(["a", "b", "c", "d"])})
    data = opened(write(tmp_path / "t.arrow", rows))
    assert pickle.loads(pickle.dumps(data.pool)).take(np.array([3, 0, 2, 1])) == ["", "one", "трое", "zwei"]
    assert data.classes == ("x", "y")
    assert data.oracle.buy(np.arange(4)).tolist() == [0, 1, 0, 1]
    assert data.pool.ids().to_pylist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: pa.array(rows, pa.list_view(pa.float32())),
        lambda rows: pa.array(rows, pa.large_list(pa.float64())),
        lambda rows: pa.array(rows, pa.list_(pa.int16())),
        lambda rows: pa.array(rows, pa.list_(pa.float32(), 2)),
    ],
)
def test_every_form_of_list_gives_the_same_features(tmp_path, form):
    rows = [[1, 2], [3, 4], [5, 6], [7, 8]]
    data = opened(write(tmp_path / "t.arrow", pa.table({"f": form(rows), "label": LABELS})), features="f")
    assert data.pool.take(np.arange(4)).tolist() == rows


@pytest.mark.parametrize("form", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2)])
@pytest.mark.parametrize("format", ["arrow", "parquet"])
def test_a_missing_list_is_named_by_its_row(tmp_path, form, format):
    rows = pa.table({"f": pa.array([[1, 2], [3, 4], None, [7, 8]], form), "label": LABELS})
    path = tmp_path / f"t.{format}"
    if format == "parquet":
        pq.write_table(rows, path)
    else:
        write(path, rows)
    with pytest.raises(DataError, match=r"data\.features") as caught:
        opened(path, features="f")
    assert "0 numbers" not in str(caught.value)
    assert "row 2" in str(caught.value) or "1 rows" in str(caught.value)


@pytest.mark.parametrize("type", [pa.string(), pa.large_string(), pa.dictionary(pa.int64(), pa.string())], ids=str)
@pytest.mark.parametrize("column", ["text", "label", "id"])
def test_bytes_that_are_no_utf8_are_named_by_row_and_file(tmp_path, type, column):
    good = {"text": TEXTS, "label": LABELS, "id": ["a", "b", "c", "d"]}
    bad = not_utf8([b"a", b"b", b"c", LATIN], type)
    path = write(tmp_path / "t.arrow", pa.table({**good, column: bad}))

    def read():
        data = opened(path)
        return data.pool.take(np.arange(4)), data.pool.ids()

    with pytest.raises(DataError, match="no UTF-8") as caught:
        read()
    for part in (f"'{column}'", "row 3", "t.arrow"):
        assert part in str(caught.value)


def test_a_row_is_named_by_the_pools_number_and_the_files(tmp_path):
    values = [b"good"] * 40
    values[33] = LATIN
    rows = pa.table({"text": not_utf8(values, pa.string()), "label": ["x", "y"] * 20})
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "b.arrow", rows)
    write(tmp_path / "set" / "a.arrow", pa.table({"text": ["a", "b"], "label": ["x", "y"]}))
    pq.write_table(pa.table({"text": ["t"], "label": ["x"]}), tmp_path / "t.parquet")
    config = {"pool": str(tmp_path / "set"), "test": str(tmp_path / "t.parquet"), "limit": 41}
    for seed in range(20):
        data = open_dataset(DataConfig(**config, shuffle_seed=seed))
        rows_of_base = data.pool.rows.tolist()
        if 35 in rows_of_base and rows_of_base.index(35) != 35:
            break
    with pytest.raises(DataError) as caught:
        data.pool.take(np.arange(41))
    assert f"row {rows_of_base.index(35)} of the pool, row 33 of {tmp_path}/set/b.arrow" in str(caught.value)


def test_labels_that_do_not_fit_64_bits_are_refused(tmp_path):
    rows = pa.table({"text": TEXTS, "label": pa.array([1, 2, 3, 2**63], pa.uint64())})
    with pytest.raises(DataError, match=r"data\.label.*too large"):
        opened(write(tmp_path / "t.arrow", rows))


def test_a_missing_value_in_a_dictionary_is_a_missing_value(tmp_path):
    gaps = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 1]), pa.array(["x", None]))
    path = write(tmp_path / "t.arrow", pa.table({"text": gaps, "label": LABELS}))
    with pytest.raises(DataError, match=r"data\.text: 2 rows"):
        opened(path)


class TestArrays:
    def save(self, tmp_path, **arrays):
        good = {"features": np.arange(8.0).reshape(4, 2), "labels": np.array(LABELS), "ids": np.arange(4)}
        np.savez(tmp_path / "f.npz", **{**good, **arrays})
        return tmp_path / "f.npz"

    @pytest.mark.parametrize(
        ("arrays", "ids", "classes"),
        [
            ({"ids": np.arange(4, dtype=">i8")}, ["0", "1", "2", "3"], ("x", "y")),
            ({"ids": np.array(["a", "b", "c", "d"], dtype=">U1")}, ["a", "b", "c", "d"], ("x", "y")),
            ({"labels": np.array(["x", "é", "x", "é"]).astype("U1")}, ["0", "1", "2", "3"], ("x", "é")),
            ({"labels": np.array([b"x", "é".encode(), b"x", b"y"])}, ["0", "1", "2", "3"], ("x", "y", "é")),
            ({"labels": np.array([3, 1, 2, 1], dtype=">i2")}, ["0", "1", "2", "3"], ("1", "2", "3")),
            ({"labels": np.array([True, False, True, False])}, ["0", "1", "2", "3"], ("false", "true")),
            ({"labels": np.array(LABELS * 2)[::2][[0, 1, 0, 2]]}, ["0", "1", "2", "3"], None),
        ],
    )
    def test_byte_orders_and_coded_text_are_understood(self, tmp_path, arrays, ids, classes):
        if classes is None:
            with pytest.raises(DataError, match="the label 'x'"):
                opened(self.save(tmp_path, **arrays))
            return
        data = opened(self.save(tmp_path, **arrays))
        assert data.pool.ids().to_pylist() == ids
        assert data.classes == classes

    @pytest.mark.parametrize("order", [">f4", "<f8", ">i4"])
    @pytest.mark.parametrize("layout", [np.asfortranarray, np.ascontiguousarray, lambda values: values[::-1][::-1]])
    def test_features_of_any_byte_order_and_layout_are_the_same(self, tmp_path, order, layout):
        features = layout(np.arange(8).reshape(4, 2).astype(order))
        taken = opened(self.save(tmp_path, features=features)).pool.take(np.array([2, 0]))
        assert taken.tolist() == [[4, 5], [0, 1]]
        assert taken.dtype == np.float32

    @pytest.mark.parametrize(
        ("arrays", "patterns"),
        [
            ({"labels": np.array([b"x", b"y", LATIN, b"x"])}, ("data.label", "row 2", "f.npz", "UTF-8")),
            ({"ids": np.array([b"x", b"y", LATIN, b"z"])}, ("data.id", "row 2", "UTF-8")),
            ({"labels": np.array(["x", "y", None, "x"], dtype=object)}, ("data.pool", "plain arrays")),
            ({"labels": np.array([1j, 2, 3, 4])}, ("data.label", "complex128")),
            ({"labels": np.array(["2020-01-01"] * 4, dtype="M8[D]")}, ("data.label", "datetime64")),
            ({"labels": np.zeros(4, dtype=[("a", "i4")])}, ("data.label",)),
            ({"labels": np.array("x")}, ("data.label", "()")),
            ({"features": np.zeros((4, 2), dtype=complex)}, ("data.features", "complex128")),
        ],
    )
    def test_arrays_that_hold_something_else_are_refused(self, tmp_path, arrays, patterns):
        with pytest.raises(DataError) as caught:
            opened(self.save(tmp_path, **arrays))
        for pattern in patterns:
            assert pattern in str(caught.value)

    @settings(deadline=None, max_examples=60)
    @given(data=st.data())
    def test_damaged_archives_are_read_or_refused(self, data, tmp_path_factory):
        folder = tmp_path_factory.mktemp("npz")
        content = bytearray(self.save(folder).read_bytes())
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        (folder / "f.npz").write_bytes(content)
        with suppress(DataError):
            pool = opened(folder / "f.npz").pool
            pool.take(np.arange(len(pool)))


TYPES = st.sampled_from(
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.int32(),
        pa.uint64(),
        pa.bool_(),
        pa.float64(),
        pa.date32(),
        pa.decimal128(5, 2),
        pa.list_(pa.float32()),
        pa.list_view(pa.int64()),
        pa.list_(pa.float32(), 2),
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        pa.dictionary(pa.int8(), pa.string()),
        pa.null(),
    ]
)
NUMBERS = st.one_of(st.none(), st.integers(0, 3))


def values_of(type: pa.DataType, numbers: list[int | None]) -> pa.Array:
    """Values that follow from small numbers, whatever the type."""
    if pa.types.is_null(type):
        return pa.nulls(len(numbers))
    if pa.types.is_struct(type):
        return pa.array([None if n is None else {"bytes": b"%d" % n, "path": str(n)} for n in numbers], type)
    if pa.types.is_nested(type):
        return pa.array([None if n is None else [n, n] for n in numbers], type)
    if pa.types.is_dictionary(type):
        return pa.array([None if n is None else str(n) for n in numbers]).dictionary_encode()
    if pa.types.is_boolean(type):
        return pa.array([None if n is None else bool(n) for n in numbers], type)
    if pa.types.is_binary(type):
        return pa.array([None if n is None else b"%d" % n for n in numbers], type)
    text = pa.array([None if n is None else str(n) for n in numbers], pa.string())
    return text.cast(type) if not pa.types.is_date(type) else pa.array(numbers, pa.int32()).cast(type)


@settings(deadline=None, max_examples=120)
@given(data=st.data())
def test_tables_of_any_types_are_read_rightly_or_refused(data, tmp_path_factory):
    """Text comes back as the text it was, features as their numbers, or there is a DataError."""
    count = data.draw(st.integers(1, 6))
    numbers = {name: data.draw(st.lists(NUMBERS, min_size=count, max_size=count)) for name in ("c", "label", "id")}
    types = {name: data.draw(TYPES) for name in numbers}
    rows = pa.table({name: values_of(types[name], values) for name, values in numbers.items()})
    path = write(tmp_path_factory.mktemp("any") / "t.arrow", rows)
    kind = data.draw(st.sampled_from(["text", "features", "image"]))
    with suppress(DataError):
        opened_rows = opened(path, **{kind: "c"})
        taken = opened_rows.pool.take(np.arange(count))
        names = [opened_rows.classes[number] for number in opened_rows.oracle.buy(np.arange(count))]
        expected = [str(bool(n)).lower() if pa.types.is_boolean(types["label"]) else str(n) for n in numbers["label"]]
        assert names == expected
        assert opened_rows.pool.ids().to_pylist() == [str(number) for number in numbers["id"]]
        if kind == "text":
            assert taken == [str(number) for number in numbers["c"]]
        else:
            assert kind == "features"
            assert taken.tolist() == [[number, number] for number in numbers["c"]]
