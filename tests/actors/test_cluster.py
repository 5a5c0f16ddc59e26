"""Joining a cluster: what cannot be reached, what does not fit, and what is said while nothing happens."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from forked import Forked
from ray_pools import backend_of
from tiny_runs import tiny_config, tiny_settings, wait_until

import asvp
import asvp.actors.desk
from asvp.actors import cluster, survey
from asvp.actors.cluster import living_nodes, nodes, require_same_versions
from asvp.actors.survey import Asked
from asvp.compute import Extraction
from asvp.data import open_dataset
from asvp.errors import ClusterError
from asvp.progress import SilentReporter


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cluster")
    (made / "config.yaml").write_text(yaml.safe_dump(tiny_settings(made / "tiny")))
    return made


def command(folder: Path, *arguments: str, **environment: str) -> str:
    """What a command that refuses its input says."""
    process = Forked("-m", "asvp", *arguments, cwd=folder, environment=environment)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    return err


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_an_address_in_the_environment_that_does_not_answer_is_named(folder: Path) -> None:
    place = f"127.0.0.1:{closed_port()}"
    said = command(folder, "run", "config.yaml", "--out", "never", RAY_ADDRESS=place)
    assert f"RAY_ADDRESS: nothing answers there: [Errno 111] Connection refused (got {place!r})" in said
    assert not (folder / "never").exists()


def test_a_cluster_of_this_machine_that_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    """Ray notes the address of the cluster that was started last, and takes it for one that runs."""
    program = "from asvp.actors.cluster import cluster, nodes\nwith cluster():\n    print(len(nodes()), 'nodes')"
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        (Path(short) / "ray").mkdir()
        (Path(short) / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{closed_port()}")
        process = Forked("-c", program, cwd=tmp_path, environment={"RAY_TMPDIR": short, "RAY_ADDRESS": ""})
        out, err = process.communicate(timeout=120)
    assert out.strip() == "1 nodes", err


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "http://127.0.0.1:8265"])
def test_an_address_of_another_kind_of_server_is_refused(folder: Path, address: str) -> None:
    said = command(folder, "run", "config.yaml", "--out", "never", "--address", address)
    assert "--address: is an address of Ray's client or job server" in said


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("run", "config.yaml", "-s", "workers.count=1000"), "workers.count: there is room for"),
        (
            ("sweep", "svp_vs_asvp", "config.yaml", "-s", "workers.cpus=1000"),
            "workers.cpus: no node has so many CPUs",
        ),
    ],
)
def test_what_could_never_start_is_refused_before_anything_is_written(
    folder: Path, arguments: tuple[str, ...], key: str
) -> None:
    said = command(folder, *arguments, "--out", "never", "--address", "local")
    assert key in said
    assert not (folder / "never").exists()


class Heard(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str, **ids: Any) -> None:
        self.lines.append(text)


def test_while_others_hold_the_cores_it_says_what_it_waits_for_and_then_goes_on(
    ray_local: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        def here(self) -> bool:
            return True

    holder = ray_local.remote(num_cpus=4)(Other).remote()
    ray_local.get(holder.here.remote())
    monkeypatch.setattr(asvp.actors.desk, "SAY_AFTER_SECONDS", 0.2)
    config, heard = tiny_config(folder / "tiny"), Heard()
    source = open_dataset(config.data).pool
    made: list[Any] = []
    with backend_of(config, reporter=heard) as backend:

        def extract() -> None:
            made.append(backend.extract(Extraction(source, "encoder", 0, config.extraction)))

        work = threading.Thread(target=extract)
        work.start()
        wait_until(lambda: len(heard.lines) > 1)
        assert set(heard.lines) == {"0 of 1 workers started; waiting for resources (0 of 4 CPUs free)"}
        del holder
        work.join(timeout=60)
    assert len(made[0]) == 300


def test_nodes_with_the_versions_of_this_process_are_welcome_and_others_are_named(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray_cluster.add_node(num_cpus=2)
    ray_cluster.wait_for_nodes()
    assert sorted(node["CPU"] for node in nodes()) == [1.0, 2.0]
    require_same_versions()
    installed = asvp.__version__
    monkeypatch.setattr(asvp, "__version__", "0.0.7")
    with pytest.raises(ClusterError, match=rf"has Python .*asvp {installed}; this process has .*asvp 0\.0\.7"):
        require_same_versions()


def test_a_node_that_is_lost_while_all_are_asked_is_left_out(ray_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ray_cluster.add_node(num_cpus=2)
    ray_cluster.wait_for_nodes()
    known = living_nodes()
    ray_cluster.remove_node(lost)
    wait_until(lambda: len(living_nodes()) == len(known) - 1)

    def stale() -> Iterator[list[dict[str, Any]]]:
        yield known
        while True:
            yield living_nodes()

    for asks in (cluster, survey):
        looks = stale()
        monkeypatch.setattr(asks, "living_nodes", lambda looks=looks: next(looks))
    require_same_versions()
    told = survey.survey(Asked({}, {}, {}))
    assert len(told) == len(known) - 1
    assert not any(node.silent or node.problems for node in told)
