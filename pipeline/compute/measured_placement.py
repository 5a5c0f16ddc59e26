"""The extraction team that is fastest on a machine: what is compared, on which rows, and what is remembered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asvp.compute.jobs import ShardJob
from asvp.compute.placement import MOST_CPU_WORKERS, Placement
from asvp.compute.processor import processor
from asvp.config import EncoderConfig, WorkersConfig
from asvp.data.source import Kind
from asvp.features.cache import Cache, CacheEntry, content_key

_PASSES = 2
"""Times that each team extracts the sample and counts; a pass before them pays for loading and warming up."""
_PIECES = 2
_PIECE_ROWS = 128
_SHARE = 0.03
"""Of the time of an extraction, at most so much may go into measuring."""
_GAIN = 1.05
"""Another team than the rule's has to be faster by this factor: it has to be started, and noise must not choose."""


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes
    ----------
    rates : tuple of (Placement, float)
        Rows a second of each team, all of its workers at work; the rule's team first.
    """

    rates: tuple[tuple[Placement, float], ...]

    @property
    def fastest(self) -> Placement:
        """The rule's team, unless another is faster by a margin."""
        rule, rate = self.rates[0]
        best, best_rate = max(self.rates, key=lambda measured: measured[1])
        return best if best_rate >= _GAIN * rate else rule

    def __str__(self) -> str:
        return ", ".join(f"{placement} {rate:,.0f} rows/s" for placement, rate in self.rates)


def alternatives(workers: WorkersConfig, rule: Placement, cores: Sequence[int]) -> tuple[Placement, ...]:
    """Teams worth comparing with the rule's where both numbers are `auto`: fewer workers with more CPU threads.

    Parameters
    ----------
    workers : WorkersConfig
    rule : Placement
        What `place` decided.
    cores : sequence of int
        CPU cores of each node.

    Returns
    -------
    tuple of Placement
        Two threads a worker, and all threads of the smallest node. Empty with GPUs, on single cores, and where the
        configuration decides.
    """
    if workers.count != "auto" or workers.cpus != "auto" or rule.gpus:
        return ()
    return tuple(
        Placement(min(MOST_CPU_WORKERS, sum(count // threads for count in cores)), float(threads), 0.0)
        for threads in sorted({2, min(cores)})
        if 1 < threads <= min(cores)
    )


def fewest_rows(teams: Sequence[Placement]) -> int:
    """Rows to extract from which on measuring the teams, the rule's first, costs a small share of the time.

    A worker with more threads is no slower than one of the rule's, and has the same sample, so no team's pass takes
    longer than that of the rule's.
    """
    return int(len(teams) * (1 + _PASSES) * _PIECES * _PIECE_ROWS * teams[0].workers / _SHARE)


def compare(teams: Sequence[Placement], rate: Callable[[Placement], float]) -> Measurement:
    """Measure teams in turn, the rule's first, and keep the best rate of each.

    Other work on the machine can slow one team for a moment, so a team that seems to be faster than the rule's is
    believed after another round.
    """
    for team in teams:
        rate(team)
    best = dict.fromkeys(teams, 0.0)
    for _ in range(2):
        for _ in range(_PASSES):
            for team in teams:
                best[team] = max(best[team], rate(team))
        measured = Measurement(tuple(best.items()))
        if measured.fastest == teams[0]:
            break
    return measured


def sample(rows: int, dtype: str) -> list[ShardJob]:
    """Pieces of a source of so many rows, for each worker the same, so that no team gets the shorter rows."""
    starts = np.linspace(0, max(0, rows - _PIECE_ROWS), _PIECES).astype(int).tolist()
    return [ShardJob(index, start, min(start + _PIECE_ROWS, rows), dtype) for index, start in enumerate(starts)]


def stand_ins(placement: Placement, homes: Sequence[str], cores: Mapping[str, int]) -> list[int]:
    """Members of a team of single-core workers who can play another team: as many on each node as it would have there.

    Where the team's workers lie so that there are fewer, the other team is measured as slower than it is.

    Parameters
    ----------
    placement : Placement
        The team to play.
    homes : sequence of str
        Node of each member.
    cores : mapping of str to int
        CPU cores of each node.

    Returns
    -------
    list of int
        Places of the members.
    """
    chosen: list[int] = []
    there: Counter[str] = Counter()
    for place, node in enumerate(homes):
        if len(chosen) < placement.workers and there[node] < cores.get(node, 0) // placement.threads:
            there[node] += 1
            chosen.append(place)
    return chosen


def memory(cache: Cache | None, encoder: EncoderConfig, kind: Kind, cores: Sequence[int]) -> CacheEntry | None:
    """Where the measurement of an encoder (its `dtype` resolved) on machines like these is kept.

    The processor is the one of the machine this runs on, which stands for those of a cluster.
    """
    if cache is None:
        return None
    return cache.entry("teams", content_key("team", _options(encoder), kind, processor(), sorted(cores)))


def remember(entry: CacheEntry | None, measured: Measurement, encoder: EncoderConfig) -> None:
    """Keep a measurement, and mark it as used now."""
    if entry is None:
        return
    rates = [[placement.workers, placement.cpus, rate] for placement, rate in measured.rates]
    entry.describe({"what": f"extraction by {measured.fastest}, measured for {encoder.model}", "rates": rates})


def recall(entry: CacheEntry | None, teams: Sequence[Placement]) -> Measurement | None:
    """The measurement of these teams that was kept, or None."""
    if entry is None:
        return None
    rates = _rates(entry.description().get("rates"))
    if not rates.keys() >= set(teams):
        return None
    return Measurement(tuple((team, rates[team]) for team in teams))


def _rates(kept: Any) -> dict[Placement, float]:
    """What a description tells of teams; nothing where it is not what `remember` writes."""
    try:
        rates = {Placement(int(workers), float(cpus), 0.0): float(rate) for workers, cpus, rate in kept}
    except (TypeError, ValueError):
        return {}
    return rates if all(math.isfinite(rate) and rate > 0 for rate in rates.values()) else {}


def _options(encoder: EncoderConfig) -> dict[str, Any]:
    """What decides how fast an encoder is, as keys have had it from the start."""
    return encoder.model_dump(mode="json", exclude={"trust_remote_code"})
