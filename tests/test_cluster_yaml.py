"""cluster.yaml is what Ray's launcher accepts, and installs what constraints.txt pins."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def cluster():
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_ray_accepts_the_file_with_its_defaults_filled_in(cluster):
    full = prepare_config(copy.deepcopy(cluster))
    validate_config(full)
    assert full["provider"]["type"] == "aws"
    assert full["available_node_types"]["gpu"]["resources"] == {"CPU": 8, "GPU": 1}


def test_ray_refuses_the_file_with_an_unknown_key(cluster):
    broken = copy.deepcopy(cluster)
    broken["available_node_types"]["gpu"]["mystery"] = 1
    with pytest.raises(Exception, match="mystery"):
        validate_config(prepare_config(broken))


def test_every_ray_and_torch_in_the_file_is_the_pinned_one(cluster, pinned):
    image_version, python, build = cluster["docker"]["image"].removeprefix("rayproject/ray:").split("-")
    commands = " ".join(cluster["setup_commands"])
    assert re.findall(r"ray\[[a-z,]+\]==([\w.]+)'", commands) == [pinned["ray"]]
    assert re.findall(r"torch==([\w.]+)", commands) == [pinned["torch"]]
    assert (image_version, python, build) == (pinned["ray"], "py311", "gpu")


def test_the_setup_installs_the_copied_project_under_its_constraints(cluster):
    (folder,) = cluster["file_mounts"]
    (command,) = cluster["setup_commands"]
    assert f"-c {folder}/constraints.txt" in command
    assert f" '{folder}[" in command


def test_workers_fit_the_limit_and_own_start_commands_replace_the_defaults(cluster):
    full = prepare_config(copy.deepcopy(cluster))
    workers = [node for name, node in cluster["available_node_types"].items() if name != cluster["head_node_type"]]
    assert sum(node["min_workers"] for node in workers) <= cluster["max_workers"]
    assert full["setup_commands"] == cluster["setup_commands"]
    assert full["head_start_ray_commands"] == cluster["head_start_ray_commands"]
    assert all("0.0.0.0" not in command for command in full["head_start_ray_commands"])
