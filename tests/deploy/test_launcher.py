"""The cluster files are what Ray's launcher accepts, install what constraints.txt pins, and let nobody in."""

from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from ray.autoscaler._private.util import prepare_config, validate_config

from asvp.cli.app import cli

ROOT = Path(__file__).resolve().parents[2]
FILES = ("cluster.yaml", "deploy/local.yaml")


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded


def filled_in(config: dict[str, Any]) -> dict[str, Any]:
    """What the launcher makes of a file before it starts anything, held against Ray's schema."""
    full: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(full)
    return full


@pytest.fixture(params=FILES)
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_on_aws_the_head_is_on_demand_and_spot_gpu_nodes_come_and_go() -> None:
    full = filled_in(read("cluster.yaml"))
    assert full["provider"]["type"] == "aws"
    types = full["available_node_types"]
    head, gpu = types[full["head_node_type"]], types["gpu"]
    assert "InstanceMarketOptions" not in head["node_config"]
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert gpu["resources"] == {"CPU": 8, "GPU": 1}
    assert gpu["min_workers"] < gpu["max_workers"] <= full["max_workers"]


def test_own_machines_are_all_in_the_cluster() -> None:
    config = read("deploy/local.yaml")
    full = filled_in(config)
    assert full["provider"]["type"] == "local"
    (machine,) = full["available_node_types"].values()
    assert machine["min_workers"] == machine["max_workers"] == len(config["provider"]["worker_ips"])


def test_ray_refuses_a_file_with_an_unknown_key(cluster: dict[str, Any]) -> None:
    cluster["mystery"] = 1
    with pytest.raises(Exception, match="mystery"):
        filled_in(cluster)


def test_every_ray_and_torch_in_a_file_is_the_pinned_one(cluster: dict[str, Any], pinned: dict[str, str]) -> None:
    image_version, python, build = cluster["docker"]["image"].removeprefix("rayproject/ray:").split("-")
    commands = " ".join(cluster["setup_commands"])
    assert re.findall(r"ray\[[a-z,]+\]==([\w.]+)'", commands) == [pinned["ray"]]
    assert re.findall(r"torch==([\w.]+)", commands) == [pinned["torch"]]
    assert (image_version, python, build) == (pinned["ray"], "py311", "gpu")


def test_the_setup_installs_the_copied_project_under_its_constraints(cluster: dict[str, Any]) -> None:
    (folder,) = (there for there, here in cluster["file_mounts"].items() if here == ".")
    (command,) = filled_in(cluster)["setup_commands"]
    assert f"-c {folder}/constraints.txt" in command
    assert f" '{folder}[" in command


def test_every_node_asks_for_the_token_and_has_it(cluster: dict[str, Any]) -> None:
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert cluster["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"


def test_the_dashboard_and_its_job_server_listen_on_the_head_alone(cluster: dict[str, Any]) -> None:
    commands = filled_in(cluster)["head_start_ray_commands"]
    assert commands == cluster["head_start_ray_commands"]
    (start,) = (command for command in commands if command.startswith("ray start"))
    assert "--dashboard-host=127.0.0.1" in start.split()


def test_results_and_cache_of_the_commands_lie_in_the_folder_that_all_nodes_mount(cluster: dict[str, Any]) -> None:
    assert "--volume /shared:/home/ray/shared" in cluster["docker"]["run_options"]
    assert any("mountpoint -q /shared" in command for command in cluster["initialization_commands"])


@pytest.mark.parametrize("name", ["docs/cluster.md", *FILES, "deploy/kuberay/cluster.yaml", "deploy/slurm.sh"])
def test_commands_for_a_cluster_exist_with_their_options_and_name_files_that_are_there(name: str) -> None:
    text = (ROOT / name).read_text()
    commands = [shlex.split(found) for found in re.findall(r"""asvp ((?:check|sweep|status) [^"`\n]*)""", text)]
    for words in commands:
        shown = CliRunner().invoke(cli, [words[0], "--help"]).output
        assert all(word in shown for word in words if word.startswith("-")), words
    files = set(re.findall(r"\bdeploy/[\w./-]*\w", text))
    assert commands or files
    assert all((ROOT / file).exists() for file in files)


@pytest.mark.parametrize("name", FILES)
def test_the_commands_in_the_header_name_this_file_and_the_shared_folder(name: str) -> None:
    header = (ROOT / name).read_text().split("\n\n")[0]
    commands = re.findall(r"^#   (.+)$", header, re.MULTILINE)
    assert f"ray up {name}" in commands
    assert f"ray down {name}" in commands
    asked = [command for command in commands if command.startswith(f'ray exec {name} "asvp ')]
    assert len(asked) == 2
    assert all("--address auto --out /home/ray/shared/" in command for command in asked)
