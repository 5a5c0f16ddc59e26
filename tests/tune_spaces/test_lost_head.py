"""A sweep or run whose cluster loses its head ends by itself, says how to go on, and goes on so on another cluster."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray
import yaml
from forked import Forked, fork_ray_workers
from tiny_runs import picks, tiny_config, wait_until

from asvp.actors import head
from asvp.driver.loop import run
from asvp.errors import HeadLostError
from asvp.progress import SilentReporter
from asvp.tune_spaces.space import Space, trials
from asvp.tune_spaces.sweep import run_sweep

pytestmark = pytest.mark.long

CLUSTER = """
import sys
from forked import fork_ray_workers
from ray.cluster_utils import Cluster

fork_ray_workers()
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 100 << 20})
[server] = cluster.head_node.all_processes["gcs_server"]
print(cluster.address, server.process.pid, flush=True)
sys.stdin.read()
"""
ARMS = {"svp": {}, "asvp": {"mode": "asvp", "refresh": {"policy": "at", "at": [20]}}}
RAYS_SECONDS = "9"
"""After which Ray ends a process whose head is silent; a minute unless it is told otherwise."""


@dataclass(frozen=True)
class MortalHead:
    """The head of a cluster of one node: where it answers, and the process that does."""

    address: str
    server: int

    def kill(self) -> None:
        os.kill(self.server, signal.SIGKILL)


@pytest.fixture
def mortal_head() -> Iterator[MortalHead]:
    """A cluster that another process has started: Ray would end that of the tests, too, a minute after the head."""
    fork_ray_workers()
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address, server = process.stdout.readline().split()
        started = psutil.Process(process.pid).children(recursive=True)
        try:
            yield MortalHead(address, int(server))
        finally:
            for one in [*started, process]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()


def ended(process: Forked) -> str:
    """What a command said last, that ended by itself, with the status of a failure at work and no word of Ray's."""
    _, said = process.communicate(120)
    assert process.returncode == 1, said
    assert not any(sign in said for sign in ("rpc_client", "***", "Traceback"))
    return said.strip().splitlines()[-1]


def gone(address: str) -> str:
    return (
        f"asvp: Ray's head at {address} is gone: nothing answers there any more. Start the cluster anew, or use "
        "another; finished rounds are kept, and this goes on: asvp"
    )


def test_a_sweep_that_loses_the_head_ends_by_itself_and_goes_on_on_another_cluster(
    mortal_head: MortalHead, tmp_path: Path
) -> None:
    out, address = tmp_path / "out", mortal_head.address
    base = tiny_config(tmp_path, workers={"count": 1, "cpus": 1}, extraction={"cache": str(tmp_path / "cache")})
    (tmp_path / "config.yaml").write_text(base.to_yaml())
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"arms": ARMS, "seeds": [0]}))
    words = ["sweep", "space.yaml", "config.yaml", "--address", address, "--out", str(out)]
    process = Forked("-m", "asvp", *words, cwd=tmp_path, environment={head.RAYS_SETTING: RAYS_SECONDS})
    wait_until(lambda: process.poll() is not None or any(out.glob("runs/*/rounds.jsonl")), 120)
    mortal_head.kill()
    assert ended(process) == f"{gone(address)} {' '.join(words)} --resume"
    kept = {folder.parent.name: picks(folder.parent) for folder in out.glob("runs/*/rounds.jsonl")}
    assert kept
    chosen = list(trials(Space(ARMS, (0,)), base.model_dump()))
    result = run_sweep(chosen, out, resume=True, address="local", reporter=SilentReporter())
    assert result.failed == {}
    assert result.unfinished == ()
    for trial in chosen:
        run(trial.config, out=tmp_path / trial.name, in_process=True)
        bought = picks(out / "runs" / trial.name)
        assert bought == picks(tmp_path / trial.name)
        assert kept.get(trial.name, []) == bought[: len(kept.get(trial.name, []))]


# The sweep above has the same.
@pytest.mark.slow
def test_a_run_that_loses_the_head_ends_by_itself_and_goes_on_without_a_cluster(
    mortal_head: MortalHead, tmp_path: Path
) -> None:
    out, address = tmp_path / "out", mortal_head.address
    config = tiny_config(tmp_path, workers={"count": 1, "cpus": 1})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    words = ["run", "config.yaml", "--address", address, "--out", str(out)]
    process = Forked("-m", "asvp", *words, cwd=tmp_path, environment={head.RAYS_SETTING: RAYS_SECONDS})
    wait_until(lambda: process.poll() is not None or (out / "rounds.jsonl").exists(), 120)
    mortal_head.kill()
    assert ended(process) == f"{gone(address)} run --resume {out} --address {address}"
    kept = picks(out)
    run(config, out=out, resume=True, in_process=True)
    run(config, out=tmp_path / "whole", in_process=True)
    assert picks(out) == picks(tmp_path / "whole")
    assert picks(out)[: len(kept)] == kept


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What is taken for the head's own socket."""
    monkeypatch.setenv(head.RAYS_SETTING, "0.3")
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = SimpleNamespace(gcs_address=f"127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(ray, "get_runtime_context", lambda: place)
        yield server


def test_whoever_waits_in_python_hears_of_it_as_an_error(listener: socket.socket) -> None:
    handler = signal.getsignal(signal.SIGURG)

    def wait_for_ever() -> None:
        with head.head_watched():
            listener.accept()
            listener.close()
            threading.Event().wait()

    with pytest.raises(HeadLostError, match=r"Ray's head at 127\.0\.0\.1:\d+ is gone"):
        wait_for_ever()
    assert signal.getsignal(signal.SIGURG) == handler


def test_a_head_that_answers_again_in_time_is_not_lost(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([True, False, False, True, False, True])
    over = threading.Event()

    def answers(address: str) -> bool:
        found = next(looks, None)
        if found is None:
            over.set()
        return found is not False

    monkeypatch.setenv(head.RAYS_SETTING, "600")
    monkeypatch.setattr(head, "_LOOK", 0.01)
    monkeypatch.setattr(head, "_answers", answers)
    with head.head_watched():
        assert over.wait(30)
