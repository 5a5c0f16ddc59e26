"""`select`: the inputs checked once, for every strategy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np

from asvp.errors import BudgetError, SelectionError
from asvp.selection.contract import INPUT_HELP, BrokenPromiseError, Input, Plan, StrategyInfo
from asvp.selection.inputs import (
    CheckedScorer,
    check_classes,
    feature_rows,
    labelled_rows,
    member_rows,
    plain_head,
    probability_rows,
    row_numbers,
    usable_device,
)
from asvp.selection.pool.pool import HeadLike, Pool, ScorerLike
from asvp.selection.registry import check_strategy, strategies
from asvp.selection.rows import Array


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
    if not isinstance(return_scores, (bool, np.bool_)):
        raise SelectionError("is neither True nor False", key="return_scores", value=return_scores)
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
    rows = None if among is None else row_numbers(among, pool.size, "among")
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
    for key, value, kind in (("plan", plan, Plan), ("pool", pool, Pool)):
        if not isinstance(value, kind):
            raise SelectionError(
                f"is no {kind.__name__}", key=key, value=value, mend="See check_strategy and make_pool"
            )
    _check_inputs(plan, pool)
    check_budget(budget, pool.size - len(pool.labelled))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SelectionError("is no whole number from 0", key="seed", value=seed)
    return _checked_picks(plan, pool, int(budget), plan.run(pool, int(budget), np.random.default_rng(int(seed))))


def _checked_picks(plan: Plan, pool: Pool, budget: int, picks: Any) -> Array:
    """What a strategy returned, held against what it promises: strategies of other packages run here too."""
    rows = np.asarray(picks)
    if rows.shape != (budget,) or rows.dtype.kind not in "iu":
        fault = f"{budget} picks were asked for, it gave {rows.dtype} of shape {rows.shape}"
    elif rows.min() < 0 or rows.max() >= pool.size:
        fault = "a pick is no row number"
    elif len(np.unique(rows)) < budget:
        fault = "a row was picked twice"
    elif np.isin(rows, pool.labelled).any():
        fault = "a labelled row was picked"
    else:
        return rows.astype(np.int64)
    raise BrokenPromiseError(
        f"breaks a promise: {fault}", key="strategy", value=plan.info.name, mend="See asvp.selection.testing"
    )


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
        "features": feature_rows(features, "features"),
        "probabilities": probability_rows(probabilities, "probabilities"),
        "raw_features": feature_rows(raw_features, "raw_features"),
    }
    voices = member_rows(members)
    named = [(key, rows) for key, rows in given.items() if rows is not None]
    named += [(f"members[{number}]", rows) for number, rows in enumerate(voices)]
    if size is None:
        if not named:
            raise SelectionError(
                "nothing tells how many rows there are", key="size", mend="Pass features, probabilities or size"
            )
        size = len(named[0][1])
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise SelectionError("is no whole number of rows from 1", key="size", value=size)
    size = int(size)
    for key, values in named:
        if len(values) != size:
            other = named[0][0] if key != named[0][0] else "size"
            raise SelectionError(f"has other than the {size} rows of {other}", key=key, value=len(values))
    known, classes = labelled_rows(labelled, labels, size)
    outputs = given["probabilities"]
    check_classes(outputs, voices, classes)
    return Pool(
        size=size,
        labelled=known,
        labels=classes,
        features=given["features"],
        probabilities=given["probabilities"],
        raw_features=given["raw_features"],
        members=voices,
        head=plain_head(head, outputs),
        scorer=None if scorer is None else CheckedScorer.of(scorer),
        device=usable_device(device),
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
