"""The manifests, against the published schemas of Kubernetes; and that their parts fit together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.images import configuration, environment, stages

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
# The oldest that is still common, and the newest that the package knows.
VERSIONS = ("1.27", kubernetes_validate.latest_version())
Manifest = dict[str, Any]  # Any: YAML


def manifests(name: str = "repltap.yaml") -> list[Manifest]:
    text = (KUBERNETES / name).read_text(encoding="utf-8")
    return [document for document in yaml.safe_load_all(text) if document is not None]


def only(kind: str, name: str = "repltap") -> Manifest:
    (found,) = [m for m in manifests() if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def pod() -> Manifest:
    spec = only("StatefulSet")["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container() -> Manifest:
    (found,) = pod()["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "manifest", manifests(), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}"
)
def test_kubernetes_takes_the_manifest(manifest: Manifest, version: str) -> None:
    """Strictly: a name that is not known is an error, as it is for the API server."""
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_do_find_a_wrong_name() -> None:
    broken = only("Service")
    broken["spec"]["ports"][0]["targetport"] = "redis"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_all_is_said_of_one_application() -> None:
    labels = {"app.kubernetes.io/name": "repltap"}
    stateful = only("StatefulSet")["spec"]
    template = stateful["template"]["metadata"]["labels"]
    assert all(manifest["metadata"]["labels"] == labels for manifest in manifests())
    assert stateful["selector"]["matchLabels"] == template == labels
    assert all(m["spec"]["selector"] == labels for m in manifests() if m["kind"] == "Service")
    assert only("Service", stateful["serviceName"])["spec"]["clusterIP"] == "None"
    assert stateful["replicas"] == 1  # two would be two histories behind one name


def test_ports_and_probes_are_the_containers_own() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    exposed = map(int, stages()[-1].all("EXPOSE")[0].split())
    assert set(ports.values()) == set(exposed)
    for manifest in manifests():
        if manifest["kind"] == "Service":
            assert all(ports[p["targetPort"]] == p["port"] for p in manifest["spec"]["ports"])
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container()[name]
        (how,) = (probe[kind] for kind in ("httpGet", "tcpSocket") if kind in probe)
        assert how["port"] in ports
        assert how.get("path") == ("/readyz" if name == "readinessProbe" else "/healthz")


def test_volumes_mounts_and_references_fit() -> None:
    claims = {c["metadata"]["name"] for c in only("StatefulSet")["spec"]["volumeClaimTemplates"]}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert set(mounts) == claims | set(volumes)
    paths = [path + "/" for path in mounts.values()]
    # A mount inside a read-only one can't be made.
    assert not [p for p in paths for other in paths if p != other and p.startswith(other)]
    assert only("ConfigMap", volumes["config"]["configMap"]["name"])
    assert only("Secret", volumes["secret"]["secret"]["secretName"])


def test_the_configuration_is_one_that_repltap_takes(tmp_path: Path) -> None:
    """With the image's environment, the config map as its file and the secret's files."""
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    arguments = list(container()["args"])
    at = arguments.index("--config")
    name = Path(arguments[at + 1]).relative_to(mounts["config"]).name
    text = only("ConfigMap")["data"][name]
    for key, value in only("Secret")["stringData"].items():
        assert f"{mounts['secret']}/{key}" in text
        (tmp_path / key).write_text(value)
    file = tmp_path / name
    file.write_text(text.replace(mounts["secret"], str(tmp_path)))
    config = configuration(arguments[:at] + arguments[at + 2 :], environment(), file)

    assert config.upstream.username == "repltap"
    assert config.upstream.password is not None
    assert config.listen.users.all
    assert config.listen.host == "0.0.0.0"
    assert mounts["data"] in map(str, config.store.data_dir.parents)
    size = re.fullmatch(r"(\d+)Gi", _claimed())
    assert size is not None
    assert config.store.quota_bytes is not None
    assert config.store.quota_bytes < int(size[1]) << 30


def _claimed() -> str:
    (claim,) = only("StatefulSet")["spec"]["volumeClaimTemplates"]
    return str(claim["spec"]["resources"]["requests"]["storage"])


def test_the_pod_has_no_rights() -> None:
    """What the restricted pod security standard asks for, and no token, nothing to write on."""
    security, own = pod()["securityContext"], container()["securityContext"]
    assert security["runAsNonRoot"] is True
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == stages()[-1].all("USER")[-1]
    assert security["fsGroup"] == security["runAsGroup"]
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod()["automountServiceAccountToken"] is False


def test_the_pod_monitor_finds_the_pod_and_its_port() -> None:
    (monitor,) = manifests("podmonitor.yaml")
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    template = only("StatefulSet")["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in container()["ports"]}
    assert endpoint["path"] == "/metrics"
