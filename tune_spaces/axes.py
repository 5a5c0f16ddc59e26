"""Axes: values that an option takes in turn (`grid`), or is given at random (`choice`, `uniform`, `loguniform`)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from asvp.errors import ConfigError


@dataclass(frozen=True)
class Value:
    """A value of an axis.

    Attributes
    ----------
    name : str or None
        What it is called in an arm's name; None: by itself.
    value : object
        For an option what it is set to, for a section the keys to set in it.
    """

    name: str | None
    value: Any


@dataclass(frozen=True)
class Grid:
    """Values that are all tried."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Choice:
    """One of the values, each as likely."""

    values: tuple[Value, ...]

    def draw(self, generator: np.random.Generator, *, whole: bool) -> Value:
        """One of them."""
        return self.values[int(generator.integers(len(self.values)))]


@dataclass(frozen=True)
class Range:
    """A number between two, both included where numbers are whole.

    Attributes
    ----------
    low, high : float
    logarithmic : bool
        Whether its logarithm, and not the number itself, is spread evenly.
    """

    low: float
    high: float
    logarithmic: bool = False

    def draw(self, generator: np.random.Generator, *, whole: bool) -> Value:
        """A number; with three digits, so that an arm's name tells it exactly, or a whole one."""
        share = float(generator.random())
        # Each whole number has an interval of its own, also the first and the last.
        low, high = (self.low, self.high + 1) if whole else (self.low, self.high)
        found = low * (high / low) ** share if self.logarithmic else low + share * (high - low)
        return Value(None, min(math.floor(found), int(self.high))) if whole else self.rounded(found)

    def rounded(self, number: float) -> Value:
        """A number of the range with three digits, so that an arm's name tells it exactly."""
        return Value(None, min(max(float(f"{number:.3g}"), self.low), self.high))


Sampled = Choice | Range
Axis = Grid | Choice | Range


def grid(*values: Any, **named: Any) -> Grid:
    """An axis whose values are all tried, in the order given.

    Parameters
    ----------
    *values : object
        Each is called by itself in the names of arms: `grid(1, 2)` under `refresh.every` makes every_1 and every_2.
    **named : object
        Values with names: `grid(small={"lr": 0.1}, large={"lr": 1.0})`.

    Raises
    ------
    ConfigError
        If there are none.
    """
    return Grid(_values("grid", values, named))


def choice(*values: Any, **named: Any) -> Choice:
    """An axis that is one of the values at random, as often as the space's `samples`; the rest as in `grid`."""
    return Choice(_values("choice", values, named))


def uniform(low: float, high: float) -> Range:
    """An axis that is a number from `low` to `high` at random, as often as the space's `samples`.

    An option that takes whole numbers only is given whole ones. One of a strategy's or wrapper's own options, and of
    `encoder.options`, is given whole numbers where both bounds are (1, 10), any where one is not (1.0, 10).

    Raises
    ------
    ConfigError
        If they are no numbers, or not in order.
    """
    return _range("uniform", low, high)


def loguniform(low: float, high: float) -> Range:
    """The same as `uniform`, each order of magnitude as likely as another; `low` must be above 0."""
    return _range("loguniform", low, high)


_KINDS = ("grid", "choice", "uniform", "loguniform")


def as_axis(written: Any) -> Axis | None:
    """An axis as Python or YAML writes it ({grid: [1, 2]}); None for what is none.

    Raises
    ------
    ConfigError
        If it is one, and not understood.
    """
    if isinstance(written, Axis):
        return written
    if not isinstance(written, Mapping) or len(written) != 1:
        return None
    kind, values = next(iter(written.items()))
    if kind not in _KINDS:
        return None
    if kind in ("uniform", "loguniform"):
        bounds = values if isinstance(values, list) and len(values) == 2 else (values, None)
        return _range(kind, *bounds)
    if not isinstance(values, (list, Mapping)):
        raise ConfigError("is no list", key=kind, value=values, mend=f"Write {{{kind}: [1, 2]}}")
    listed, named = ((), values) if isinstance(values, Mapping) else (tuple(values), {})
    found = _values(kind, listed, named)
    return Grid(found) if kind == "grid" else Choice(found)


def meant_axis(written: Any) -> str | None:
    """The kind of axis that something that is none was most likely meant to be ({gird: [1, 2]})."""
    if not isinstance(written, Mapping) or len(written) != 1:
        return None
    near = difflib.get_close_matches(str(next(iter(written))), _KINDS, n=1)
    return near[0] if near else None


def _values(kind: str, values: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Value, ...]:
    found = (*(Value(None, value) for value in values), *(Value(str(name), value) for name, value in named.items()))
    if not found:
        raise ConfigError("has no values", key=kind, mend=f"Write {kind}(1, 2), or in YAML {{{kind}: [1, 2]}}")
    return found


def _range(kind: str, low: Any, high: Any) -> Range:
    numbers = all(isinstance(bound, Real) and not isinstance(bound, bool) for bound in (low, high))
    if not numbers or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(
            "is not two numbers, the lower one first",
            key=kind,
            value=[low, high],
            mend=f"Write {kind}(0.1, 1.0), or in YAML {{{kind}: [0.1, 1.0]}}",
        )
    if kind == "loguniform" and low <= 0:
        raise ConfigError("the lower bound must be above 0", key=kind, value=[low, high])
    plain = [int(bound) if isinstance(bound, Integral) else float(bound) for bound in (low, high)]
    return Range(plain[0], plain[1], logarithmic=kind == "loguniform")
