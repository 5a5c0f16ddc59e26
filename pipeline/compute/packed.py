"""Files that travelled as arrays of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def unpack(files: Mapping[str, NDArray[np.uint8]], folder: Path) -> None:
    """Write packed files into a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content.tofile(path)
