"""What a round's proxies, picks and indicators took in earlier runs on machines like this one, as their files tell."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from asvp.compute.processor import processor
from asvp.config import read_scalar
from asvp.config.text import YAML_ERRORS
from asvp.files import parse_json

_STAGES = ("proxy", "indicator", "select")
_MOST_RUNS = 60
"""The newest so many are read: each costs some ten milliseconds."""

Seconds = Mapping[Hashable, float]
"""Busy seconds of a round, by `loop_key`."""


def loop_key(config: Mapping[str, Any]) -> str:
    """Equal for runs whose rounds take alike: the same rows, features, proxy, strategy and policy."""
    encoder = {key: value for key, value in config["encoder"].items() if key not in ("dtype", "decode")}
    selection = {key: config["selection"][key] for key in ("strategy", "options", "wrap")}
    asvp = config["mode"] == "asvp"
    refresh = {key: config["refresh"][key] for key in ("policy", "features")} if asvp else None
    return json.dumps([config["mode"], config["data"], encoder, selection, config["proxy"], refresh], sort_keys=True)


def runs_beside(out: Path) -> list[Path]:
    """Run directories of the sweeps that lie beside a sweep directory, and of runs/ here, the newest first."""
    found = [*out.parent.glob("*/runs/*/rounds.jsonl"), *Path("runs").glob("*/rounds.jsonl")]
    dated = []
    for rounds in found:
        try:
            dated.append((rounds.stat().st_mtime, rounds.parent))
        except OSError:
            continue
    return [folder for _, folder in sorted(dated, reverse=True)]


def round_seconds(folders: Iterable[Path], *, gpu: bool) -> dict[Hashable, float]:
    """Mean busy seconds of a round, by `loop_key`; runs on other processors, and what cannot be read, are passed over.

    Parameters
    ----------
    folders : iterable of Path
        Of which the first few are read.
    gpu : bool
        Whether runs with workers on GPUs are meant, or those without.
    """
    told: dict[Hashable, list[float]] = defaultdict(list)
    for folder in list(folders)[:_MOST_RUNS]:
        try:
            machine = parse_json((folder / "environment.json").read_text(encoding="utf-8"))
            if machine["processor"] != processor() or bool(machine["gpus"]) != gpu:
                continue
            key = loop_key(read_scalar((folder / "config.yaml").read_text(encoding="utf-8")))
            lines = (folder / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
            told[key] += [sum(float(parse_json(line)["seconds"][stage]) for stage in _STAGES) for line in lines]
        except (OSError, KeyError, AttributeError, *YAML_ERRORS):
            # Runs of other versions, and half-written ones, tell nothing.
            continue
    return {key: sum(seconds) / len(seconds) for key, seconds in told.items() if seconds}
