"""What every source promises, as checks that its author can run: the same ones that hold the package's own.

    import pytest
    from asvp.config import DataConfig
    from asvp.data.testing import PROMISES
    from mypackage.rows import open_rows

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    def test_contract(promise, some_file):
        promise(lambda: open_rows(str(some_file), DataConfig()))

A promise takes a function without arguments that opens the source anew each time it is called, on the same two rows or
more; a broken one raises AssertionError. Needs no test framework.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from asvp.data.labels import is_text
from asvp.data.source import Kind, Rows, Source, excerpt_of, ids_of

Open = Callable[[], Source]

_READ_AT_MOST = 64
"""Rows of a source that are read; the rest of a large one is believed."""


def is_a_source_of_a_known_kind(open_source: Open) -> None:
    """It has all methods of `Source`, and rows."""
    source = open_source()
    assert isinstance(source, Source), f"a {type(source).__name__} lacks attributes or methods of asvp.data.Source"
    assert source.kind in get_args(Kind), f"the kind is {source.kind!r}, not one of {get_args(Kind)}"
    assert len(source) > 1, f"these promises are checked on two rows or more, not on {len(source)}"


def gives_rows_of_its_kind(open_source: Open) -> None:
    """Texts are a list of str, images a list of bytes, features one matrix of float16 or float32 without gaps."""
    source = open_source()
    rows = source.take(_first_rows(source))
    if source.kind == "features":
        assert isinstance(rows, np.ndarray), f"features come as a {type(rows).__name__}, not as an array"
        assert rows.ndim == 2, f"features have {rows.ndim} dimensions, not (n, D)"
        assert rows.dtype in (np.float16, np.float32), f"features are {rows.dtype}, not float16 or float32"
        assert np.isfinite(rows).all(), "a feature holds a number that is not finite"
        return
    wanted = str if source.kind == "text" else bytes
    assert isinstance(rows, list), f"rows come as a {type(rows).__name__}, not as a list"
    odd = {type(row).__name__ for row in rows if not isinstance(row, wanted)}
    assert not odd, f"rows of kind {source.kind} are {sorted(odd)}, not {wanted.__name__}"


def takes_rows_in_the_order_asked_for(open_source: Open) -> None:
    """Descending, and with repeats, as if each were asked for alone."""
    source = open_source()
    numbers = _first_rows(source)
    alone = [_as_list(source.take(numbers[place : place + 1]))[0] for place in range(len(numbers))]
    for order in (numbers, numbers[::-1], np.array([1, 0, 0, 1, len(source) - 1, 1])):
        taken = _as_list(source.take(order))
        assert len(taken) == len(order), f"{len(order)} rows were asked for, {len(taken)} came"
        for row, content in zip(order.tolist(), taken, strict=True):
            assert row >= len(alone) or content == alone[row], f"row {row} is another one in take({order.tolist()})"


def takes_no_rows(open_source: Open) -> None:
    """An empty request gives an empty answer; of features, one as wide as any."""
    source = open_source()
    none = source.take(np.empty(0, dtype=np.int64))
    assert len(none) == 0, f"no row was asked for, {len(none)} came"
    if isinstance(none, np.ndarray):
        width = np.shape(source.take(np.array([0])))[1]
        assert none.shape == (0, width), f"no rows of features have shape {none.shape}, not (0, {width})"


def refuses_rows_outside(open_source: Open) -> None:
    """With an IndexError, also for negative numbers, which count from no end."""
    source = open_source()
    for outside in (len(source), -1):
        try:
            source.take(np.array([0, outside]))
        except IndexError:
            continue
        raise AssertionError(f"row {outside} of {len(source)} was asked for, and no IndexError was raised")


def names_every_row_differently(open_source: Open) -> None:
    """`ids` are N different texts."""
    source = open_source()
    names = source.ids()
    assert isinstance(names, pa.Array), f"ids come as a {type(names).__name__}, not as a pyarrow Array"
    assert is_text(names.type), f"ids are {names.type}, not text"
    assert len(names) == len(source), f"{len(source)} rows have {len(names)} ids"
    assert names.null_count == 0, f"{names.null_count} rows have no id"
    assert len(names.unique()) == len(names), "two rows have one id"
    some = np.arange(len(source))[::-2].copy()
    assert ids_of(source, some).to_pylist() == names.take(pa.array(some)).to_pylist(), "ids_of names rows otherwise"


def labels_every_row_or_none(open_source: Open) -> None:
    """`labels` are N texts, whole numbers or booleans, null where missing; or None."""
    source = open_source()
    labels = source.labels()
    if labels is None:
        return
    assert isinstance(labels, pa.Array), f"labels come as a {type(labels).__name__}, not as a pyarrow Array"
    assert len(labels) == len(source), f"{len(source)} rows have {len(labels)} labels"
    kinds = (is_text, pa.types.is_integer, pa.types.is_boolean, pa.types.is_null)
    assert any(is_kind(labels.type) for is_kind in kinds), f"labels are {labels.type}: no text, whole numbers, booleans"


def has_a_digest_that_repeats(open_source: Open) -> None:
    """A hexadecimal fingerprint, the same for the same content however often it is opened, read or not."""
    source = open_source()
    digest = source.digest()
    assert isinstance(digest, str), f"the digest is a {type(digest).__name__}, not text"
    assert digest, "the digest is empty"
    assert set(digest) <= set("0123456789abcdef"), f"the digest {digest!r} is not hexadecimal"
    source.take(_first_rows(source))
    assert source.digest() == digest, "the digest changes when rows are read"
    assert open_source().digest() == digest, "the source opened again has another digest"


def travels_and_reads_the_same_elsewhere(open_source: Open) -> None:
    """It can be pickled, before rows are read and after, and its twin gives the same rows, names, labels and digest."""
    fresh, used = open_source(), open_source()
    numbers = _first_rows(used)
    rows = _as_list(used.take(numbers))
    for source, when in ((fresh, "before"), (used, "after")):
        try:
            twin = pickle.loads(pickle.dumps(source))
        except Exception as error:
            raise AssertionError(f"{when} rows are read it cannot be pickled: {error}; open files in `take`") from error
        assert _as_list(twin.take(numbers)) == rows, f"pickled {when} rows were read, it gives other rows"
        assert (twin.kind, len(twin)) == (used.kind, len(used)), "its twin has another kind or length"
        assert twin.ids() == used.ids(), "its twin names rows differently"
        assert twin.labels() == used.labels(), "its twin labels rows differently"
        assert twin.digest() == used.digest(), "its twin has another digest"


def reads_the_same_in_an_excerpt(open_source: Open) -> None:
    """What `excerpt` gives has the rows asked for, with their names and labels, also where it was sent."""
    source = open_source()
    rows = np.array([1, len(source) - 1] if len(source) > 2 else [1])
    alone = excerpt_of(source, rows)
    if alone is None:
        return
    twin = pickle.loads(pickle.dumps(alone))
    assert len(twin) == len(rows), f"an excerpt of {len(rows)} rows has {len(twin)}"
    backwards = rows[::-1]
    taken = _as_list(twin.take(np.arange(len(rows))[::-1]))
    assert taken == _as_list(source.take(backwards)), f"an excerpt of {rows.tolist()} has other rows"
    assert twin.ids() == source.ids().take(pa.array(rows)), "an excerpt names rows otherwise"
    labels = source.labels()
    wanted = None if labels is None else labels.take(pa.array(rows))
    assert twin.labels() == wanted, "an excerpt labels rows otherwise"


PROMISES: tuple[Callable[[Open], None], ...] = (
    is_a_source_of_a_known_kind,
    gives_rows_of_its_kind,
    takes_rows_in_the_order_asked_for,
    takes_no_rows,
    refuses_rows_outside,
    names_every_row_differently,
    labels_every_row_or_none,
    has_a_digest_that_repeats,
    travels_and_reads_the_same_elsewhere,
    reads_the_same_in_an_excerpt,
)
"""All checks; each takes a function that opens the source."""


def _first_rows(source: Source) -> np.ndarray:
    return np.arange(min(len(source), _READ_AT_MOST))


def _as_list(rows: Rows) -> list[Any]:
    """Rows that can be compared with ==."""
    return [row.tobytes() if isinstance(row, np.ndarray) else row for row in rows]
