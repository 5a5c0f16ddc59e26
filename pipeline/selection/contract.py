"""What a strategy says about itself: its record, its options, and the plan made of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from asvp.errors import SelectionError
from asvp.selection.pool.pool import Pool, Score
from asvp.selection.rows import Array

Input = Literal["features", "probabilities", "labels", "members", "head", "scorer", "raw_features"]
Representation = Literal["raw", "proxy"]

INPUT_HELP: dict[Input, str] = {
    "features": "(N, D) features of the pool, in the representation the strategy names: the encoder's, or the proxy's",
    "probabilities": "(N, C) class probabilities of the pool from the proxy",
    "labels": "(L,) class numbers of the labelled rows, in the order of `labelled`",
    "members": "M times (N, C) class probabilities, from dropout passes or a small ensemble of proxies",
    "head": "the linear layer from `features` to logits: an object with weight (C, D) and bias (C,)",
    "scorer": "a model with probabilities(features) -> (n, C) for the features passed",
    "raw_features": "(N, D) features of the encoder, for wrappers; `features` where the strategy takes those",
}


class BrokenPromiseError(SelectionError):
    """A strategy that returned other than different unlabelled rows, as many as it was asked for."""

    exit_code = 1


class Options(BaseModel):
    """Options of a strategy or wrapper: typed, bounded, strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Numbers of NumPy count as Python's; a truth value is no number."""
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, bool) and "bool" not in str(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("Input should be a number, not a truth value")
        return value


Run = Callable[[Pool, int, Any, np.random.Generator], Array]


@dataclass(frozen=True)
class StrategyInfo:
    """A strategy's record: what `asvp strategies` shows and what the driver has to provide.

    Attributes
    ----------
    name : str
        As written in a configuration.
    summary : str
        What it picks, in a sentence.
    paper : str
        Where it comes from.
    run : callable
        (pool, budget, options, generator) -> row numbers in pick order.
    inputs : tuple of str
        Inputs it cannot do without (`INPUT_HELP` describes each).
    representation : {"raw", "proxy"}, optional
        Which features it wants: the encoder's, or the proxy's hidden ones.
    options : type of Options
    complexity : str
        Operations and extra memory in N rows, D features, C classes, B budget, L labelled rows.
    score : callable, optional
        For strategies that rank rows one by one: a block's inputs -> a score a row, highest first. Such strategies
        run as one map over blocks and a merge, wherever the blocks lie.
    needs_labelled : bool
        Whether at least one row has to be labelled.
    sharded : bool
        Whether all rows are looked at where their shards lie (`asvp.selection.pool.sharded`).
    """

    name: str
    summary: str
    paper: str
    run: Run
    inputs: tuple[Input, ...] = ()
    representation: Representation | None = None
    options: type[Options] = Options
    complexity: str = "O(N)"
    score: Score | None = None
    needs_labelled: bool = False
    sharded: bool = False

    @property
    def cold_start(self) -> bool:
        """Whether it can make the first picks, without any label or model."""
        return not self.needs_labelled and set(self.inputs) <= {"features"} and self.representation != "proxy"


WrapperRun = Callable[[Run, Pool, int, Any, Any, np.random.Generator], Array]


@dataclass(frozen=True)
class WrapperInfo:
    """A wrapper's record.

    `run` takes (strategy's run, pool, budget, own options, strategy's options, generator); `sharded` says whether only
    the candidates it chooses have to travel, so that any strategy in it can work on a pool in parts.
    """

    name: str
    summary: str
    paper: str
    run: WrapperRun
    inputs: tuple[Input, ...] = ()
    options: type[Options] = Options
    complexity: str = ""
    needs_labelled: bool = False
    sharded: bool = False


@dataclass(frozen=True)
class Plan:
    """A strategy with its wrappers and all options checked.

    Attributes
    ----------
    info : StrategyInfo
    options : Options
    wrappers : tuple of (WrapperInfo, Options)
        Outermost first.
    """

    info: StrategyInfo
    options: Options
    wrappers: tuple[tuple[WrapperInfo, Options], ...] = field(default=())

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Inputs the strategy and its wrappers cannot do without."""
        names = [*self.info.inputs, *(name for wrapper, _ in self.wrappers for name in wrapper.inputs)]
        return tuple(dict.fromkeys(names))

    @property
    def representation(self) -> Representation | None:
        """Which features to pass as `features`; None where none are needed."""
        return self.info.representation

    @property
    def needs_labelled(self) -> bool:
        """Whether at least one row has to be labelled."""
        return self.info.needs_labelled or any(wrapper.needs_labelled for wrapper, _ in self.wrappers)

    @property
    def sharded(self) -> bool:
        """Whether a pool in parts need not be brought together: of the rows, only candidates travel."""
        return self.wrappers[0][0].sharded if self.wrappers else self.info.sharded

    @property
    def cold_start(self) -> bool:
        """Whether it can make the first picks, without any label or model."""
        own = not any(wrapper.needs_labelled or "probabilities" in wrapper.inputs for wrapper, _ in self.wrappers)
        return own and self.info.cold_start

    def run(self, pool: Pool, budget: int, rng: np.random.Generator) -> Array:
        """Picks of the strategy inside its wrappers."""
        run, options = self.info.run, self.options
        for wrapper, own in reversed(self.wrappers):
            run, options = _wrapped(wrapper, own, run, options), Options()
        return run(pool, budget, options, rng)


def _wrapped(wrapper: WrapperInfo, own: Options, inner: Run, inner_options: Options) -> Run:
    def run(pool: Pool, budget: int, _: Any, rng: np.random.Generator) -> Array:
        return wrapper.run(inner, pool, budget, own, inner_options, rng)

    return run
