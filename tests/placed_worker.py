"""A worker that leaves word of where it is: its node, and what Ray gave it there."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle

from asvp.actors.pool import worker_pool
from asvp.actors.worker import _Worker

# The tests are no package that a worker could import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def recording_pool(folder: Path) -> Any:
    """`worker_pool`, each of whose workers writes a file into a folder as soon as it is there."""

    class Placed(_Worker):
        def hello(self) -> tuple[str, str, dict[str, Any]]:
            name, node, machine = super().hello()
            context = ray.get_runtime_context()
            told = {
                "node": node,
                "gpus": context.get_accelerator_ids()["GPU"],
                "share": context.get_assigned_resources(),
                "device": self._bench.device,
            }
            whole = folder / f"{os.getpid()}.json"
            whole.with_suffix(".tmp").write_text(json.dumps(told))
            whole.with_suffix(".tmp").rename(whole)
            return name, node, machine

    folder.mkdir()
    return partial(worker_pool, worker=ray.remote(Placed))


def placed_workers(folder: Path) -> list[dict[str, Any]]:
    """What the workers of a pool have told so far."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
