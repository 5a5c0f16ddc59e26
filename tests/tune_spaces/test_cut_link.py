"""Two nodes in network namespaces of their own, whose link is cut for a while in the middle of a sweep."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from tiny_runs import picks, tiny_config, wait_until

from asvp.config import Config
from asvp.driver.loop import run
from asvp.tune_spaces.space import Space, trials

# tests/tune_spaces/test_cut_off.py has the same with nodes that stand still.
pytestmark = [pytest.mark.slow, pytest.mark.long]

RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
NODE = ["--num-cpus=1", '--resources={"driver": 1}', f"--object-store-memory={100 << 20}", "--disable-usage-stats"]
"""Room for a worker and a trial."""
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""A node is dead after six seconds of silence at least; by default after about a minute."""
PORT = 6379
COMMAND = """
from ray import tune
from asvp.tune_spaces import tuning
tuning._DRIVER = tune.PlacementGroupFactory([{"driver": 1}])
from asvp.cli.app import main
main()
"""
OWN_FOLDER = 'mount --bind "$1" "$RAY_TMPDIR" && shift && exec "$@"'
"""In a namespace: what a node's Ray keeps in its folder is not that of the other, as on two machines."""


class Link:
    """Two namespaces with an address each, and what runs there."""

    def __init__(self, folder: Path) -> None:
        mark = uuid.uuid4().hex[:6]
        self.names = (f"asvp-{mark}-a", f"asvp-{mark}-b")
        self._devices = (f"va{mark}", f"vb{mark}")
        self.addresses = ("10.77.0.1", "10.77.0.2")
        self._folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
            "RAY_TMPDIR": str(folder / "ray"),
            "OMP_NUM_THREADS": "1",
        }

    def make(self) -> None:
        """Lay the link.

        Raises
        ------
        CalledProcessError
            If this system has no namespaces, or they are not ours to make.
        """
        for name in self.names:
            _ip("netns", "add", name)
        one, other = self.names
        _ip("link", "add", self._devices[0], "netns", one, "type", "veth", "peer", self._devices[1], "netns", other)
        for name, device, address in zip(self.names, self._devices, self.addresses, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", device, "up")

    def remove(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def set(self, state: str) -> None:
        """Cut it ("down"), or lay it again ("up")."""
        _ip("-n", self.names[1], "link", "set", self._devices[1], state)

    def start(self, place: int, *words: str, log: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a command in a namespace; what it says goes into a file."""
        own = self._folder / f"ray-{place}"
        for folder in (own, self._folder / "ray"):
            folder.mkdir(exist_ok=True)
        inside = ["ip", "netns", "exec", self.names[place], "sh", "-c", OWN_FOLDER, "sh", str(own), *words]
        with (self._folder / log).open("wb") as file:
            return subprocess.Popen(inside, cwd=cwd, env=self.environment, stdout=file, stderr=subprocess.STDOUT)

    def said(self, log: str) -> str:
        return (self._folder / log).read_text(errors="replace")

    def is_there(self, process: int) -> bool:
        """Whether a process is in the second namespace."""
        told = subprocess.run(["ip", "netns", "identify", str(process)], capture_output=True, text=True, check=True)
        return told.stdout.strip() == self.names[1]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def link() -> Iterator[Link]:
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` here (iproute2) to make network namespaces with")
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="asvp-", dir="/tmp", ignore_cleanup_errors=True)
        )
        made = Link(Path(folder))
        stack.callback(made.remove)
        try:
            made.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not to be had here: {error.stderr.strip()}")
        yield made


@pytest.fixture
def nodes(link: Link) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A head in the first namespace, and a node in the second."""
    head, other = link.addresses
    begin = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--system-config={json.dumps(HEALTH)}"]
    started = []
    try:
        started.append(link.start(0, *RAY, *begin, f"--node-ip-address={head}", *NODE, log="head.log"))
        wait_until(lambda: "--block" in link.said("head.log") or started[0].poll() is not None, 120)
        join = [f"--address={head}:{PORT}", f"--node-ip-address={other}"]
        started.append(link.start(1, *RAY, *join, *NODE, log="node.log"))
        wait_until(lambda: "--block" in link.said("node.log") or started[1].poll() is not None, 120)
        assert [one.poll() for one in started] == [None, None], link.said("head.log") + link.said("node.log")
        yield started
    finally:
        for one in reversed(started):
            one.terminate()
        for one in started:
            one.wait(60)


def holders(out: Path) -> dict[str, int]:
    """The processes of the trials that are at work."""
    told = out.glob("runs/*/checkpoint/.held.*.tmp/holder.json")
    return {path.parents[2].name: int(json.loads(path.read_text())["pid"]) for path in told}


@pytest.mark.parametrize("cut", ["short", "long"])
def test_a_sweep_outlives_a_link_that_is_cut(
    link: Link, nodes: list[subprocess.Popen[bytes]], cut: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    base: Config = tiny_config(
        tmp_path,
        budget="20+10x6",
        extraction={"cache": str(tmp_path / "cache")},
        workers={"count": 2, "cpus": 1},
    )
    (tmp_path / "config.yaml").write_text(base.to_yaml())
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"arms": {"svp": {}}, "seeds": [0, 1]}))
    words = ["sweep", "space.yaml", "config.yaml", "--out", "out", "--address", f"{link.addresses[0]}:{PORT}"]
    sweep = link.start(0, sys.executable, "-c", COMMAND, *words, log="sweep.log", cwd=tmp_path)

    def a_round_is_done_beyond_the_link() -> bool:
        there = [trial for trial, process in holders(out).items() if link.is_there(process)]
        return sweep.poll() is not None or any((out / "runs" / trial / "rounds.jsonl").exists() for trial in there)

    wait_until(a_round_is_done_beyond_the_link, 180)
    assert sweep.poll() is None, link.said("sweep.log")
    link.set("down")
    if cut == "short":
        again = time.monotonic() + 2.0
        wait_until(lambda: time.monotonic() >= again)
    else:
        wait_until(lambda: "was lost (" in link.said("sweep.log") or sweep.poll() is not None, 120)
    link.set("up")
    assert sweep.wait(240) == 0, link.said("sweep.log")
    assert ("was lost (" in link.said("sweep.log")) == (cut == "long")
    if cut == "long":
        # It hears that it was given up, and ends with all that it had.
        nodes[1].wait(60)
    for trial in trials(Space({"svp": {}}, (0, 1)), base.model_dump()):
        run(trial.config, out=tmp_path / trial.name, in_process=True)
        assert picks(out / "runs" / trial.name) == picks(tmp_path / trial.name)
