"""`ray job submit --working-dir .`: configurations and data travel along, and the job's own folder is warned of."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tiny_runs import tiny_settings, wait_until

RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """That of a head and of who sends it jobs."""
    with tempfile.TemporaryDirectory(prefix="asvp-", dir="/tmp") as place:
        yield {
            **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
            "RAY_TMPDIR": place,
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
        }


@pytest.fixture(scope="module")
def job_server(environment: dict[str, str]) -> Iterator[str]:
    """The address of a head's job server, on loopback."""
    port, dashboard, agent, client = free_ports(4)
    started = [
        *RAY,
        *("start", "--head", "--block", "--num-cpus=2", f"--port={port}", "--dashboard-host=127.0.0.1"),
        *(
            f"--dashboard-port={dashboard}",
            f"--dashboard-agent-listen-port={agent}",
            f"--ray-client-server-port={client}",
        ),
        f"--object-store-memory={100 << 20}",
    ]
    log = Path(environment["RAY_TMPDIR"]) / "head.log"
    with log.open("w") as file:
        head = subprocess.Popen(started, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: head.poll() is not None or all(map(answers, (dashboard, agent))), 120)
        assert head.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        head.terminate()
        head.wait(timeout=60)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.long
def test_a_sweep_sent_as_a_job_runs_on_what_travelled_and_says_that_its_folder_goes(
    job_server: str, environment: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(tmp_path)
    for name in ("pool", "test"):
        settings["data"][name] = f"{name}.parquet"
    settings["encoder"]["model"] = "./encoder"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"arms": {"svp": {"mode": "svp"}}, "seeds": [0]}))
    command = [*RAY, "job", "submit", "--address", job_server, "--working-dir", ".", "--"]
    asked = [*command, "asvp", "sweep", "space.yaml", "config.yaml"]
    ran: list[subprocess.CompletedProcess[str]] = []

    def accepted() -> bool:
        # The head's agent may need a moment longer than its socket.
        ran.append(subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240))
        return "No available agent" not in ran[-1].stdout + ran[-1].stderr

    wait_until(accepted, 120)
    said = ran[-1].stdout + ran[-1].stderr
    assert ran[-1].returncode == 0, said
    assert re.search(r"--out lies in a folder of Ray's, \S+, which is removed with the job; name one that stays", said)
    (directory,) = re.findall(r"Sweep directory: (\S+)", said)
    assert len(list(Path(directory).glob("runs/*/summary.json"))) == 1
    assert not (tmp_path / "sweeps").exists()
