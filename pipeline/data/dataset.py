"""Open the rows a configuration names and check everything that can be checked before work starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.config import DataConfig
from pipeline.data.digests import Digests
from pipeline.data.labels import RawLabels, class_names
from pipeline.data.oracle import Oracle
from pipeline.data.source import Kind, Source, View
from pipeline.data.split import hold_out, shuffled_prefix
from pipeline.data.storage import locate
from pipeline.data.table_source import TableSource, TextColumn
from pipeline.data.tables import SUFFIXES, Tables
from pipeline.errors import DataError


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
    """

    pool: Source
    test: Source
    classes: tuple[str, ...]
    oracle: Oracle
    test_labels: np.ndarray

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
    pool = _open(config, config.pool, "pool", memory)
    pool_labels = RawLabels(_labels(pool), "the pool")
    if config.test is None:
        classes, (numbers,) = class_names([pool_labels], key="data.label", column=config.label)
        _check_labelled(numbers, config, "pool", config.pool)
        kept, held = hold_out(numbers, config.test_share, config.shuffle_seed)
        test: Source = pool
        test_numbers = numbers
    else:
        test = _open(config, config.test, "test", memory)
        test_labels = RawLabels(_labels(test), "the test rows")
        classes, (numbers, test_numbers) = class_names(
            [pool_labels, test_labels], key="data.label", column=config.label
        )
        _check_labelled(numbers, config, "pool", config.pool)
        _check_labelled(test_numbers, config, "test", config.test)
        kept, held = np.arange(len(pool)), np.arange(len(test))
    pool_rows = kept[shuffled_prefix(len(kept), config.limit, config.shuffle_seed)]
    test_rows = held[shuffled_prefix(len(held), config.test_limit, config.shuffle_seed)]
    _check_classes(numbers[pool_rows], classes, config)
    return Dataset(
        pool=View(pool, _unless_all(pool_rows, pool), labelled=False),
        test=View(test, _unless_all(test_rows, test)),
        classes=classes,
        oracle=Oracle(numbers[pool_rows], len(classes)),
        test_labels=test_numbers[test_rows],
    )


def _open(config: DataConfig, value: str, split: str, digests: Digests) -> Source:
    key = f"data.{split}"
    storage, stored, _ = locate(value, key=key, split=split, suffixes=SUFFIXES)
    if not stored:
        mend = f"Files that count: {', '.join('*' + suffix for suffix in SUFFIXES)}"
        raise DataError("is a folder without table files", key=key, value=value, mend=mend)
    tables = Tables(storage, stored, key=key, value=value)
    name = config.id if config.id in tables.schema.names or config.id != DataConfig.model_fields["id"].default else None
    return TableSource(tables, TextColumn(config.text), label=config.label, id=name, digests=digests)


def _labels(source: Source) -> pa.Array:
    labels = source.labels()
    return pa.nulls(len(source)) if labels is None else labels


def _check_labelled(numbers: np.ndarray, config: DataConfig, split: str, value: str) -> None:
    missing = np.flatnonzero(numbers < 0)
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
