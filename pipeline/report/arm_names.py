"""Names of arms that are told apart by their options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_UNSET = "unset"


def arm_of(config: Mapping[str, Any]) -> str:
    """A name for a run that has none: random, or its mode and strategy."""
    strategy = str(config.get("selection", {}).get("strategy", "?"))
    mode = str(config.get("mode", "?"))
    return "random" if strategy == "random" and mode == "svp" else f"{mode} {strategy}"


def differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells the runs of one name apart, such as "proxy.lr=0.1", for each of them; "" where nothing does.

    Options that have no part in a run's work are left out of what is told of it.
    """
    flat = [_flat(config) for config in configs]
    keys = dict.fromkeys(key for one in flat for key in one if key not in _NOT_OF_AN_ARM)
    told = [{key: one.get(key, _UNSET) for key in keys if not _is_idle(key, config)}
            for one, config in zip(flat, configs, strict=True)]  # fmt: skip
    differing = [key for key in keys if len({one[key] for one in told if key in one}) > 1]
    return [", ".join(f"{key}={one[key]}" for key in differing if key in one) for one in told]


def _is_idle(key: str, config: Mapping[str, Any]) -> bool:
    """Whether an option has no part in the work of a run."""
    return any(key == idle or key.startswith(f"{idle}.") for idle in _idle(config))


def _idle(config: Mapping[str, Any]) -> Iterator[str]:
    """Sections and options that the mode, or rows that are ready-made features, make nothing of."""
    mode, data = config.get("mode"), config.get("data") or {}
    if mode in ("svp", "standard"):
        yield "refresh"
    if mode == "standard":
        yield "proxy"
    if data.get("features") is not None or str(data.get("pool")).lower().endswith(".npz"):
        yield from ("encoder", "data.text", "data.max_text_bytes", "data.max_image_bytes")
        # What is left is a linear probe.
        yield from (f"training.{name}" for name in _OF_AN_ENCODERS_TRAINING)


_OF_AN_ENCODERS_TRAINING = ("epochs", "lr", "head_lr", "weight_decay", "batch_size", "augment")


def _flat(config: Mapping[str, Any]) -> dict[str, str]:
    """Dotted keys and values as text."""
    flat: dict[str, str] = {}
    for section, options in config.items():
        if isinstance(options, Mapping):
            flat.update({f"{section}.{key}": _text(value) for key, value in options.items()})
        else:
            flat[section] = _text(options)
    return flat


def _text(value: Any) -> str:
    """A value as JSON, with 1.0 and 1 alike."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


_NOT_OF_AN_ARM = {
    "seed",
    "extraction.shard_rows",
    "extraction.cache",
    "extraction.cache_limit",
    "report.rows",
    "training.devices",
    "training.checkpointing",
    "workers.count",
    "workers.cpus",
    "workers.gpus",
    "workers.per_gpu",
    # Of earlier versions.
    "extraction.actors",
    "extraction.cpus_per_actor",
    "extraction.gpus_per_actor",
    "resources.cpus_per_trial",
    "resources.gpus_per_trial",
}
"""Options that change who does the work, not what comes out of it."""
