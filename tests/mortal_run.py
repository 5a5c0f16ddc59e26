"""A run that is killed, by SIGKILL, at a named moment: started by tests in a process of its own.

    python mortal_run.py CONFIG OUT MOMENT

MOMENT is EVENT:COUNT; the process dies at the COUNTth time the event happens.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pipeline.active_learning
import pipeline.workers.session
from pipeline.config import load_config
from pipeline.driver import run

config, out, moment = sys.argv[1:]
event, _, count = moment.partition(":")
seen: Counter[str] = Counter()


def happens(name: str) -> None:
    seen[name] += 1
    if name == event and seen[name] == int(count):
        os.kill(os.getpid(), signal.SIGKILL)


def before(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        happens(name)
        return function(*args, **kwargs)

    return wrapped


def stepwise(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs, on_step=lambda done, steps: happens("step"))

    return wrapped


session = pipeline.workers.session
session.EncoderSession.extract = before("shard", session.EncoderSession.extract)  # type: ignore[method-assign]
session.fine_tune = stepwise(session.fine_tune)  # type: ignore[assignment]
learning = pipeline.active_learning
learning.save_checkpoint = before("checkpoint", learning.save_checkpoint)  # type: ignore[assignment]
learning.save_final_model = before("final", learning.save_final_model)  # type: ignore[assignment]
run(load_config(config), out=Path(out), in_process=True, on_round=lambda record: happens("round"))
