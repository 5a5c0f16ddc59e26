"""What is likely to hurt a run, as `open_dataset` and `examine` tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """A warning.

    Attributes
    ----------
    name : str
        What kind of warning it is. From `examine`: small_classes, classes_missing_from_pool, imbalance, duplicates,
        test_in_pool, empty_texts, unreadable_images. From `open_dataset`: left_out, hidden_files, no_plain_files,
        link_loops, splits_together, nested_classes, versioned_table, id_by_another_name, similar_classes, odd_classes.
    count : int
        Files, classes or rows concerned.
    message : str
        What was found, with counts and an example.
    mend : str
        What to do about it.
    stops : bool
        Whether a run would end with an error because of it.
    """

    name: str
    count: int
    message: str
    mend: str
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.message}. {self.mend}"


def some(names: Sequence[str]) -> str:
    """The first few of some names and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else shown


def by_ending(paths: Sequence[str]) -> str:
    """How many paths have which ending, the most frequent first: "3 .heic, 1 without an ending"."""
    endings = Counter(_ending(path) for path in paths)
    ranked = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{count:,} {ending or 'without an ending'}" for ending, count in ranked[:_SHOWN]]
    return ", ".join(told) + (", ..." if len(ranked) > _SHOWN else "")


def _ending(path: str) -> str:
    stem, dot, ending = path.rpartition("/")[2].rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""
