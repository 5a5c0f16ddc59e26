"""`select`: the inputs checked once, for every strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np
import torch

from asvp.errors import BudgetError, SelectionError
from asvp.selection.contract import INPUT_HELP, Input, Plan, StrategyInfo
from asvp.selection.geometry.points import as_tensor
from asvp.selection.pool.pool import HeadLike, Pool, ScorerLike
from asvp.selection.registry import check_strategy, strategies
from asvp.selection.rows import BLOCK_ROWS, Array, FeatureRows, as_rows

_LARGEST = 1e15
"""Of a number in a feature, in magnitude."""


@overload
def select(
    strategy: str | StrategyInfo, *, budget: int, seed: int, return_scores: Literal[True], **rest: Any
) -> tuple[Array, Array]: ...


@overload
def select(
    strategy: str | StrategyInfo, *, budget: int, seed: int, return_scores: Literal[False] = False, **rest: Any
) -> Array: ...


def select(
    strategy: str | StrategyInfo,
    *,
    budget: int,
    seed: int,
    features: Any = None,
    probabilities: Any = None,
    labelled: Any = (),
    labels: Any = None,
    members: Iterable[Any] = (),
    head: HeadLike | None = None,
    scorer: ScorerLike | None = None,
    raw_features: Any = None,
    size: int | None = None,
    among: Any = None,
    wrap: Iterable[Mapping[str, Any] | str] = (),
    device: str = "cpu",
    return_scores: bool = False,
    **options: Any,
) -> Array | tuple[Array, Array]:
    """Choose rows of a pool to label next.

    Parameters
    ----------
    strategy : str or StrategyInfo
        A name of `strategies()`, an import path, or a record, which tells which of the inputs below it needs.
    budget : int
        Rows to pick, B.
    seed : int
        Of everything random in the selection.
    features : ndarray or FeatureRows, shape (N, D)
        float16, float32 or float64 (computed with as float32), in the representation the strategy's record names.
    probabilities : ndarray or FeatureRows, shape (N, C)
        Class probabilities; rows sum to one.
    labelled : array of int, shape (L,)
        Row numbers labelled already; they are never picked.
    labels : array of int, shape (L,)
        Their class numbers.
    members : iterable of (N, C) arrays or FeatureRows
        Class probabilities of several models or dropout passes.
    head : object with weight (C, D) and bias (C,)
        The linear layer on `features`.
    scorer : object with probabilities(features)
        The model on `features`.
    raw_features : ndarray or FeatureRows, shape (N, D')
        The encoder's features, for wrappers, where `features` are others.
    size : int, optional
        Rows in the pool, N, where no input tells.
    among : array of int, optional
        Candidates: the row numbers to pick from, as if no other row were unlabelled; labelled ones are never picked.
        None: all rows.
    wrap : iterable of one-key mappings
        Wrappers, outermost first.
    device : str
        Torch device of the matrix products.
    return_scores : bool
        Give the picks' scores too, for strategies that rank rows one by one (their record has a `score`).
    **options
        The strategy's own options.

    Returns
    -------
    picks : ndarray of int64, shape (B,)
        Distinct unlabelled row numbers in pick order.
    scores : ndarray of float64, shape (B,)
        Their scores, highest picked first; only with `return_scores`.

    Raises
    ------
    SelectionError
        If a name, option or input is unknown, missing, ill-shaped or not finite, or scores are asked of a strategy
        that has none.
    BudgetError
        If fewer than B rows (of the candidates) are unlabelled.

    Examples
    --------
    >>> import numpy as np
    >>> select("margin", budget=1, seed=0, probabilities=np.array([[0.9, 0.1], [0.6, 0.4]]))
    array([1])
    """
    plan = check_strategy(strategy, options, wrap)
    if return_scores and plan.info.score is None:
        raise SelectionError(
            "gives no scores: it picks rows together, not one by one",
            key="return_scores",
            value=plan.info.name,
            mend=f"Strategies with scores: {', '.join(name for name, info in strategies().items() if info.score)}",
        )
    pool = make_pool(
        features=features,
        probabilities=probabilities,
        labelled=labelled,
        labels=labels,
        members=members,
        head=head,
        scorer=scorer,
        raw_features=raw_features,
        size=size,
        device=device,
    )
    rows = None if among is None else _row_numbers(among, pool.size, "among")
    if rows is None:
        picks = run_plan(plan, pool, budget=budget, seed=seed)
    else:
        picks = pool.kept(rows)[run_plan(plan, pool.subset(rows), budget=budget, seed=seed)]
    return (picks, scores_of(plan, pool, picks)) if return_scores else picks


def scores_of(plan: Plan, pool: Pool, rows: Array) -> Array:
    """What a strategy that ranks rows one by one gives rows, (len(rows),) float64, higher picked first."""
    assert plan.info.score is not None
    places, kept = np.unique(rows, return_inverse=True)
    some = replace(pool.subset(places), labelled=np.empty(0, np.int64), labels=None)
    own = np.searchsorted(pool.kept(places), places)
    scores = np.concatenate([plan.info.score(block) for block in some.blocks()]).astype(np.float64)
    return np.asarray(scores[own][kept])


def run_plan(plan: Plan, pool: Pool, *, budget: int, seed: int) -> Array:
    """Picks of a checked strategy from a checked pool; parameters, result and errors as in `select`."""
    _check_inputs(plan, pool)
    check_budget(budget, pool.size - len(pool.labelled))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SelectionError("is no whole number from 0", key="seed", value=seed)
    return plan.run(pool, int(budget), np.random.default_rng(int(seed))).astype(np.int64)


def check_budget(budget: Any, unlabelled: int) -> None:
    """Raise unless `budget` is a whole number from 1 to the number of unlabelled rows."""
    if isinstance(budget, bool) or not isinstance(budget, (int, np.integer)) or budget < 1:
        raise SelectionError("is no whole number of rows from 1", key="budget", value=budget)
    if budget > unlabelled:
        raise BudgetError(
            f"more rows are asked for than the {unlabelled} that are unlabelled",
            key="budget",
            value=int(budget),
            mend=f"Ask for at most {unlabelled}",
        )


def make_pool(
    *,
    features: Any = None,
    probabilities: Any = None,
    labelled: Any = (),
    labels: Any = None,
    members: Iterable[Any] = (),
    head: HeadLike | None = None,
    scorer: ScorerLike | None = None,
    raw_features: Any = None,
    size: int | None = None,
    device: str = "cpu",
) -> Pool:
    """The inputs of `select` as one checked Pool; parameters and errors as there."""
    given = {
        "features": _feature_rows(features, "features"),
        "probabilities": _probability_rows(probabilities, "probabilities"),
        "raw_features": _feature_rows(raw_features, "raw_features"),
    }
    voices = tuple(
        rows
        for number, member in enumerate(members)
        if (rows := _probability_rows(member, f"members[{number}]")) is not None
    )
    named = [(key, rows) for key, rows in given.items() if rows is not None]
    named += [(f"members[{number}]", rows) for number, rows in enumerate(voices)]
    if size is None:
        if not named:
            raise SelectionError(
                "nothing tells how many rows there are", key="size", mend="Pass features, probabilities or size"
            )
        size = len(named[0][1])
    for key, values in named:
        if len(values) != size:
            other = named[0][0] if key != named[0][0] else "size"
            raise SelectionError(f"has other than the {size} rows of {other}", key=key, value=len(values))
    if size < 1:
        raise SelectionError("there are no rows", key="size", value=size)
    known, classes = _labelled(labelled, labels, size)
    return Pool(
        size=size,
        labelled=known,
        labels=classes,
        features=given["features"],
        probabilities=given["probabilities"],
        raw_features=given["raw_features"],
        members=voices,
        head=head,
        scorer=scorer,
        device=device,
    )


def _check_inputs(plan: Plan, pool: Pool) -> None:
    present: dict[Input, bool] = {
        "features": pool.features is not None,
        "probabilities": pool.probabilities is not None,
        "labels": pool.labels is not None,
        "members": len(pool.members) > 0,
        "head": pool.head is not None,
        "scorer": pool.scorer is not None,
        "raw_features": pool.raw_features is not None or (pool.features is not None and plan.representation == "raw"),
    }
    names = [plan.info.name, *(wrapper.name for wrapper, _ in plan.wrappers)]
    for name in plan.inputs:
        if not present[name]:
            raise SelectionError(f"{' in '.join(names)} needs it", key=name, mend=f"Pass {INPUT_HELP[name]}")
    if plan.needs_labelled and len(pool.labelled) == 0:
        raise SelectionError(
            f"{' in '.join(names)} needs labelled rows",
            key="labelled",
            value=[],
            mend="Make the first picks with a strategy that needs none, such as random or typiclust",
        )
    if pool.head is not None and "head" in plan.inputs and pool.features is not None:
        shape = np.shape(pool.head.weight)
        if len(shape) != 2 or shape[1] != pool.features.dim or np.shape(pool.head.bias) != shape[:1]:
            raise SelectionError(f"does not fit features of {pool.features.dim} numbers", key="head", value=shape)


def _labelled(labelled: Any, labels: Any, size: int) -> tuple[Array, Array | None]:
    rows = _row_numbers(labelled, size, "labelled")
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    if labels is None:
        return ordered, None
    classes = np.asarray(labels)
    if classes.size == 0:
        classes = np.empty(0, dtype=np.int64)
    if classes.shape != rows.shape or classes.dtype.kind not in "iu" or (classes.size and classes.min() < 0):
        raise SelectionError(
            f"are not {len(rows)} class numbers, one for each labelled row",
            key="labels",
            value=f"{classes.dtype} of shape {classes.shape}",
        )
    return ordered, classes[order].astype(np.int64)


def _row_numbers(values: Any, size: int, key: str) -> Array:
    """Different row numbers as int64, in the order given."""
    rows = np.asarray(values)
    if rows.size == 0:
        return np.empty(0, dtype=np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise SelectionError(
            "are no row numbers", key=key, value=f"{rows.dtype} of shape {rows.shape}", mend="Pass whole numbers"
        )
    outside = rows[(rows < 0) | (rows >= size)]
    if len(outside):
        raise SelectionError(f"is not a row number from 0 to {size - 1}", key=key, value=int(outside[0]))
    ordered = np.sort(rows)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise SelectionError("names a row twice", key=key, value=int(twice[0]))
    return rows.astype(np.int64)


class _Checked:
    """FeatureRows that raise on the first bad row instead of letting it be ranked; every block is checked once."""

    def __init__(self, base: FeatureRows, check: Callable[[Array, Array], None]) -> None:
        self.source = base
        self._check = check
        self._good: set[int] = set()

    def __len__(self) -> int:
        return len(self.source)

    @property
    def dim(self) -> int:
        return self.source.dim

    def span(self, start: int, stop: int) -> Array:
        block = self.source.span(start, stop)
        touched = range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS))
        if not self._good.issuperset(touched):
            self._check(np.arange(start, stop), block)
            if start % BLOCK_ROWS == 0 and (stop % BLOCK_ROWS == 0 or stop == len(self)):
                self._good.update(touched)
        return block

    def gather(self, rows: Array) -> Array:
        block = self.source.gather(rows)
        if len(self._good) * BLOCK_ROWS < len(self):
            self._check(rows, block)
        return block


def _feature_rows(values: Any, key: str) -> FeatureRows | None:
    def check(rows: Array, block: Array) -> None:
        # What is not a number is both least and largest.
        if block.size == 0 or max(abs(bound.item()) for bound in torch.aminmax(as_tensor(block))) <= _LARGEST:
            return
        good, what = np.isfinite(block).all(axis=1), "numbers that are not finite"
        if good.all():
            good = (np.abs(block) <= _LARGEST).all(axis=1)
            what = f"numbers beyond {_LARGEST:.0e}, whose squares float32 cannot add up"
        raise SelectionError(f"a row holds {what}", key=key, value=f"row {rows[np.argmin(good)]}")

    return None if values is None else _Checked(as_rows(values, key), check)


def _probability_rows(values: Any, key: str) -> FeatureRows | None:
    def check(rows: Array, block: Array) -> None:
        with np.errstate(invalid="ignore"):
            totals = block.sum(axis=1, dtype=np.float64)
            good = (block.min(axis=1) >= -1e-6) & (np.abs(totals - 1) < 1e-2)
        if not good.all():
            place = int(np.flatnonzero(~good)[0])
            raise SelectionError(
                f"row {rows[place]} holds no probabilities: its sum is {totals[place]:.4g}, "
                f"its least {block[place].min():.4g}",
                key=key,
                mend="Pass the output of a softmax over the classes",
            )

    return None if values is None else _Checked(as_rows(values, key), check)
