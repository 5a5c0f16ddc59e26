"""Arrays as they come from outside, made plain in one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from asvp.errors import AsvpError


def plain_array(values: Any, key: str, error: type[AsvpError]) -> np.ndarray[Any, np.dtype[Any]]:
    """What NumPy makes of an argument: a plain array, without a copy where that is possible.

    Parameters
    ----------
    values : object
    key : str
        Name of the argument, for messages.
    error : type
        Of the error to raise.

    Raises
    ------
    AsvpError
        Of that type, if nothing can be made of it, or if some values are masked: what a mask hides is no number.
    """
    masked = [part for part in _parts(values) if isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part)]
    if masked:
        hidden = int(sum(np.ma.getmaskarray(part).sum() for part in masked))
        raise error(
            f"{hidden} values are masked", key=key, value=type(values).__name__, mend="Fill them, or leave the rows out"
        )
    try:
        return np.asarray(values)
    except Exception as problem:
        # Ragged lists, tensors on a device or with a gradient, and whatever an object's __array__ raises.
        told = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise error(f"is no array: {told}", key=key, value=type(values).__name__, mend="Pass a NumPy array") from None


def _parts(values: Any) -> list[Any]:
    """The object itself, and what a list holds: NumPy drops the masks of both."""
    return [values, *values] if isinstance(values, (list, tuple)) else [values]
