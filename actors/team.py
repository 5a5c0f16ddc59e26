"""How many threads extract a shard: measured once where it pays, and remembered in the cache."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError

from asvp.actors.broker import Grant, TakenForDeadError
from asvp.actors.cluster import node_cores
from asvp.actors.desk import Desk
from asvp.actors.shards import DIED, unwrap
from asvp.compute.extraction import Extraction
from asvp.compute.jobs import ExtractionOrder, ShardJob
from asvp.compute.measured_placement import (
    Measurement,
    compare,
    fewest_rows,
    memory,
    recall,
    remember,
    sample,
    stand_ins,
)
from asvp.compute.placement import Placement
from asvp.features.cache import Cache
from asvp.progress import Reporter
from asvp.spent import Share

_PATIENCE = 60.0
"""Seconds in which workers start."""


class TeamMeasurement:
    """Compares one thread a worker with more threads on fewer workers, whose cores are lent.

    Parameters
    ----------
    desk : Desk
    placement : Placement
        Of the pool.
    others : sequence of Placement
        Fewer workers with more threads.
    cache : Cache, optional
        Where what was measured is remembered.
    reporter : Reporter
    """

    def __init__(
        self, desk: Desk, placement: Placement, others: Sequence[Placement], cache: Cache | None, reporter: Reporter
    ) -> None:
        self._desk = desk
        self._placement = placement
        self._others = others
        self._cache = cache
        self._reporter = reporter

    def threads(self, extraction: Extraction, order: ExtractionOrder, rows: int) -> int:
        """Workers whose cores one shard uses, where so many rows are to be extracted."""
        if order.encoder.kind == "features" or not rows or not self._others:
            return 1
        cores = node_cores()
        teams = (self._placement, *self._others)
        entry = memory(self._cache, order.encoder.config, order.encoder.kind, list(cores.values()))
        measured, how = recall(entry, teams), "measured before"
        if measured is None and rows >= fewest_rows(teams):
            measured, how = self._measure(extraction, order, teams, cores), "measured"
        if measured is None:
            return 1
        remember(entry, measured, order.encoder.config)
        self._reporter.say(f"Extraction by {measured.fastest} ({how}: {measured})")
        return max(1, measured.fastest.threads // self._placement.threads)

    def _measure(
        self, extraction: Extraction, order: ExtractionOrder, teams: Sequence[Placement], cores: Mapping[str, int]
    ) -> Measurement | None:
        """Compare the teams on a sample, each played by the workers of the pool.

        None if one of these has died, or not all can be had at once: some have not started, or others work here too.
        """
        if not self._all_mine():
            return None
        self._reporter.say(f"Measuring who extracts fastest: {', '.join(map(str, teams))}")
        try:
            with self._desk.several(self._placement.workers) as grants:
                homes = ray.get([grant.worker.hello.remote() for grant in grants])
                pieces = sample(len(extraction.source), extraction.config.feature_dtype)

                def rate(team: Placement) -> float:
                    chosen = stand_ins(team, [node for _, node, _ in homes], cores)
                    return _rate([grants[place] for place in chosen], order, pieces, float(team.threads))

                return compare(teams, rate)
        except (*DIED, TakenForDeadError):
            return None

    def _all_mine(self) -> bool:
        """Whether all workers are there, soon, and no other driver is."""
        deadline = time.monotonic() + _PATIENCE
        while len((state := self._desk.state()).served) <= 1 and time.monotonic() < deadline:
            if state.started == state.wanted:
                return True
            time.sleep(0.1)
        return False


def _rate(grants: Sequence[Grant], order: ExtractionOrder, pieces: Sequence[ShardJob], threads: float) -> float:
    """Rows a second of workers of which every one extracts the same pieces at the same time; the tables go."""
    began = time.perf_counter()
    calls: list[Any] = [
        grant.worker.extract.options(num_returns=2).remote(order, piece, Share(threads, grant.share.gpus))[1]
        for piece in pieces
        for grant in grants
    ]
    try:
        rows: int = sum(report.rows for report in ray.get(calls))
    except RayTaskError as error:
        raise unwrap(error) from None
    return rows / (time.perf_counter() - began)
