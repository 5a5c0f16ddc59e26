"""The inputs of `select`, each held against what it claims to be; a bad row is found when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asvp.arrays import plain_array
from asvp.errors import SelectionError
from asvp.selection.contract import INPUT_HELP
from asvp.selection.geometry.points import as_tensor
from asvp.selection.pool.pool import HeadLike, ScorerLike
from asvp.selection.rows import BLOCK_ROWS, Array, FeatureRows, as_rows, plain_block, plain_numbers

_LARGEST = 1e15
"""Of a number in a feature, in magnitude."""


def usable_device(device: Any) -> str:
    """A torch device by name, after something was put there and read back."""
    told = str(device)
    try:
        if not isinstance(device, (str, torch.device)):
            raise TypeError("it is no name of a device")
        if torch.device(device).type != "cpu":
            torch.zeros(1, device=device).cpu()
    except Exception as error:
        # Torch has an error of its own for every way in which a device can be missing.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SelectionError(
            f"cannot be used here: {reason}", key="device", value=told, mend="Use cpu, or cuda where there is a GPU"
        ) from None
    return told


def member_rows(members: Any) -> tuple[FeatureRows, ...]:
    if isinstance(members, (str, bytes, Mapping)) or not isinstance(members, Iterable):
        raise SelectionError(
            "are no list of matrices", key="members", value=members, mend=f"Pass {INPUT_HELP['members']}"
        )
    found = []
    for number, member in enumerate(members):
        rows = probability_rows(member, f"members[{number}]")
        if rows is None:
            raise SelectionError("is missing", key=f"members[{number}]", mend=f"Pass {INPUT_HELP['members']}")
        found.append(rows)
    return tuple(found)


def check_classes(outputs: FeatureRows | None, voices: tuple[FeatureRows, ...], labels: Array | None) -> None:
    """Raise unless probabilities, members and labels can be of the same classes."""
    known = [*([] if outputs is None else [("probabilities", outputs)])]
    known += [(f"members[{number}]", rows) for number, rows in enumerate(voices)]
    if not known:
        return
    classes = known[0][1].dim
    for key, rows in known[1:]:
        if rows.dim != classes:
            raise SelectionError(
                f"has other than the {known[0][1].dim} classes of {known[0][0]}", key=key, value=rows.dim
            )
    if known and labels is not None and labels.size and labels.max() >= known[0][1].dim:
        raise SelectionError(
            f"name a class beyond the {known[0][1].dim} of {known[0][0]}", key="labels", value=int(labels.max())
        )


def plain_head(head: Any, outputs: FeatureRows | None) -> HeadLike | None:
    """A linear layer whose arrays every strategy can work on, of the classes of the probabilities."""
    if head is None:
        return None
    if not hasattr(head, "weight") or not hasattr(head, "bias"):
        raise SelectionError("is no linear layer", key="head", value=head, mend=f"Pass {INPUT_HELP['head']}")
    weight, bias = (
        plain_numbers(plain_array(getattr(head, name), f"head.{name}", SelectionError), f"head.{name}")
        for name in ("weight", "bias")
    )
    for name, part in (("weight", weight), ("bias", bias)):
        if not np.isfinite(part).all():
            raise SelectionError("holds numbers that are not finite", key=f"head.{name}")
    if outputs is not None and weight.ndim == 2 and len(weight) != outputs.dim:
        raise SelectionError(f"does not fit the {outputs.dim} classes of probabilities", key="head", value=weight.shape)
    return PlainHead(weight, bias)


def labelled_rows(labelled: Any, labels: Any, size: int) -> tuple[Array, Array | None]:
    rows = row_numbers(labelled, size, "labelled")
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    if labels is None:
        return ordered, None
    classes = plain_array(labels, "labels", SelectionError)
    if classes.size == 0:
        classes = np.empty(0, dtype=np.int64)
    if classes.shape != rows.shape or classes.dtype.kind not in "iu" or (classes.size and classes.min() < 0):
        raise SelectionError(
            f"are not {len(rows)} class numbers, one for each labelled row",
            key="labels",
            value=f"{classes.dtype} of shape {classes.shape}",
        )
    return ordered, classes[order].astype(np.int64)


def row_numbers(values: Any, size: int, key: str) -> Array:
    """Different row numbers as int64, in the order given."""
    rows = plain_array(values, key, SelectionError)
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


@dataclass(frozen=True)
class PlainHead:
    """A linear layer whose arrays every strategy can work on."""

    weight: Array
    bias: Array


class CheckedScorer:
    """A model whose answers are held against what a scorer promises."""

    def __init__(self, scorer: ScorerLike) -> None:
        self._scorer = scorer

    @classmethod
    def of(cls, scorer: Any) -> CheckedScorer:
        """Raises SelectionError if it is no scorer."""
        if not callable(getattr(scorer, "probabilities", None)):
            raise SelectionError("is no model", key="scorer", value=scorer, mend=f"Pass {INPUT_HELP['scorer']}")
        return cls(scorer)

    def probabilities(self, features: Array) -> Array:
        """Class probabilities (n, C) of features (n, D)."""
        found = plain_array(self._scorer.probabilities(features), "scorer", SelectionError)
        if found.ndim != 2 or len(found) != len(features) or not np.isfinite(found).all():
            raise SelectionError(
                f"gives no finite probabilities of {len(features)} rows",
                key="scorer",
                value=f"{found.dtype} of shape {found.shape}",
                mend=f"Pass {INPUT_HELP['scorer']}",
            )
        return found


class _Checked:
    """FeatureRows that raise on the first bad row instead of letting it be ranked; every block is checked once."""

    def __init__(self, base: FeatureRows, key: str, check: Callable[[Array, Array], None]) -> None:
        self.source = base
        self._key = key
        self._check = check
        self._good: set[int] = set()

    def __len__(self) -> int:
        return len(self.source)

    @property
    def dim(self) -> int:
        return self.source.dim

    def span(self, start: int, stop: int) -> Array:
        block = plain_block(self.source.span(start, stop), self._key, (stop - start, self.dim))
        touched = range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS))
        if not self._good.issuperset(touched):
            self._check(np.arange(start, stop), block)
            if start % BLOCK_ROWS == 0 and (stop % BLOCK_ROWS == 0 or stop == len(self)):
                self._good.update(touched)
        return block

    def gather(self, rows: Array) -> Array:
        block = plain_block(self.source.gather(rows), self._key, (len(rows), self.dim))
        if len(self._good) * BLOCK_ROWS < len(self):
            self._check(rows, block)
        return block


def feature_rows(values: Any, key: str) -> FeatureRows | None:
    def check(rows: Array, block: Array) -> None:
        # What is not a number is both least and largest.
        if block.size == 0 or max(abs(bound.item()) for bound in torch.aminmax(as_tensor(block))) <= _LARGEST:
            return
        good, what = np.isfinite(block).all(axis=1), "numbers that are not finite"
        if good.all():
            good = (np.abs(block) <= _LARGEST).all(axis=1)
            what = f"numbers beyond {_LARGEST:.0e}, whose squares float32 cannot add up"
        raise SelectionError(f"a row holds {what}", key=key, value=f"row {rows[np.argmin(good)]}")

    return None if values is None else _Checked(as_rows(values, key), key, check)


def probability_rows(values: Any, key: str) -> FeatureRows | None:
    def check(rows: Array, block: Array) -> None:
        if not len(block):
            return
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

    return None if values is None else _Checked(as_rows(values, key), key, check)
