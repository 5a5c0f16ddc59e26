"""What is likely to hurt a run, found before it starts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from asvp.data.dataset import Dataset
from asvp.data.findings import Finding
from asvp.data.images import undecodable
from asvp.data.source import Source, View, ids_of

_BLOCK_ROWS = {"text": 4096, "features": 4096, "image": 128}
_IMBALANCE = 10
_HASH = np.dtype("V16")


def examine(dataset: Dataset, *, content: bool = True) -> list[Finding]:
    """Look for what will hurt: files left out, odd class counts, duplicates, test rows in the pool, unreadable rows.

    Parameters
    ----------
    dataset : Dataset
    content : bool
        Read all rows (one block in memory at a time, 16 bytes a row kept). False looks at class counts only.
    """
    findings = [*dataset.notes, *_class_findings(dataset)]
    if content:
        pool_hashes, pool_bad = _survey(dataset.pool)
        test_hashes, test_bad = _survey(dataset.test)
        findings += _duplicates(dataset.pool, pool_hashes)
        findings += _overlap(dataset.test, pool_hashes, test_hashes)
        findings += _useless(dataset.pool, pool_bad, "pool") + _useless(dataset.test, test_bad, "test")
    return findings


def _class_findings(dataset: Dataset) -> list[Finding]:
    pool = dataset.oracle.counts()
    test = np.bincount(dataset.test_labels, minlength=len(dataset.classes))
    findings = []
    small = np.flatnonzero((pool < 2) & ((pool > 0) | (test == 0)))
    if len(small):
        message = f"{_classes(dataset, small)} fewer than two rows in the pool"
        findings.append(Finding("small_classes", len(small), message, "Merge such classes or find more rows of them"))
    missing = np.flatnonzero((pool == 0) & (test > 0))
    if len(missing):
        message = f"{_classes(dataset, missing)} {int(test[missing].sum())} test rows but none in the pool"
        mend = "No run can learn them: add pool rows or leave their test rows out"
        findings.append(Finding("classes_missing_from_pool", len(missing), message, mend))
    present = pool[pool > 0]
    ratio = present.max() / present.min()
    if ratio >= _IMBALANCE:
        largest, smallest = int(pool.argmax()), int(np.where(pool > 0, pool, pool.max() + 1).argmin())
        message = (
            f"the largest class, {dataset.classes[largest]!r}, has {pool[largest]} rows, "
            f"{ratio:.0f} times as many as the smallest, {dataset.classes[smallest]!r} with {pool[smallest]}"
        )
        mend = "Look at final_macro_f1 beside the accuracy; class_weight: balanced may help"
        findings.append(Finding("imbalance", 2, message, mend))
    return findings


def _classes(dataset: Dataset, numbers: np.ndarray) -> str:
    names = [repr(dataset.classes[number]) for number in numbers[:5]]
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"{len(numbers)} of {len(dataset.classes)} classes ({', '.join(names)}{more}) have"


def _duplicates(pool: Source, hashes: np.ndarray) -> list[Finding]:
    _, first, inverse, counts = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    extra = len(hashes) - len(first)
    if not extra:
        return []
    repeated = np.flatnonzero(counts > 1)
    group = repeated[np.argmin(first[repeated])]
    one, two = np.flatnonzero(inverse == group)[:2]
    later, earlier = ids_of(pool, np.array([two, one])).to_pylist()
    message = (
        f"{extra} of {len(hashes)} pool rows repeat the content of another one, such as {later!r} that of {earlier!r}"
    )
    return [Finding("duplicates", extra, message, "Leave repeats out, or labels are paid for twice")]


def _overlap(test: Source, pool_hashes: np.ndarray, test_hashes: np.ndarray) -> list[Finding]:
    shared = np.flatnonzero(np.isin(test_hashes, pool_hashes))
    if not len(shared):
        return []
    example = ids_of(test, shared[:1])[0].as_py()
    message = f"{len(shared)} of {len(test_hashes)} test rows are also in the pool, such as {example!r}"
    return [Finding("test_in_pool", len(shared), message, "Take them out of the pool, or the accuracy is too good")]


def _useless(source: Source, bad: dict[int, str], split: str) -> list[Finding]:
    if not bad:
        return []
    row, reason = next(iter(bad.items()))
    if source.kind == "text":
        message = f"{len(bad)} {split} rows hold no text but white space, such as {_name(source, row)!r}"
        return [Finding("empty_texts", len(bad), message, "Leave them out: all of them get the same feature")]
    place = source.place(row) if isinstance(source, View) else f"id {_name(source, row)!r}"
    message = f"{len(bad)} {split} images cannot be read, the first is row {row}, {place}: {reason}"
    mend = "Make them again or leave them out: a run would stop"
    return [Finding("unreadable_images", len(bad), message, mend, stops=True)]


def _name(source: Source, row: int) -> str:
    name: str = ids_of(source, np.array([row]))[0].as_py()
    return name


def _survey(source: Source) -> tuple[np.ndarray, dict[int, str]]:
    """A hash of every row, and the rows that are of no use, with the reason."""
    hashes = np.empty(len(source), dtype=_HASH)
    bad: dict[int, str] = {}
    step = _BLOCK_ROWS[source.kind]
    flaw = undecodable if source.kind == "image" else _emptiness
    with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
        for first in range(0, len(source), step):
            rows = np.arange(first, min(first + step, len(source)))
            contents = list(_contents(source.take(rows)))
            for row, content in zip(rows.tolist(), contents, strict=True):
                hashes[row] = np.void(hashlib.blake2b(content, digest_size=_HASH.itemsize).digest())
            if source.kind != "features":
                flaws = zip(rows.tolist(), workers.map(flaw, contents), strict=True)
                bad.update((row, reason) for row, reason in flaws if reason is not None)
    return hashes, bad


def _emptiness(content: bytes) -> str | None:
    return None if content.strip() else "white space"


def _contents(rows: Any) -> Iterator[bytes]:
    values: Iterable[Any] = rows
    for value in values:
        if isinstance(value, str):
            yield value.encode("utf-8", "surrogatepass")
        else:
            yield value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes()
