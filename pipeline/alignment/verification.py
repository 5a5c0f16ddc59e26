"""Does a refresh help? Judged on labelled rows that its fine-tune did not see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

AUTO_HOLDOUT = 0.0
"""What `refresh.holdout: auto` is; docs/alignment.md has the measurements."""


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
    """How the proxies on new and on present features compare, on the same held-out rows.

    Accuracy decides, not the log loss: proxies on refreshed features are surer of themselves than they should be, so
    their log loss can rise while they tell more rows right (docs/alignment.md).

    Attributes
    ----------
    before, after : float
        Accuracy on present and on new features.
    error : float
        Standard error of the difference, paired over the rows.
    rows : int
    """

    before: float
    after: float
    error: float
    rows: int

    @property
    def keep(self) -> bool:
        """Whether the refresh should be kept: the accuracy is not lower by more than its standard error."""
        return self.after - self.before >= -self.error

    def __str__(self) -> str:
        return (
            f"on {self.rows:,} labelled rows that it did not see the proxy's accuracy goes from {self.before:.3f} to "
            f"{self.after:.3f} ({self.after - self.before:+.3f} +- {self.error:.3f})"
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
    before, after = (told.argmax(axis=1) == labels for told in (old, new))
    differences = after.astype(np.int64) - before
    return Judgement(
        before=float(before.mean()),
        after=float(after.mean()),
        error=float(differences.std(ddof=1) / np.sqrt(len(labels))),
        rows=len(labels),
    )
