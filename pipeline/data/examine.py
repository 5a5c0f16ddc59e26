"""What is likely to hurt a run, found before it starts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from asvp.data.dataset import Dataset
from asvp.data.findings import Finding
from asvp.data.images import undecodable
from asvp.data.source import Source, View, ids_of

_BLOCK_ROWS = {"text": 4096, "features": 4096, "image": 128}
_SAMPLE_BLOCKS = {"text": 256, "features": 256, "image": 128}
_IMBALANCE = 10
_HASH = np.dtype("V16")


def examine(dataset: Dataset, *, content: bool = True, sample: bool = False) -> list[Finding]:
    """Look for what will hurt: files left out, odd class counts, duplicates, test rows in the pool, unreadable rows.

    Parameters
    ----------
    dataset : Dataset
    content : bool
        Read all rows (one block in memory at a time, 16 bytes a row kept). False looks at class counts only.
    sample : bool
        Read `rows_sampled` rows of a large pool or test set: blocks of 4,096 rows (of images 128), evenly spread.
    """
    findings = [*dataset.notes, *_class_findings(dataset)]
    if content:
        pool, test = (_survey(source, sample) for source in (dataset.pool, dataset.test))
        findings += [*_duplicates(pool), *_overlap(pool, test), *_useless(pool, "pool"), *_useless(test, "test")]
    return findings


def rows_sampled(source: Source) -> int:
    """Rows that `examine(..., sample=True)` reads of a source: all of up to 1,048,576, or of 16,384 images."""
    return sum(len(rows) for rows in _blocks(source, sample=True))


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


@dataclass(frozen=True)
class _Survey:
    """What was read of a source: its `rows` (n,), ascending, a hash of each, and those of no use, with the reason."""

    source: Source
    rows: np.ndarray
    hashes: np.ndarray
    bad: dict[int, str]

    def counted(self, split: str) -> str:
        """How many rows were read, in words."""
        return f"{len(self.rows)} {split} rows{' that were looked at' if len(self.rows) < len(self.source) else ''}"

    def name(self, place: int) -> str:
        return _name(self.source, int(self.rows[place]))


def _duplicates(pool: _Survey) -> list[Finding]:
    _, first, inverse, counts = np.unique(pool.hashes, return_index=True, return_inverse=True, return_counts=True)
    extra = len(pool.hashes) - len(first)
    if not extra:
        return []
    repeated = np.flatnonzero(counts > 1)
    group = repeated[np.argmin(first[repeated])]
    one, two = np.flatnonzero(inverse == group)[:2]
    message = (
        f"{extra} of {pool.counted('pool')} repeat the content of another one, "
        f"such as {pool.name(two)!r} that of {pool.name(one)!r}"
    )
    return [Finding("duplicates", extra, message, "Leave repeats out, or labels are paid for twice")]


def _overlap(pool: _Survey, test: _Survey) -> list[Finding]:
    shared = np.flatnonzero(np.isin(test.hashes, pool.hashes))
    if not len(shared):
        return []
    among = "" if len(pool.rows) == len(pool.source) else f", as far as {pool.counted('pool')} tell"
    message = f"{len(shared)} of {test.counted('test')} are also in the pool, such as {test.name(shared[0])!r}{among}"
    return [Finding("test_in_pool", len(shared), message, "Take them out of the pool, or the accuracy is too good")]


def _useless(survey: _Survey, split: str) -> list[Finding]:
    source, bad = survey.source, survey.bad
    if not bad:
        return []
    among = f" of the {len(survey.rows)} that were looked at" if len(survey.rows) < len(source) else ""
    row, reason = next(iter(bad.items()))
    if source.kind == "text":
        message = f"{len(bad)} {split} rows{among} hold no text but white space, such as {_name(source, row)!r}"
        return [Finding("empty_texts", len(bad), message, "Leave them out: all of them get the same feature")]
    place = source.place(row) if isinstance(source, View) else f"id {_name(source, row)!r}"
    message = f"{len(bad)} {split} images{among} cannot be read, the first is row {row}, {place}: {reason}"
    mend = "Make them again or leave them out: a run would stop"
    return [Finding("unreadable_images", len(bad), message, mend, stops=True)]


def _name(source: Source, row: int) -> str:
    name: str = ids_of(source, np.array([row]))[0].as_py()
    return name


def _blocks(source: Source, sample: bool) -> list[range]:
    """Rows by blocks: all, or as many as a sample has, evenly spread, the first and the last among them."""
    step, most = _BLOCK_ROWS[source.kind], _SAMPLE_BLOCKS[source.kind]
    count = -(-len(source) // step)
    chosen = np.linspace(0, count - 1, most).round().astype(int) if sample and count > most else np.arange(count)
    return [range(step * int(block), min(step * (int(block) + 1), len(source))) for block in chosen]


def _survey(source: Source, sample: bool) -> _Survey:
    blocks = _blocks(source, sample)
    read = np.concatenate([np.arange(0), *map(np.asarray, blocks)])
    hashes = np.empty(len(read), dtype=_HASH)
    bad: dict[int, str] = {}
    flaw = undecodable if source.kind == "image" else _emptiness
    with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
        place = 0
        for rows in blocks:
            contents = list(_contents(source.take(np.asarray(rows))))
            for content in contents:
                hashes[place] = np.void(hashlib.blake2b(content, digest_size=_HASH.itemsize).digest())
                place += 1
            if source.kind != "features":
                flaws = zip(rows, workers.map(flaw, contents), strict=True)
                bad.update((row, reason) for row, reason in flaws if reason is not None)
    return _Survey(source, read, hashes, bad)


def _emptiness(content: bytes) -> str | None:
    return None if content.strip() else "white space"


def _contents(rows: Any) -> Iterator[bytes]:
    values: Iterable[Any] = rows
    for value in values:
        if isinstance(value, str):
            yield value.encode("utf-8", "surrogatepass")
        else:
            yield value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes()
