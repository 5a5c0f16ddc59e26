"""How a sweep searches its space: all of it, at random, or by suggestion; remembered for a resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asvp.errors import ConfigError, did_you_mean
from asvp.files import parse_json
from asvp.tune_spaces.axes import Sampled
from asvp.tune_spaces.draws import drawn_arms
from asvp.tune_spaces.space import Space, Trial, told_same, trials, varying_arms, with_seeds

METHODS = ("grid", "random", "optuna")
FILE = "search.json"
"""The file of a sweep directory that holds the search, and what was suggested so far."""


@dataclass(frozen=True)
class Search:
    """How arms are made of a space.

    Attributes
    ----------
    method : {"grid", "random", "optuna"}
        All of them; arms drawn at random; arms suggested one after another from what earlier ones reached.
    samples : int or None
        Of a grid: how many values each axis is given that is drawn at random, instead of the space's own number. Else
        how many arms there are.
    """

    method: str = "grid"
    samples: int | None = None


def settled(method: str | None, samples: int | None, before: Search | None = None) -> Search:
    """What is asked for, and where nothing is, what the sweep was begun with.

    Parameters
    ----------
    method : str or None
    samples : int or None
    before : Search, optional
        Of the sweep that goes on.

    Raises
    ------
    ConfigError
        If it is no search, lacks samples, or is another than before.
    """
    if method is not None and method not in METHODS:
        hint = did_you_mean(method, METHODS)
        mend = f"{hint}Choose among: {', '.join(METHODS)}"
        raise ConfigError("is no search", key="--search", value=method, mend=mend)
    if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or samples < 1):
        raise ConfigError("is no whole number from 1", key="--samples", value=samples)
    if before is not None and method not in (None, before.method):
        raise ConfigError(
            f"the sweep was begun with {before.method}, and goes on with no other",
            key="--search",
            value=method,
            mend="Leave it out, or begin another sweep",
        )
    known = before or Search()
    found = Search(method or known.method, known.samples if samples is None else samples)
    if found.method != "grid" and found.samples is None:
        raise ConfigError(
            f"a search by {found.method} needs to know how many arms",
            key="--samples",
            mend="Add for example --samples 20",
        )
    return found


def require_sampled(space: Space) -> None:
    """Raise a ConfigError where the samples of a grid would do nothing: no axis of the space is drawn at random."""
    if not any(isinstance(axis, Sampled) for arm in varying_arms(space) for axis in arm.axes.values()):
        raise ConfigError(
            "is of no use: no axis of this space is drawn at random, and a search by grid runs all its arms",
            key="--samples",
            mend="Leave it out, or draw so many arms: add --search random",
        )


def planned_trials(
    space: Space,
    base: Mapping[str, Any],
    search: Search,
    seeds: Sequence[int] | None,
    say: Callable[[str], None],
) -> list[Trial]:
    """The trials of a search that are known before anything runs: those of a grid, or drawn at random.

    Parameters
    ----------
    space : Space
    base : mapping
        The configuration that all arms share.
    search : Search
    seeds : sequence of int or None
        Instead of the space's own.
    say : callable
        Told of arms that are one, and of draws that brought fewer.

    Raises
    ------
    ConfigError, SelectionError
        If an arm makes a configuration that cannot be, which the message names, or names or seeds are none.
    """
    if search.method == "grid":
        return list(trials(replace(space, samples=search.samples or space.samples), base, seeds, say))
    arms = drawn_arms(space, base, search.samples or 1, say)
    for line in told_same(arms):
        say(line)
    return list(with_seeds(arms, space.seeds if seeds is None else seeds))


def read_search(out: Path) -> tuple[Search, list[dict[str, Any]]]:
    """How the sweep in a directory searches, and what was suggested; a grid where an earlier version said nothing.

    Raises
    ------
    ConfigError
        If the file is damaged.
    """
    path = out / FILE
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        suggested = [{"parameters": dict(one["parameters"]), "arm": one["arm"]} for one in found["suggested"]]
        return settled(found["search"], found["samples"]), suggested
    except FileNotFoundError:
        return Search(), []
    except (OSError, ValueError, TypeError, KeyError, ConfigError) as error:
        raise ConfigError(f"cannot be read: {error}", key=str(path), mend="Begin another sweep") from None


def write_search(
    out: Path,
    search: Search,
    suggested: Sequence[Mapping[str, Any]],
    write: Callable[[Path, Callable[[Path], Any]], None],
) -> None:
    """Remember a search, and what was suggested so far.

    Parameters
    ----------
    out : Path
        The sweep directory.
    search : Search
    suggested : sequence of mapping
    write : callable
        Writes a file of the sweep directory: its path, and what is given another path to write.
    """
    told = {"search": search.method, "samples": search.samples, "suggested": list(suggested)}
    write(out / FILE, lambda path: path.write_text(json.dumps(told, indent=1), encoding="utf-8"))
