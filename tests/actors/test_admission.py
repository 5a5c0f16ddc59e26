"""A cluster that wants a token lets those in who have it, and the others know at once what they lack."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asvp.actors.admission import require_admission
from asvp.errors import ClusterError

pytest.importorskip("grpc")
TOKEN = "0123456789abcdef0123456789abcdef"
HEAD = """
import sys, ray
ray.init(address="local", num_cpus=1, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
         object_store_memory=100 << 20)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""
# Ray is not asked to connect, so what it would say is never waited for.
JOIN = """
import sys
from asvp.actors import cluster
from asvp.errors import ClusterError

def connects(**options):
    print("connects")
    raise KeyboardInterrupt

cluster.ray.init = connects
try:
    with cluster.cluster(sys.argv[1]):
        pass
except ClusterError as error:
    print(error)
except KeyboardInterrupt:
    pass
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    return {**plain, "HOME": str(home), **more}


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that wants a token."""
    home = tmp_path_factory.mktemp("home")
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD],
        env=environment(home, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    address = process.stdout.readline().strip()
    assert address, "the head did not start"
    yield address
    process.stdin.close()
    process.wait(60)


def joining(head: str, home: Path, **variables: str) -> str:
    command = [sys.executable, "-c", JOIN, head]
    done = subprocess.run(command, env=environment(home, **variables), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("mode", ["disabled", ""])
def test_without_tokens_it_says_so_before_ray_is_asked(mode: str, head: str, tmp_path: Path) -> None:
    told = joining(head, tmp_path, **({"RAY_AUTH_MODE": mode} if mode else {}))
    assert told.startswith(f"--address: the cluster wants a token: RAY_AUTH_MODE is {mode or 'not set'} here, ")
    assert "RAY_AUTH_MODE=token" in told
    assert "RAY_AUTH_TOKEN_PATH" in told
    assert "RAY_AUTH_TOKEN " in told


@pytest.mark.parametrize("where", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_a_wrong_token_is_told_with_where_it_came_from(where: str, head: str, tmp_path: Path) -> None:
    wrong = TOKEN[::-1]
    (tmp_path / "token").write_text(wrong)
    value = wrong if where == "RAY_AUTH_TOKEN" else str(tmp_path / "token")
    told = joining(head, tmp_path, RAY_AUTH_MODE="token", **{where: value})
    assert "it does not take the one that is here" in told
    assert f"of {where}" in told
    assert wrong not in told


@pytest.mark.parametrize("path", ["", "nowhere"])
def test_no_token_at_all_is_told(path: str, head: str, tmp_path: Path) -> None:
    variables = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / path)} if path else {}
    told = joining(head, tmp_path, RAY_AUTH_MODE="token", **variables)
    assert "the cluster wants a token: there is no token here, in " in told
    assert (str(tmp_path / path) if path else "~/.ray/auth_token") in told


@pytest.mark.parametrize("where", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_the_right_token_is_let_through_to_ray(where: str, head: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    value = TOKEN if where == "RAY_AUTH_TOKEN" else str(tmp_path / "token")
    assert joining(head, tmp_path, RAY_AUTH_MODE="token", **{where: value}) == "connects"


def test_this_process_which_has_no_token_is_refused_at_once(head: str) -> None:
    with pytest.raises(ClusterError, match="RAY_AUTH_MODE is disabled here"):
        require_admission(head, "--address")


def test_what_is_no_cluster_is_left_to_ray() -> None:
    require_admission("127.0.0.1:9", "--address")
