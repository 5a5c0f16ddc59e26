"""The Kubernetes manifests use fields that KubeRay has, and nobody reaches a cluster without its token."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kuberay"
CRD = json.loads(Path(__file__).with_name("kuberay_crd.json").read_text())


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return loaded


def require_fields_of_kuberay(manifest: dict[str, Any]) -> None:
    """Raise where a manifest has a field, a type or a value that its CRD does not have, or lacks a required one."""
    assert manifest["apiVersion"] == "ray.io/v1"
    jsonschema.validate(manifest, {**CRD["kinds"][manifest["kind"]], "$defs": CRD["$defs"]})


def ray_cluster() -> dict[str, Any]:
    spec: dict[str, Any] = read("cluster.yaml")["spec"]
    return spec


def pods() -> list[dict[str, Any]]:
    cluster = ray_cluster()
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["containers"]]


@pytest.mark.parametrize("name", ["cluster.yaml", "job.yaml"])
def test_every_field_is_one_of_the_published_ones(name: str) -> None:
    require_fields_of_kuberay(read(name))


@pytest.mark.parametrize(
    ("place", "field", "value", "told"),
    [
        (("spec",), "workerGroup", [], "workerGroup"),
        (("spec", "authOptions"), "mode", "password", "password"),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0), "livenessprobe", {}, "livenessprobe"),
        (("spec", "workerGroupSpecs", 0), "maxReplicas", "8", "'8' is not of type"),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "volumes", 0), "pvc", {}, "pvc"),
    ],
)
def test_a_field_that_kuberay_does_not_have_is_found(
    place: tuple[str | int, ...], field: str, value: object, told: str
) -> None:
    manifest = copy.deepcopy(read("cluster.yaml"))
    part: Any = manifest
    for step in place:
        part = part[step]
    part[field] = value
    with pytest.raises(jsonschema.ValidationError, match=told):
        require_fields_of_kuberay(manifest)


def test_the_job_makes_the_cluster_of_the_other_file() -> None:
    assert read("job.yaml")["spec"]["rayClusterSpec"] == ray_cluster()


def test_a_token_from_the_secret_of_the_commands_is_asked_for() -> None:
    name = ray_cluster()["authOptions"]["secretName"]
    assert ray_cluster()["authOptions"]["mode"] == "token"
    for file in ("cluster.yaml", "job.yaml"):
        assert f"kubectl create secret generic {name} --from-literal=auth_token=" in (FOLDER / file).read_text()


def test_no_secret_is_written_in_a_manifest() -> None:
    kinds = [part["kind"] for file in sorted(FOLDER.glob("*.yaml")) for part in yaml.safe_load_all(file.read_text())]
    assert sorted(kinds) == ["NetworkPolicy", "PersistentVolumeClaim", "RayCluster", "RayJob"]


def test_every_pod_mounts_the_shared_volume_where_the_sweep_is_written() -> None:
    claim = next(yaml.safe_load_all((FOLDER / "shared.yaml").read_text()))
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods():
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (container,) = pod["containers"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/shared"}]
    entrypoint = read("job.yaml")["spec"]["entrypoint"].split()
    assert entrypoint[2] == "/shared/sweep"
    assert "extraction.cache=/shared/cache" in entrypoint


def test_a_worker_is_limited_to_the_gpus_that_it_asks_for() -> None:
    (worker,) = ray_cluster()["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"] == worker["resources"]["requests"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_a_pod_is_started_ready_and_alive_by_rays_own_word() -> None:
    for container in containers():
        probes = [container[kind] for kind in ("startupProbe", "readinessProbe", "livenessProbe")]
        assert all(probe["httpGet"] == {"path": "/api/healthz", "port": 52365} for probe in probes)


def test_rays_own_word_is_answered_without_a_token_on_the_port_of_the_probes() -> None:
    from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
    from ray.dashboard.http_server_agent import PUBLIC_EXACT_PATHS

    (probe,) = {
        (one["livenessProbe"]["httpGet"]["path"], one["livenessProbe"]["httpGet"]["port"]) for one in containers()
    }
    assert probe[0] in PUBLIC_EXACT_PATHS
    assert probe[1] == DEFAULT_DASHBOARD_AGENT_LISTEN_PORT


def test_pods_are_no_root_and_ask_for_no_more() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_only_pods_of_the_namespace_and_the_operator_reach_rays_ports() -> None:
    _, policy = yaml.safe_load_all((FOLDER / "shared.yaml").read_text())
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (rule,) = policy["spec"]["ingress"]
    everyone, operator = rule["from"]
    assert everyone == {"podSelector": {}}
    assert operator["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}}


def test_the_image_has_the_pinned_versions_and_all_files_name_it() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    recipe = (FOLDER / "Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", recipe, re.MULTILINE) == [f"rayproject/ray:{pinned['ray']}-py311-gpu"]
    assert re.findall(r"ray\[[a-z,]+\]==([\w.]+)'", recipe) == [pinned["ray"]] == [ray_cluster()["rayVersion"]]
    assert re.findall(r"torch==([\w.]+)", recipe) == [pinned["torch"]]
    assert "-c /home/ray/asvp/constraints.txt" in recipe
    (image,) = {container["image"] for container in containers()}
    assert f"-t {image} ." in recipe
