"""Private memory of a trial's process and of a worker, round by round, while the trial refreshes its features.

    python benchmarks/sweep_memory.py                     # one trial, one worker, a refresh in each of eight rounds
    python benchmarks/sweep_memory.py --trials 2 -s workers.count=2 --out memory.json

Private is what a process alone has (USS): pages that it shares with others, as those of the object store, are not
counted. What the memory is made of is read from the kernel's maps of the process at the end of each round.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import click
import psutil
from sweep_measure import TRIAL_TITLE, descendants, finish, machine

import asvp
from asvp.config import labels_by_round
from asvp.config.budget import parse_budget
from asvp.progress import SilentReporter
from asvp.tune_spaces.space import Space

_WORKER_TITLE = "ray::_Worker"
_LIBRARIES = ("torch", "ray", "pyarrow", "transformers", "tokenizers", "sklearn", "scipy", "pandas", "numpy", "PIL")


class _Looker(SilentReporter):
    """Looks at all processes whenever a round has ended."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def round(self, record: Any, trial: str | None = None) -> None:
        for process in descendants(psutil.Process()):
            try:
                title = (process.cmdline() or [""])[0]
                if title.startswith((TRIAL_TITLE, _WORKER_TITLE)):
                    kind = "trial" if title.startswith(TRIAL_TITLE) else "worker"
                    self.seen.append({"round": record["round"], "trial": trial, "kind": kind, **_memory(process)})
            except (psutil.Error, OSError):
                continue


def _memory(process: psutil.Process) -> dict[str, Any]:
    """Megabytes: private, resident, and the private ones by what they are a map of."""
    full = process.memory_full_info()
    parts: dict[str, float] = defaultdict(float)
    for one in process.memory_maps(grouped=False):
        parts[_owner(one.path)] += (one.private_clean + one.private_dirty) / 1e6
    return {"pid": process.pid, "private": full.uss / 1e6, "resident": full.rss / 1e6, "parts": dict(parts)}


def _owner(path: str) -> str:
    if path == "[heap]" or path.startswith("[anon") or not path:
        return "heap"
    return next((name for name in _LIBRARIES if f"/{name}" in path), "other")


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--trials", default=1)
@click.option("--config", default="demo", help="Whose data and options each is given.")
@click.option("--budget", default="60+20x8")
@click.option("-s", "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Another option.")
@click.option("--out", type=click.Path(path_type=Path), help="File for everything measured, as JSON.")
def main(trials: int, config: str, budget: str, changes: Sequence[str], out: Path | None) -> None:
    counts = labels_by_round(parse_budget(budget))
    usual = [f"budget={budget}", "workers.count=1", "training.evaluate_at=last", "extraction.cache=null"]
    arm = {"mode": "asvp", "refresh": {"policy": "at", "at": [int(one) for one in counts], "holdout": 0.0}}
    looker = _Looker()
    with tempfile.TemporaryDirectory() as name:
        settings = asvp.load_config(config, [*usual, *changes])
        result = asvp.sweep(Space({"asvp": arm}, range(trials)), settings, out=Path(name) / "sweep", reporter=looker)
    if result.failed:
        raise click.ClickException(f"trials failed: {result.failed}")
    rows = []
    for kind in ("trial", "worker"):
        for number in sorted({one["round"] for one in looker.seen}):
            found = [one for one in looker.seen if (one["kind"], one["round"]) == (kind, number)]
            most = max(found, key=lambda one: one["private"], default=None)
            if most is not None:
                parts = sorted(most["parts"].items(), key=lambda part: -part[1])[:4]
                told = ", ".join(f"{what} {size:.0f}" for what, size in parts)
                rows.append((f"{kind}, after round {number}", f"{most['private']:.0f} MB", told))
    finish("Private memory", {"machine": machine(), "seen": looker.seen}, rows, out)
    click.echo(json.dumps({"rounds": len(counts), "trials": trials}))


if __name__ == "__main__":
    main()
