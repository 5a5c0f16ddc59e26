"""Several listeners of a sweep as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asvp.tune_spaces.tuning import Listener


class Listeners:
    """A `Listener` that tells others, in turn."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def started(self, trial: str) -> None:
        """A trial has begun, or goes on."""
        for listener in self._listeners:
            listener.started(trial)

    def round(self, trial: str, record: Mapping[str, Any]) -> None:
        """A trial has finished a round, or a final model of an earlier one has arrived."""
        for listener in self._listeners:
            listener.round(trial, record)

    def ended(self, trial: str, failed: str | None) -> None:
        """A trial has come to its end, or failed for good, and why."""
        for listener in self._listeners:
            listener.ended(trial, failed)

    def lost(self, trial: str, times: int) -> None:
        """A trial's process or node was lost; it is tried again."""
        for listener in self._listeners:
            listener.lost(trial, times)

    def step(self, states: Mapping[str, int]) -> None:
        """Time passes."""
        for listener in self._listeners:
            listener.step(states)
