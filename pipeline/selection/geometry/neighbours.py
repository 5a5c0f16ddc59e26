"""Nearest neighbours of labelled rows, by an approximate index that is made once for each set of features."""

from __future__ import annotations

import importlib
import weakref
from typing import Any

import numpy as np

from asvp.errors import SelectionError
from asvp.selection.rows import Array, FeatureRows, even_blocks

_SMALL = 20_000
"""Up to so many rows the search is exact: an index would not pay."""

_TINY = 1e-9

_indices: dict[int, Any] = {}
"""Index by identity of the features, for as long as they live; features need neither hash nor equality."""


def neighbours_of(features: FeatureRows, labelled: Array, k: int, least: int) -> Array:
    """Unlabelled rows among the k nearest neighbours (cosine) of any labelled row, ascending.

    k is doubled until at least `least` rows are found.

    Raises
    ------
    SelectionError
        If faiss is not installed.
    """
    index = _index(features)
    queries = _unit(features.gather(labelled))
    while True:
        _, found = index.search(queries, min(k, len(features)))
        rows = np.setdiff1d(found[found >= 0], labelled)
        if len(rows) >= least:
            return rows.astype(np.int64)
        if k >= len(features):
            return np.setdiff1d(np.arange(len(features)), labelled)
        k *= 2


def _index(features: FeatureRows) -> Any:
    source: Any = features
    while hasattr(source, "source"):
        source = source.source
    known = _indices.get(id(source))
    if known is None:
        known = _indices[id(source)] = _build(features)
        weakref.finalize(source, _indices.pop, id(source), None)
    return known


def _build(features: FeatureRows) -> Any:
    """An inverted file over about sqrt(N) cells, of which 1 in 16 is searched; flat where there are few rows."""
    faiss = _faiss()
    count, dim = len(features), features.dim
    if count <= _SMALL:
        index = faiss.IndexFlatIP(dim)
    else:
        cells = int(4 * count**0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = max(8, cells // 16)
        sample = np.sort(np.random.default_rng(0).choice(count, size=min(count, 64 * cells), replace=False))
        index.train(_unit(features.gather(sample)))
    for _, block in even_blocks(features):
        index.add(_unit(block))
    return index


def _unit(block: Array) -> Array:
    # Tiny numbers are brought to a common size before they are squared, and before they become float32.
    tiny = np.abs(block).max(axis=1, keepdims=True) < _TINY
    raised = np.ldexp(block, -np.frexp(np.abs(block).max(axis=1, keepdims=True))[1]) if tiny.any() else block
    values = np.where(tiny, raised, block).astype(np.float32)
    return np.ascontiguousarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise SelectionError(
            "needs the package faiss-cpu",
            key="neighbours",
            value="not installed",
            mend="pip install 'asvp[neighbours]'",
        ) from None
