"""A Ray that asvp starts takes work from nobody but its user."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from typing import Any

import pytest

# Prints who listens where, and what is answered to one who comes without the token.
ASKS = """
import http.client, json, sys, time
import psutil
from ray._private.parameter import RayParams
from asvp.actors.cluster import cluster

# Other sessions' agents may hold the usual port, and `ray.init` cannot be given another.
agent = int(sys.argv[1])
RayParams.__init__.__defaults__ = tuple(agent if one == 52365 else one for one in RayParams.__init__.__defaults__)

def answer(port, method, path):
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        asked.request(method, path, body="{}", headers={"Content-Type": "application/json"})
        return asked.getresponse().status
    except OSError:
        return None
    finally:
        asked.close()

with cluster():
    import ray

    port = int(ray._private.worker._global_node.webui_url.rsplit(":", 1)[1])
    sockets = [one for child in psutil.Process().children(recursive=True) for one in child.net_connections("inet")]
    dashboard = sorted({one.laddr.ip for one in sockets if one.status == "LISTEN" and one.laddr.port == port})
    ends, jobs = time.monotonic() + 60, None
    while jobs is None and time.monotonic() < ends:
        jobs = answer(agent, "POST", "/api/job_agent/jobs/")
        time.sleep(0.1)
    print(json.dumps({"dashboard": dashboard, "jobs": answer(port, "GET", "/api/jobs/"), "agent": jobs}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a program finds that has had asvp start Ray as a user would, with nothing set."""
    home = tmp_path_factory.mktemp("home")
    unset = ("RAY_AUTH", "RAY_ADDRESS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # A name of its own, and short: it holds sockets.
    with tempfile.TemporaryDirectory(prefix="asvp-", dir="/tmp") as place:
        process = subprocess.run(
            [sys.executable, "-c", ASKS, port],
            cwd=home,
            env={**environment, "HOME": str(home), "RAY_TMPDIR": place},
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return found


@pytest.mark.long
def test_the_dashboard_and_its_job_server_listen_on_loopback_alone(told: dict[str, Any]) -> None:
    assert told["dashboard"] == ["127.0.0.1"]


@pytest.mark.long
def test_whoever_comes_without_the_token_is_refused(told: dict[str, Any]) -> None:
    assert (told["jobs"], told["agent"]) == (401, 401)
