"""Many short trials: what starting and recording one costs, and whether the sweep's process grows with them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from sweep_measure import Watch, trials_in, wall

import asvp
from asvp.config import Config, build_config
from asvp.tune_spaces.space import Space


def ready_made(folder: Path, workers: int, rounds: int, rows: int, dim: int, epochs: int) -> Config:
    """A configuration on ready-made features, whose final model is a linear probe of one epoch."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, dim))
    for name, count in (("pool", rows), ("test", 500)):
        labels = np.arange(count) % 10
        features = (centres[labels] + rng.normal(scale=3.0, size=(count, dim))).astype(np.float32)
        np.savez(folder / f"{name}.npz", features=features, labels=labels)
    return build_config(
        {
            "mode": "svp",
            "data": {"pool": str(folder / "pool.npz"), "test": str(folder / "test.npz")},
            "extraction": {"cache": None},
            "budget": f"100+100x{rounds - 1}",
            "selection": {"strategy": "margin"},
            "proxy": {"epochs": epochs},
            "training": {"method": "lp", "epochs": 1, "evaluate_at": "last"},
            "workers": {"count": workers, "cpus": 1},
        }
    )


def many_trials(config: Config, trials: int, out: Path) -> dict[str, Any]:
    """A sweep of one arm with many seeds.

    Returns
    -------
    dict
        Seconds of the whole command and of its trials, busy seconds of workers, seconds a trial beside them, rows of
        results.parquet; megabytes of this process when a tenth and a half of the trials were done, and at the end;
        core-seconds of trials, workers and all else, their starts included.
    """
    memory, watch = _Memory(out), Watch(os.getpid())
    began = time.monotonic()
    with memory, watch:
        result = asvp.sweep(Space({"svp": {"mode": "svp"}}, range(trials)), config, out=out)
    took = time.monotonic() - began
    found = trials_in(out)
    busy, trial_seconds = sum(trial.busy for trial in found), wall(found)
    table = result.to_pandas()
    early, half, late = memory.at(trials // 10, trials // 2)
    return {
        "trials": trials,
        "failed": len(result.failed),
        "command": took,
        "wall": trial_seconds,
        "busy": busy,
        "a_trial": trial_seconds / trials,
        "beside_a_trial": (trial_seconds - busy / int(config.workers.count)) / trials,
        "rows": len(table),
        "finished": int(table[table["finished"]]["trial"].nunique()),
        "early_mb": early,
        "half_mb": half,
        "late_mb": late,
        "core_seconds": watch.used({}),
    }


class _Memory:
    """Looks at the memory that this process has made, and at how many trials are finished, once a second.

    Pages of libraries do not count: those that other processes have mapped too become private to this one when they
    end, which looks like growth (150 MB as Ray's processes go).
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._seen: list[tuple[int, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def at(self, *finished: int) -> tuple[float, ...]:
        """Megabytes once so many trials were finished, for each number, and the last."""
        return *(next(mb for count, mb in self._seen if count >= one) for one in finished), self._seen[-1][1]

    def _look(self) -> None:
        while not self._over.wait(1.0):
            done = sum(1 for _ in self._out.glob("runs/*/summary.json"))
            self._seen.append((done, _anonymous_mb()))


def _anonymous_mb() -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024 / 1e6
