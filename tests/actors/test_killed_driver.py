"""The driver of a run on Ray, killed at any moment and resumed on another Ray, ends as one that was not killed."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from forked import Forked
from same_runs import assert_same
from tiny_runs import picks, tiny_config

from asvp.config import Config
from asvp.driver.loop import RunResult, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two rounds with a refresh between them, by one worker."""
    return tiny_config(
        tmp_path_factory.mktemp("tiny"),
        mode="asvp",
        budget="20+10",
        refresh={"policy": "at", "at": [20]},
        training={"batch_size": 8},
        workers={"count": 1},
    )


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, list[int]]:
    """The run that is not killed, and its picks."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return run(config, out=out, in_process=True), picks(out)


# The event, and the last news in run.log. Six shards of the pool; 3 and 4 steps in the two trainings.
MOMENTS = {
    "in the first extraction": ("shard:3", "Extracting pool features: 300 rows begun"),
    "between rounds": ("round:1", "round 0 · 20 labels"),
    "in the fine-tune of the final model": ("step:5", "Training (ft) on 30 labels"),
}


# In this process all moments are killed in (tests/driver/test_killed_runs.py).
ALWAYS = "in the fine-tune of the final model"


@pytest.mark.parametrize(
    "moment", [pytest.param(one, marks=[] if one == ALWAYS else pytest.mark.slow) for one in MOMENTS]
)
def test_a_killed_driver_is_resumed_on_ray_and_ends_as_one_that_was_not(
    ray_local: Any, moment: str, config: Config, whole: tuple[RunResult, list[int]], tmp_path: Path
) -> None:
    event, news = MOMENTS[moment]
    extraction = config.extraction.model_copy(update={"cache": str(tmp_path / "cache")})
    cached = config.model_copy(update={"extraction": extraction})
    out = tmp_path / "run"
    with driver(cached, out, event) as process:
        _, error = process.communicate(timeout=240)
        assert process.returncode == -signal.SIGKILL, error
    assert news in (out / "run.log").read_text().splitlines()[-1]
    assert_same(run(cached, out=out, resume=True), out, whole)


@contextmanager
def driver(config: Config, out: Path, moment: str) -> Iterator[Forked]:
    """A run in a process and a Ray of its own, of which no process is left at the end."""
    path = out.with_name("config.yaml")
    path.write_text(config.to_yaml())
    # Ray's sockets lie below, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        process = Forked(
            *(str(ROOT / "tests" / "mortal_run.py"), str(path), str(out), moment, "ray"),
            cwd=out.parent,
            environment={"RAY_TMPDIR": folder},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            end_session(process.pid)


def end_session(session: int) -> None:
    """End whatever is left of a session of processes; others, of other Rays too, are in other sessions."""
    while left := [process for process in psutil.process_iter() if session_of(process) == session]:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


def session_of(process: psutil.Process) -> int | None:
    """The session a process is in; None once it has ended."""
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None
