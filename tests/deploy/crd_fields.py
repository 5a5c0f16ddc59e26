"""Makes kuberay_crd.json, the field names of KubeRay's RayCluster and RayJob as a JSON schema, from the published CRDs.

    git clone --depth 1 --branch v1.7.0 https://github.com/ray-project/kuberay
    python tests/deploy/crd_fields.py kuberay v1.7.0

The descriptions go, what occurs many times is written once, and of a pod the parts in `_LEFT_OUT` are not kept: a
manifest that uses one of them is refused by the tests until it is taken off the list.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

_FOLDER = "helm-chart/kuberay-operator/crds"
_KINDS = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}
_KEPT = ("type", "enum", "required")
_LEFT_OUT = {
    "affinity",
    "dnsConfig",
    "ephemeralContainers",
    "gcsFaultToleranceOptions",
    "historyServerOptions",
    "lifecycle",
    "networkPolicy",
    "resourceClaims",
}
_VOLUMES = {"name", "configMap", "csi", "emptyDir", "hostPath", "nfs", "persistentVolumeClaim", "secret"}
_SHARED = {"template": "PodTemplate", "containers": "Containers", "initContainers": "Containers"}
"""Parts that are written once under `$defs`."""


def names_of(schema: dict[str, Any], shared: dict[str, Any], name: str = "") -> dict[str, Any]:
    """A JSON schema with the names, types and requirements of an OpenAPI one; unknown names are refused."""
    made = {key: schema[key] for key in _KEPT if key in schema}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if "properties" in schema:
        kept = schema["properties"].keys() - _LEFT_OUT
        kept = kept & _VOLUMES if name == "volumes" else kept
        made["properties"] = {key: _part(key, schema["properties"][key], shared) for key in sorted(kept)}
        made["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = names_of(schema["additionalProperties"], shared)
    if "items" in schema:
        made["items"] = names_of(schema["items"], shared, name)
    return made


def _part(key: str, schema: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    if key not in _SHARED:
        return names_of(schema, shared, key)
    shared.setdefault(_SHARED[key], names_of(schema, shared, key))
    return {"$ref": f"#/$defs/{_SHARED[key]}"}


def main(checkout: str, version: str) -> None:
    """Write the fixture beside this file."""
    shared: dict[str, Any] = {}
    kinds = {}
    for kind, file in _KINDS.items():
        crd = yaml.safe_load((Path(checkout) / _FOLDER / file).read_text())
        (served,) = (one for one in crd["spec"]["versions"] if one["name"] == "v1")
        kinds[kind] = names_of(served["schema"]["openAPIV3Schema"], shared)
        # The API server adds what `metadata` may hold.
        kinds[kind]["properties"]["metadata"] = {"type": "object"}
    made = {
        "source": f"https://github.com/ray-project/kuberay/tree/{version}/{_FOLDER}",
        "version": version,
        "kinds": kinds,
        "$defs": shared,
    }
    Path(__file__).with_name("kuberay_crd.json").write_text(json.dumps(made, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
