"""Potential Energy Decline: what features may look like after some fine-tuning."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asvp.alignment.labelled import LabelledFeatures, require_finite
from asvp.alignment.logme import logme
from asvp.arrays import plain_array
from asvp.errors import DataError

STD_FLOOR = 1e-3
"""Least standard deviation used to standardise a dimension."""

_PAIR_VALUES = 1 << 22
"""Class pairs handled at once (32 MiB of float64)."""

_CLOSE = 1e-8
"""Squared distance, relative to the centres' squared norms, under which it is taken from the difference itself."""

_SAME = 1e-24
"""Squared distance, relative likewise, that is rounding only: the centres are one and the same."""


def ped(
    features: NDArray[Any],
    labels: NDArray[Any],
    mean: NDArray[Any],
    std: NDArray[Any],
    *,
    radius_factor: float = 0.6,
    time_step: float = 0.1,
    stiffness: float = 1.0,
    max_steps: int = 6,
    exit_ratio: float = 0.5,
) -> NDArray[Any]:
    """Move classes apart like balls that overlap, one rigid shift for each class.

    In standardised space class c is a ball around its mean with radius R_c, the root of its summed variances (0 for a
    single row). Balls c and e overlap by max(radius_factor (R_c + R_e) - distance, 0), and a step pushes c away from e
    by min(time_step^2 stiffness overlap / 2, overlap) along the line between their means; all classes move at once,
    from rest. Steps end before one whose movement (sum of absolute shifts over classes and dimensions) is not above
    `exit_ratio` of the first step's, or after `max_steps`.

    Since classes move rigidly, only their means and variances are needed and rows are touched twice: time O(N D) plus
    O(C^2 D) a step, as matrix products over blocks of class pairs. Memory beyond the result: O(C D) and a block.

    Parameters
    ----------
    features : ndarray (N, D) of float16, float32 or float64
        Features of the labelled rows.
    labels : ndarray (N,) of integers
        Class numbers; only classes present take part.
    mean, std : ndarray (D,)
        Mean and standard deviation of the pool's features (the paper: of a general feature set); `std` is floored at
        `STD_FLOOR`.
    radius_factor : float, default 0.6
        How much of a radius counts; the authors use 0.6 or 0.3.
    time_step, stiffness : float, default 0.1 and 1.0
        Of the simulated motion.
    max_steps : int, default 6
        Steps at most.
    exit_ratio : float, default 0.5
        Share of the first movement at which the motion has calmed down.

    Returns
    -------
    ndarray (N, D)
        Moved features in the original units; float64 for float64 features, else float32.

    Raises
    ------
    DataError
        If the arrays do not fit together, a feature is not finite or a parameter is negative.

    References
    ----------
    Li, Hu, Ge, Shan, Duan: "Exploring Model Transferability through the Lens of Potential Energy", ICCV 2023.
    """
    rows = LabelledFeatures.check(features, labels)
    parameters = {"radius_factor": radius_factor, "time_step": time_step, "stiffness": stiffness}
    for key, value in {**parameters, "max_steps": max_steps, "exit_ratio": exit_ratio}.items():
        _check_parameter(key, value, whole=key == "max_steps")
    mean, std = _moments(mean, std, rows.features.shape[1])
    start, radii = _class_balls(rows, mean, std)
    centres, first = start, None
    for _ in range(max_steps):
        shift = _push(centres, radius_factor * radii, 0.5 * time_step**2 * stiffness)
        movement = np.abs(shift).sum()
        first = movement if first is None else first
        if movement <= exit_ratio * first:
            break
        centres = centres + shift
    kind = np.result_type(rows.features.dtype, np.float32)
    moved: NDArray[Any] = rows.features.astype(kind)
    moved += ((centres - start) * std).astype(kind)[rows.codes]
    return moved


