"""What Ray's callbacks are told of a trial: its own name and parameters, in place of Ray Tune's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from asvp.tune_spaces.loggers.points import Point
from asvp.tune_spaces.loggers.trial import Setting


@dataclass(frozen=True, eq=False)
class StandIn:
    """The attributes of a Ray Tune trial that callbacks read.

    Attributes
    ----------
    trial_id, name : str
    config : mapping
        What they show of it.
    experiment_dir_name : str
        What they group trials by.
    local_path : str
        An existing folder.
    """

    trial_id: str
    name: str
    experiment_dir_name: str
    local_path: str
    config: dict[str, Setting] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def by_labels(points: Sequence[Point]) -> Iterator[tuple[int, Mapping[str, float]]]:
    """Points that are in the order of their labels: what has the same number of labels together."""
    for labels, group in groupby(points, lambda point: point.labels):
        yield labels, {point.name: point.value for point in group}
