"""Textbook selection: one exact look at every row for every pick, and the rival package."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def coreset_by_passes(
    features: np.ndarray, budget: int, labelled: np.ndarray, dtype: torch.dtype = torch.float32
) -> list[int]:
    """k-center greedy, one matrix-vector product a pick."""
    rows = torch.from_numpy(features).to(dtype)
    rows = rows - rows.mean(dim=0)
    norms = rows.square().sum(dim=1)
    nearest = torch.full((len(rows),), torch.inf, dtype=dtype)
    for start in range(0, len(labelled), 64):
        centres = rows[labelled[start : start + 64]]
        squared = norms[:, None] + centres.square().sum(dim=1) - 2 * (rows @ centres.T)
        nearest = torch.minimum(nearest, squared.amin(dim=1))
    nearest[labelled] = -1
    picks: list[int] = []
    while len(picks) < budget:
        pick = int(nearest.argmax())
        picks.append(pick)
        nearest = torch.minimum(nearest, norms + norms[pick] - 2 * (rows @ rows[pick]))
        nearest[picks] = -1
    return picks


def badge_by_passes(
    features: np.ndarray, probabilities: np.ndarray, budget: int, labelled: np.ndarray, seed: int
) -> list[int]:
    """BADGE on factorised gradients in torch float32, two matrix-vector products a pick."""
    rng = np.random.default_rng(seed)
    rows, errors = torch.from_numpy(features), -torch.from_numpy(probabilities)
    errors[torch.arange(len(errors)), errors.argmin(dim=1)] += 1
    norms = rows.square().sum(dim=1) * errors.square().sum(dim=1)
    allowed = torch.ones(len(rows))
    allowed[labelled] = 0
    picks = [int((norms * allowed).argmax())]
    nearest = torch.full((len(rows),), torch.inf)
    while len(picks) < budget:
        pick = picks[-1]
        nearest = torch.minimum(nearest, norms + norms[pick] - 2 * (rows @ rows[pick]) * (errors @ errors[pick]))
        allowed[pick] = 0
        ends = np.cumsum((nearest.clamp(min=0) * allowed).double().numpy())
        picks.append(int(np.searchsorted(ends, rng.random() * ends[-1], side="right")))
    return picks


def badge_in_numpy(
    features: np.ndarray, probabilities: np.ndarray, budget: int, labelled: np.ndarray, seed: int
) -> list[int]:
    """The same in NumPy float64."""
    rng = np.random.default_rng(seed)
    rows, errors = features.astype(np.float64), -probabilities.astype(np.float64)
    errors[np.arange(len(errors)), errors.argmin(axis=1)] += 1
    norms = (rows**2).sum(axis=1) * (errors**2).sum(axis=1)
    allowed = np.ones(len(rows))
    allowed[labelled] = 0
    picks = [int((norms * allowed).argmax())]
    nearest = np.full(len(rows), np.inf)
    while len(picks) < budget:
        pick = picks[-1]
        nearest = np.minimum(nearest, norms + norms[pick] - 2 * (rows @ rows[pick]) * (errors @ errors[pick]))
        allowed[pick] = 0
        ends = np.cumsum(np.maximum(nearest, 0) * allowed)
        picks.append(int(np.searchsorted(ends, rng.random() * ends[-1], side="right")))
    return picks


def badge_potential(features: np.ndarray, probabilities: np.ndarray, picks: Any) -> float:
    """Mean squared distance of all gradients to the nearest pick: what k-means++ seeding makes small."""
    errors = -probabilities.astype(np.float64)
    errors[np.arange(len(errors)), errors.argmin(axis=1)] += 1
    rows = features.astype(np.float64)
    norms = (rows**2).sum(axis=1) * (errors**2).sum(axis=1)
    chosen = np.asarray(picks)
    nearest = norms[:, None] + norms[chosen] - 2 * (rows @ rows[chosen].T) * (errors @ errors[chosen].T)
    return float(np.maximum(nearest, 0).min(axis=1).mean())


def probcover_by_graph(features: np.ndarray, radius: float, budget: int, labelled: np.ndarray) -> list[int]:
    """ProbCover's greedy with the whole graph in memory."""
    unit = features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    inside = (2 - 2 * unit @ unit.T) < radius**2
    uncovered = ~inside[labelled].any(axis=0)
    taken = labelled.tolist()
    picks: list[int] = []
    while len(picks) < budget:
        gains = inside[:, uncovered].sum(axis=1)
        gains[taken] = -1
        picks.append(int(gains.argmax()))
        taken.append(picks[-1])
        uncovered &= ~inside[picks[-1]]
    return picks


def covered_share(features: np.ndarray, radius: float, picks: np.ndarray) -> float:
    """Share of the rows within the radius of a pick, on features of length one."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return float((2 - 2 * unit @ unit[picks].T < radius**2).any(axis=1).mean())


def scikit_activeml(
    name: str, features: np.ndarray, probabilities: np.ndarray, budget: int, labelled: np.ndarray, radius: float
) -> np.ndarray:
    """Picks of scikit-activeml with like settings; labelled rows get the class 0, which these strategies ignore.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import Badge, CoreSet, ProbCover, TypiClust
    from skactiveml.utils import MISSING_LABEL

    class Known(SkactivemlClassifier):  # type: ignore[misc]
        """A classifier whose probabilities of the unlabelled rows are known."""

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> np.ndarray:
            return probabilities[np.isin(np.arange(len(probabilities)), labelled, invert=True)].astype(np.float64)

    classes = np.full(len(features), MISSING_LABEL)
    classes[labelled] = 0
    rows = features.astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    match name:
        case "badge":
            known = Known(classes=list(range(probabilities.shape[1])))
            found = Badge(random_state=0).query(rows, classes, known, fit_clf=False, batch_size=budget)
        case "coreset_self":
            found = CoreSet(random_state=0).query(rows, classes, batch_size=budget)
        case "typiclust":
            found = TypiClust(random_state=0, k=20).query(unit, classes, batch_size=budget)
        case "probcover":
            strategy = ProbCover(random_state=0, n_classes=20, deltas=[radius])
            found = strategy.query(unit, classes, batch_size=budget)
        case _:
            raise ValueError(name)
    return np.asarray(found)
