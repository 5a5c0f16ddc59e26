"""With which configuration a run may go on that was begun with another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asvp.config import Config
from asvp.config.budget import format_budget
from asvp.errors import RunDirectoryError
from asvp.features.cache import content_key

MAY_CHANGE = (
    *("budget", "cost", "data.allow_outside", "data.max_image_bytes", "data.max_text_bytes", "data.root"),
    *("encoder.trust_remote_code", "extraction.cache", "extraction.cache_limit"),
    *("report", "training.keep", "workers"),
)
"""What a run may go on with though it was begun with another: who works, where, at what price, how long, what it may
read, and what is shown of it."""


def config_digest(config: Config) -> str:
    """Equal for configurations that agree in all that may not change while a run lasts."""
    return content_key(_fixed(config))


def _fixed(config: Config) -> dict[str, Any]:
    """A configuration without what is in `MAY_CHANGE`."""
    fixed = config.model_dump(mode="json")
    for key in MAY_CHANGE:
        *sections, name = key.split(".")
        section = fixed
        for part in sections:
            section = section[part]
        del section[name]
    return fixed


def require_same(begun: Config, config: Config, place: Path) -> None:
    """Raise a RunDirectoryError that names the first option that differs and must not.

    Parameters
    ----------
    begun, config : Config
        What the run in that place was begun with, and is to go on with; what is in `MAY_CHANGE` is not looked at.
    place : Path
        Of the run.
    """
    changed = sorted(_differences(_fixed(begun), _fixed(config)))
    if changed:
        key, was, is_now = changed[0]
        raise RunDirectoryError(
            f"holds a run with {key} = {was}, not {is_now}",
            key="--out",
            value=str(place),
            mend=f"Resume with what it was begun with (only {', '.join(MAY_CHANGE[1:])} and a longer budget may "
            "differ), or name another folder",
        )


def require_longer(begun: Sequence[int], budget: Sequence[int], done: int, place: Path) -> None:
    """Raise a RunDirectoryError unless a budget begins with the finished rounds and buys no fewer labels in all.

    Parameters
    ----------
    begun, budget : sequence of int
        Labels of each round: what the run was begun with, and is to go on with.
    done : int
        Finished rounds.
    place : Path
        Of the run.
    """
    if list(budget[:done]) == list(begun[:done]) and sum(budget) >= sum(begun):
        return
    beginning = f"begins with the finished rounds, {format_budget(list(begun[:done]))}, and " if done else ""
    raise RunDirectoryError(
        f"holds a run with budget = {format_budget(list(begun))}, not {format_budget(list(budget))}",
        key="--out",
        value=str(place),
        mend=f"Resume with a budget that {beginning}buys no fewer than {sum(begun)} labels, or name another folder",
    )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    for key in before:
        was, is_now = before[key], now[key]
        if isinstance(was, Mapping) and isinstance(is_now, Mapping) and set(was) == set(is_now):
            yield from _differences(was, is_now, f"{above}{key}.")
        elif was != is_now:
            yield f"{above}{key}", str(was), str(is_now)
