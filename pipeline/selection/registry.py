"""All strategies and wrappers by name, those of other packages too, and the check of a name with its options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from asvp.errors import SelectionError, did_you_mean
from asvp.plugins import STRATEGIES, is_import_path, load_plugin, origin, plugins, with_plugins
from asvp.selection import wrappers as wrapping
from asvp.selection.contract import Options, Plan, StrategyInfo, WrapperInfo
from asvp.selection.strategies import (
    activeft,
    badge,
    bait,
    cluster_margin,
    disagreement,
    kcenter,
    probcover,
    scores,
    typiclust,
)

_STRATEGIES = {
    info.name: info
    for info in (
        scores.RANDOM,
        scores.LEAST_CONFIDENCE,
        scores.MARGIN,
        scores.ENTROPY,
        badge.BADGE,
        badge.BADGE_PARTITION,
        kcenter.CORESET,
        kcenter.CORESET_SELF,
        typiclust.TYPICLUST,
        probcover.PROBCOVER,
        activeft.ACTIVEFT,
        activeft.ACTIVEFT_PROXY,
        cluster_margin.CLUSTER_MARGIN,
        disagreement.BALD,
        disagreement.ALFA_MIX,
        disagreement.DROP_QUERY,
        bait.BAIT,
    )
}

_WRAPPERS = {
    info.name: info for info in (wrapping.PARTITION, wrapping.SUBSAMPLE, wrapping.NEIGHBOURS, wrapping.CLASS_BALANCE)
}


def strategies() -> dict[str, StrategyInfo]:
    """Every registered strategy by name: the package's own, then those that installed packages add.

    One that cannot be loaded is left out with a warning in the log, so that a broken package stops only its own users.
    """
    return with_plugins(_STRATEGIES, STRATEGIES, lambda name: find_strategy(name, key=STRATEGIES))


def find_strategy(name: str | StrategyInfo, *, key: str) -> StrategyInfo:
    """A strategy by its name, by its entry point's name, or by an import path such as `mypackage.mine:STRATEGY`.

    A record stands for itself. One of another package is known by its entry point's name, whatever its record says,
    and takes the place of none of the package's own.

    Raises
    ------
    SelectionError
        If there is none (the nearest name is suggested), or what is there is no strategy.
    ConfigError
        If it cannot be imported.
    """
    if isinstance(name, StrategyInfo):
        return name
    known = isinstance(name, str)
    if known and name in _STRATEGIES:
        return _STRATEGIES[name]
    found = load_plugin(STRATEGIES, name, key=key) if known else None
    if found is None:
        raise _unknown(key, name, {**_STRATEGIES, **plugins(STRATEGIES)}, "strategy")
    if not isinstance(found, StrategyInfo):
        mend = "Name a strategy's record; docs/extending.md shows one"
        raise SelectionError(f"is a {type(found).__name__}, not a StrategyInfo", key=key, value=name, mend=mend)
    return found if is_import_path(name) else replace(found, name=name)


def package_of(name: str) -> str:
    """The package that a name of `strategies()` is of."""
    return "asvp" if name in _STRATEGIES else origin(STRATEGIES, name)


def wrappers() -> dict[str, WrapperInfo]:
    """Every registered wrapper by name."""
    return dict(_WRAPPERS)


def check_strategy(
    name: str | StrategyInfo,
    options: Mapping[str, Any] | None = None,
    wrap: Iterable[Mapping[str, Any] | str] = (),
    *,
    key: str = "",
) -> Plan:
    """Check a strategy's name, its options and its wrappers, before any work.

    Parameters
    ----------
    name : str or StrategyInfo
        As `find_strategy` takes it.
    options : mapping, optional
        The strategy's own options.
    wrap : iterable of one-key mappings
        Wrappers, outermost first, as in a configuration: [{"neighbours": {"k": 100}}].
    key : str
        Put before the keys in messages, for example "selection.".

    Returns
    -------
    Plan
        Tells which inputs to provide, and runs the selection.

    Raises
    ------
    SelectionError
        If a name or option is unknown (the nearest one is suggested) or a value is out of bounds.
    """
    info = find_strategy(name, key=f"{key}strategy")
    inside = f"{key}options." if key else ""
    if not isinstance(options or {}, Mapping):
        raise SelectionError("are no mapping", key=f"{key}options", value=options, mend="Write for example {rank: 64}")
    if isinstance(wrap, (str, bytes, Mapping)) or not isinstance(wrap, Iterable):
        raise SelectionError(
            "is no list of wrappers", key=f"{key}wrap", value=wrap, mend="Write for example [{partition: {parts: 10}}]"
        )
    checked = tuple(_check_wrapper(position, entry, key) for position, entry in enumerate(wrap))
    return Plan(info, _check_options(info.options, options or {}, inside, info.name), checked)


def _check_wrapper(position: int, entry: Mapping[str, Any] | str, key: str) -> tuple[WrapperInfo, Options]:
    place = f"{key}wrap[{position}]"
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise SelectionError(
            "is no wrapper with its options", key=place, value=entry, mend="Write for example {partition: {parts: 10}}"
        )
    name, options = next(iter(entry.items()))
    if not isinstance(name, str) or name not in _WRAPPERS:
        raise _unknown(place, name, _WRAPPERS, "wrapper")
    options = {} if options is None else options
    if not isinstance(options, Mapping):
        raise SelectionError(
            "the options are no mapping", key=f"{place}.{name}", value=options, mend="Write for example {parts: 10}"
        )
    info = _WRAPPERS[name]
    return info, _check_options(info.options, options, f"{place}.{name}.", name)


def _check_options(model: type[Options], given: Mapping[str, Any], key: str, owner: str) -> Options:
    known = list(model.model_fields)
    for name in given:
        if name not in known:
            listed = f"Options of {owner}: {', '.join(known)}" if known else f"{owner} has no options"
            raise SelectionError(
                "is an unknown option",
                key=f"{key}{name}",
                value=given[name],
                mend=f"{did_you_mean(name, known)}{listed}",
            )
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        finding = error.errors()[0]
        location = ".".join(str(part) for part in finding["loc"][:1])
        about = model.model_fields[location].description if location else None
        raise SelectionError(
            finding["msg"].removeprefix("Value error, "),
            key=f"{key}{location}".rstrip("."),
            value=finding["input"],
            mend=f"It means: {about}" if about else None,
        ) from None


def _unknown(key: str, name: Any, known: Mapping[str, Any], what: str) -> SelectionError:
    hint = did_you_mean(name, known, cutoff=0.5)
    return SelectionError(
        f"is no {what}", key=key, value=name, mend=f"{hint}Known: {', '.join(known) if known else 'none'}"
    )
