"""Data sets of the study in alignment.py, and what is bought of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
from backbones import EncoderBackbone, image_encoder, minilm
from buying import buy_by_margin

from asvp.config import DataConfig
from asvp.data import open_dataset

POOL_ROWS = 8000
TEST_ROWS = 1000
ROUND = 200
SECTIONS = "sections"


@dataclass(frozen=True)
class Task:
    """Rows of a pool and a test set with labels 0..C-1, and the encoder for them.

    Parameters
    ----------
    name : str
    data : DataConfig
    image_model : Path, optional
        Folder of the encoder, for images.
    folder : Path
        Where features are kept.
    """

    name: str
    data: DataConfig
    folder: Path
    image_model: Path | None = None

    @cached_property
    def backbone(self) -> EncoderBackbone:
        """The encoder, loaded when first asked for."""
        return minilm("auto") if self.image_model is None else image_encoder(self.image_model)

    @cached_property
    def _rows(self) -> tuple[list[Any], np.ndarray, list[Any], np.ndarray]:
        data = open_dataset(self.data)
        if data.test is None or data.test_labels is None:
            raise ValueError(f"{self.name} has no test rows")
        numbers = np.arange(len(data.pool))
        test = list(data.test.take(np.arange(len(data.test))))
        return list(data.pool.take(numbers)), data.oracle.buy(numbers), test, data.test_labels

    @property
    def pool(self) -> list[Any]:
        """Pool rows."""
        return self._rows[0]

    @property
    def pool_labels(self) -> np.ndarray:
        """Their class numbers."""
        return self._rows[1]

    @property
    def test(self) -> list[Any]:
        """Test rows."""
        return self._rows[2]

    @property
    def test_labels(self) -> np.ndarray:
        """Their class numbers."""
        return self._rows[3]

    @property
    def classes(self) -> int:
        """C."""
        return int(max(self.pool_labels.max(), self.test_labels.max())) + 1

    @cached_property
    def pretrained(self) -> tuple[np.ndarray, np.ndarray]:
        """Features of all pool and test rows under the pre-trained weights."""
        path = self.folder / f"{self.name}-pretrained.npz"
        if not path.exists():
            self.backbone.reset()
            np.savez(path, pool=self.backbone.encode(self.pool), test=self.backbone.encode(self.test))
        with np.load(path) as kept:
            return kept["pool"], kept["test"]

    def order(self, picks: str, seed: int, count: int) -> np.ndarray:
        """The first `count` pool rows bought: all at random, or after a first round by the proxy's margin."""
        shuffled = np.random.default_rng(seed).permutation(len(self.pool))
        if picks == "random":
            return shuffled[:count]
        path = self.folder / f"{self.name}-{picks}-{seed}-{count}.npy"
        if not path.exists():
            counts = (min(next_count, count) for next_count in range(2 * ROUND, count + ROUND, ROUND))
            bought = buy_by_margin(self.pretrained[0], self.pool_labels, self.classes, shuffled[:ROUND], counts, seed)
            np.save(path, bought)
        kept: np.ndarray = np.load(path)
        return kept


def open_tasks(tables: list[str], image_model: Path | None, folder: Path) -> list[Task]:
    """The built-in sections and the tables named: NAME=FOLDER with pool.parquet and test.parquet."""
    limits = {"limit": POOL_ROWS, "test_limit": TEST_ROWS}
    found = [Task(SECTIONS, DataConfig(**limits), folder)]
    for table in tables:
        name, _, place = table.partition("=")
        paths = {split: str(Path(place) / f"{split}.parquet") for split in ("pool", "test")}
        if "image" not in parquet.read_schema(paths["pool"]).names:
            found.append(Task(name, DataConfig(**paths, **limits), folder))
        elif image_model is None:
            raise ValueError(f"{name} holds images: --image-model is missing")
        else:
            found.append(Task(name, DataConfig(**paths, **limits, image="image"), folder, image_model))
    return found
