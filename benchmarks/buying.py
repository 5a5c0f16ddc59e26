"""What the studies buy: rows of a list or an array, and picks by margin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from asvp.config import ProxyConfig
from asvp.models.proxy import fit_proxy
from asvp.selection import select


def take(rows: Any, chosen: np.ndarray) -> Any:
    """Rows of an array or of a list."""
    return rows[chosen] if isinstance(rows, np.ndarray) else [rows[row] for row in chosen]


def buy_by_margin(
    features: np.ndarray, labels: np.ndarray, classes: int, chosen: np.ndarray, counts: Iterable[int], seed: int
) -> np.ndarray:
    """Row numbers in the order bought: `chosen`, then up to each count by the margin of a proxy on those before."""
    for count in counts:
        proxy = fit_proxy(features[chosen], labels[chosen], classes=classes, config=ProxyConfig(), seed=seed)
        probabilities = proxy.probabilities(features)
        more = select("margin", budget=count - len(chosen), seed=seed, probabilities=probabilities, labelled=chosen)
        chosen = np.concatenate([chosen, more])
    return chosen
