"""Does a refresh help? Judged on labelled rows that its fine-tune did not see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

AUTO_HOLDOUT = 0.0
"""What `refresh.holdout: auto` is; docs/alignment.md has the measurements."""
_SMALLEST = 1e-7
"""Probabilities below this count as this: one sure mistake decides nothing alone."""


def holdout_share(wanted: float | Literal["auto"]) -> float:
    """The share of labelled rows that `refresh.holdout` means."""
    return AUTO_HOLDOUT if wanted == "auto" else wanted


def hold_out(labels: NDArray[np.integer], share: float, seed: int) -> NDArray[np.bool_]:
    """Choose rows to keep out of a fine-tune, spread over the classes in proportion.

    Parameters
    ----------
    labels : ndarray of shape (n,), int
    share : float
        Of the rows, 0 to 1.
    seed : int

    Returns
    -------
    ndarray of shape (n,), bool
        True for round(share * n) rows; every class has as many of them as its size asks for, to the next whole number.
    """
    wanted = round(share * len(labels))
    held = np.zeros(len(labels), dtype=bool)
    if wanted == 0:
        return held
    rng = np.random.default_rng(seed)
    # Rows class by class, in random order within one: every so-manieth of them is a systematic sample.
    order = np.lexsort((rng.permutation(len(labels)), labels))
    step = len(labels) / wanted
    held[order[((np.arange(wanted) + rng.random()) * step).astype(np.int64)]] = True
    return held


@dataclass(frozen=True)
class Judgement:
    """How the proxies on new and on old features compare, on the same held-out rows.

    Attributes
    ----------
    gain : float
        Mean fall of the log loss from old to new, in nats a row; above 0 the new features are better.
    error : float
        Standard error of that mean over the rows.
    accuracy : tuple of float
        On old and on new features.
    rows : int
    """

    gain: float
    error: float
    accuracy: tuple[float, float]
    rows: int

    @property
    def keep(self) -> bool:
        """Whether the refresh should be kept."""
        return self.gain > 0

    def __str__(self) -> str:
        old, new = self.accuracy
        return (
            f"on {self.rows:,} labelled rows kept out of it the proxy's log loss "
            f"{'falls' if self.gain > 0 else 'does not fall'} ({self.gain:+.3f} +- {self.error:.3f} nats a row; "
            f"accuracy {old:.3f} before, {new:.3f} after)"
        )


def judge(old: NDArray[np.floating], new: NDArray[np.floating], labels: NDArray[np.integer]) -> Judgement:
    """Compare two proxies on rows that neither the fine-tune nor they have seen.

    Parameters
    ----------
    old, new : ndarray of shape (n, C), floating
        Class probabilities of the same rows, of the proxy on the present features and on the refreshed ones.
    labels : ndarray of shape (n,), int
        n >= 2.
    """
    rows = np.arange(len(labels))
    before, after = (-np.log(np.maximum(told[rows, labels].astype(np.float64), _SMALLEST)) for told in (old, new))
    gains = before - after
    return Judgement(
        gain=float(gains.mean()),
        error=float(gains.std(ddof=1) / np.sqrt(len(gains))),
        accuracy=(float((old.argmax(axis=1) == labels).mean()), float((new.argmax(axis=1) == labels).mean())),
        rows=len(labels),
    )
