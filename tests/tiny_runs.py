"""A tiny text data set and configurations that run on it in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tiny_encoders import tiny_text_encoder, tiny_texts

from asvp.config import Config, build_config
from asvp.config.text import merge


def write_texts(path: Path, rows: int, *, seed: int = 0, classes: int = 3) -> Path:
    """A Parquet file with columns id, text and label."""
    texts, labels = tiny_texts(rows, seed=seed, classes=classes)
    names = [f"class-{label}" for label in labels]
    pq.write_table(pa.table({"id": [f"row-{i}" for i in range(rows)], "text": texts, "label": names}), path)
    return path


def tiny_settings(folder: Path) -> dict[str, Any]:
    """A configuration as a mapping, with its data and encoder written to a folder (once)."""
    encoder = folder / "encoder"
    if not encoder.exists():
        tiny_text_encoder(encoder)
        write_texts(folder / "pool.parquet", 300, seed=1)
        write_texts(folder / "test.parquet", 60, seed=2)
    return {
        "mode": "svp",
        "data": {"pool": str(folder / "pool.parquet"), "test": str(folder / "test.parquet")},
        "encoder": {"model": str(encoder), "dtype": "float32", "max_length": 16, "batch_size": 32},
        "extraction": {"shard_rows": 50, "cache": None},
        "budget": "20+10x2",
        "proxy": {"epochs": 5},
        "training": {"method": "ft", "epochs": 1},
    }


def tiny_config(folder: Path, **changes: Any) -> Config:
    """A tiny configuration with nested changes."""
    return build_config(merge(tiny_settings(folder), changes))


def wide_config(folder: Path, **changes: Any) -> Config:
    """A tiny configuration whose shards are too large to travel inside Ray's messages, so they lie in the store."""
    if not (folder / "encoder").exists():
        tiny_text_encoder(folder / "encoder", hidden_size=256, intermediate_size=256)
        write_texts(folder / "pool.parquet", 1000, seed=1)
        write_texts(folder / "test.parquet", 60, seed=2)
    return tiny_config(folder, **merge({"extraction": {"shard_rows": 4096}}, changes))


def picks(out: Path) -> list[int]:
    """Rows a run bought, in the order of purchase."""
    rows: list[int] = pq.read_table(out / "labelled.parquet")["row"].to_pylist()
    return rows


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return once the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
