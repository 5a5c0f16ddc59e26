"""Open the rows a configuration names and check everything that can be checked before work starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from asvp.config import DataConfig
from asvp.data.digests import Digests
from asvp.data.findings import Finding
from asvp.data.labels import RawLabels, check_label_type, class_names, normalise, odd_names
from asvp.data.open_source import open_source
from asvp.data.oracle import Oracle
from asvp.data.oracle_file import oracle_labels
from asvp.data.source import Kind, Source, View
from asvp.data.split import hold_out, shuffled_prefix
from asvp.errors import DataError


@dataclass(frozen=True)
class Dataset:
    """The rows of a run.

    Attributes
    ----------
    pool : Source
        N rows to choose from; its labels are with the oracle alone.
    test : Source
        Rows for reporting only.
    classes : tuple of C str
        Names of the classes, by class number.
    oracle : Oracle
        The labels of the pool.
    test_labels : (M,) int64
        Class number of every test row.
    notes : tuple of Finding
        What was left out or looks unintended, as far as opening shows it without reading the rows.
    """

    pool: Source
    test: Source
    classes: tuple[str, ...]
    oracle: Oracle
    test_labels: np.ndarray
    notes: tuple[Finding, ...] = ()

    @property
    def kind(self) -> Kind:
        """What a row is: text, image or features."""
        return self.pool.kind


def open_dataset(config: DataConfig, digests: Path | None = None) -> Dataset:
    """Open pool and test rows.

    Only labels, names and what the files say about themselves are read here; the content stays where it lies until
    `Source.take`.

    Parameters
    ----------
    config : DataConfig
    digests : Path, optional
        Folder in which fingerprints of unchanged files are remembered between runs.

    Raises
    ------
    DataError
        If rows, columns or labels cannot be used.
    """
    memory = Digests(digests)
    notes: list[Finding] = []
    pool = open_source(config, "pool", memory, notes)
    given = [_raw_labels(pool, "the pool", config)]
    if config.oracle is not None:
        given.append(oracle_labels(config.oracle, pool, config))
    test = pool if config.test is None else open_source(config, "test", memory, notes)
    if config.test is not None:
        _check_match(pool, test, config)
        given.append(_raw_labels(test, "the test rows", config))
    classes, numbers = class_names(given, key="data.label", column=config.label)
    pool_numbers = numbers[0]
    if config.oracle is not None:
        pool_numbers = np.where(pool_numbers < 0, numbers[1], pool_numbers)
    test_numbers = pool_numbers if config.test is None else numbers[-1]
    _check_labelled(pool_numbers, config, "pool")
    _check_labelled(test_numbers, config, "test")
    if config.test is None:
        kept, held = hold_out(pool_numbers, config.test_share, config.shuffle_seed)
    else:
        kept, held = np.arange(len(pool)), np.arange(len(test))
    pool_rows = _unless_all(kept[shuffled_prefix(len(kept), config.limit, config.shuffle_seed)], pool)
    test_rows = _unless_all(held[shuffled_prefix(len(held), config.test_limit, config.shuffle_seed)], test)
    # Of 100 M rows one such array is most of a gigabyte.
    del kept, held
    pool_numbers = pool_numbers if pool_rows is None else pool_numbers[pool_rows]
    _check_classes(pool_numbers, classes, config)
    return Dataset(
        pool=View(pool, pool_rows, labelled=False),
        test=View(test, test_rows, title="the test rows"),
        classes=classes,
        oracle=Oracle(pool_numbers, len(classes)),
        test_labels=test_numbers if test_rows is None else test_numbers[test_rows],
        notes=tuple(dict.fromkeys([*notes, *odd_names(classes)])),
    )


def _raw_labels(source: Source, where: str, config: DataConfig) -> RawLabels:
    """Labels of a source, whoever wrote it, in the few types that can be compared."""
    labels = source.labels()
    if labels is None:
        return RawLabels(pa.nulls(len(source)), where)
    check_label_type(labels.type, key="data.label", column=config.label, where=where)
    return RawLabels(normalise(labels), where, guessed=getattr(source, "guessed", False))


def _check_match(pool: Source, test: Source, config: DataConfig) -> None:
    """Raise a DataError unless test rows are of the pool's kind, and as wide."""
    if pool.kind != test.kind:
        mend = f"Both must be of one kind; the pool, {config.pool!r}, holds {pool.kind}"
        raise DataError(f"holds {test.kind}, not {pool.kind}", key="data.test", value=config.test, mend=mend)
    if pool.kind == "features":
        first = np.zeros(1, dtype=np.int64)
        widths = [np.shape(source.take(first))[1] for source in (pool, test)]
        if widths[0] != widths[1]:
            message = f"features have {widths[1]} numbers but those of the pool have {widths[0]}"
            raise DataError(message, key="data.test", value=config.test, mend="Make both with the same encoder")


def _check_labelled(numbers: np.ndarray, config: DataConfig, split: str) -> None:
    missing = np.flatnonzero(numbers < 0)
    value = config.pool if split == "pool" or config.test is None else config.test
    if len(missing):
        mend = "Leave these rows out"
        if split == "pool":
            mend += ", or give their labels in data.oracle, a file with columns id and label"
        message = f"{len(missing)} rows of {value} have no label, the first is row {missing[0]}"
        raise DataError(message, key="data.label", value=config.label, mend=mend)


def _check_classes(numbers: np.ndarray, classes: tuple[str, ...], config: DataConfig) -> None:
    present = np.unique(numbers)
    if len(present) < 2:
        only = classes[present[0]]
        mend = "Give rows of at least two classes; is data.limit too small?" if config.limit else None
        raise DataError(
            f"all {len(numbers)} rows of the pool have the label {only!r}",
            key="data.label",
            value=config.label,
            mend=mend or "Give rows of at least two classes, or another label column",
        )


def _unless_all(rows: np.ndarray, source: Source) -> np.ndarray | None:
    return None if len(rows) == len(source) else rows