def logme_ped(features: NDArray[Any], labels: NDArray[Any], mean: NDArray[Any], std: NDArray[Any]) -> float:
    """LogME of the features after Potential Energy Decline, with the authors' parameters.

    Parameters, errors and units are those of `ped` and `logme`. The gap `logme_ped - logme` estimates what fine-tuning
    has to offer.
    """
    return logme(ped(features, labels, mean, std), labels)


def _check_parameter(key: str, value: Any, *, whole: bool) -> None:
    good = isinstance(value, (int, np.integer) if whole else (int, float, np.integer, np.floating))
    if not good or isinstance(value, bool) or not 0 <= value < np.inf:
        raise DataError(
            f"must be a {'whole ' if whole else ''}number from 0",
            key=key,
            value=value,
            mend="The authors' values are the defaults",
        )


def _moments(mean: NDArray[Any], std: NDArray[Any], dim: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and floored standard deviation as float64 vectors."""
    checked = []
    for key, given in (("mean", mean), ("std", std)):
        vector = plain_array(given, key, DataError)
        if vector.shape != (dim,) or vector.dtype.kind not in "fiu":
            raise DataError(
                f"must have one value for each of the {dim} dimensions",
                key=key,
                value=f"{vector.dtype} {vector.shape}",
                mend="Pass the pool's moments along the rows",
            )
        require_finite(vector.astype(np.float64), key)
        checked.append(vector.astype(np.float64))
    return checked[0], np.maximum(checked[1], STD_FLOOR)


def _class_balls(
    rows: LabelledFeatures, mean: NDArray[np.float64], std: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standardised means (C, D) and radii (C,) of the classes, in two passes so that no variance is a difference."""
    centres = np.zeros((len(rows.classes), rows.features.shape[1]))
    for block, codes, starts in rows.sorted_blocks():
        centres[codes] += np.add.reduceat((block - mean) / std, starts)
    centres /= rows.counts[:, None]
    require_finite(centres)
    spread = np.zeros(len(rows.classes))
    for block, codes, starts in rows.sorted_blocks():
        owners = np.repeat(codes, np.diff(starts, append=len(block)))
        deviation = (block - mean) / std - centres[owners]
        spread[codes] += np.add.reduceat((deviation**2).sum(axis=1), starts)
    return centres, np.sqrt(spread / rows.counts)


def _push(centres: NDArray[np.float64], radii: NDArray[np.float64], pace: float) -> NDArray[np.float64]:
    """Shift (C, D) of every class c in one step, the sum over e of weight_ce (centre_c - centre_e), by blocks of c."""
    shift = np.empty_like(centres)
    # distances do not change when all centres move together, and are most exact around zero
    points = centres - centres.mean(axis=0)
    norms = np.einsum("cd,cd->c", points, points)
    step = max(1, _PAIR_VALUES // len(centres))
    for first in range(0, len(centres), step):
        block = slice(first, first + step)
        distance = _distances(points, norms, block)
        overlap = np.maximum(radii[block, None] + radii - distance, 0.0)
        length = np.minimum(pace * overlap, overlap)
        # classes with one and the same centre have no direction to part in
        weight = np.divide(length, distance, out=np.zeros_like(length), where=distance > 0)
        shift[block] = weight.sum(axis=1, keepdims=True) * points[block] - weight @ points
    return shift


def _distances(points: NDArray[np.float64], norms: NDArray[np.float64], block: slice) -> NDArray[np.float64]:
    """Distances (b, C) from a block of points to all, by one matrix product; those of close pairs directly."""
    scale = norms[block, None] + norms
    squared = scale - 2.0 * (points[block] @ points.T)
    own, other = np.nonzero(squared <= _CLOSE * scale)
    step = max(1, _PAIR_VALUES // points.shape[1])
    for first in range(0, len(own), step):
        a, b = own[first : first + step], other[first : first + step]
        squared[a, b] = ((points[block][a] - points[b]) ** 2).sum(axis=1)
    squared[squared <= _SAME * scale] = 0.0
    return np.sqrt(squared)
