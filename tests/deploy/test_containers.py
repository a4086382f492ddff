"""Image, compose file and manifests run spotd as nobody special, and say what the plain files say."""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from spotd.planning.load import load_rules
from spotd.settings import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text(encoding="utf-8"))


OPERATORS_KINDS = {"ServiceMonitor", "PrometheusRule"}
"""The Prometheus operator's, of which no cluster knows by itself and kubernetes-validate has no schema."""
OLDEST_AND_NEWEST = ("1.27", "1.37")


def rendered() -> list[dict[str, Any]]:
    """What kustomize makes of the folder."""
    done = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def manifests() -> dict[str, Any]:
    """The same by kind."""
    return {one["kind"]: one for one in rendered()}


needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not on PATH: it renders the manifests"
)


def test_the_cluster_gets_the_rules_that_prometheus_is_tested_with() -> None:
    spec = importlib.util.spec_from_file_location("generate_rules", KUBERNETES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)

    assert (KUBERNETES / "prometheusrule.yaml").read_text(encoding="utf-8") == generator.document()


def test_the_image_runs_as_a_user_with_a_number_and_a_home() -> None:
    assert "\nUSER 10001:10001\n" in DOCKERFILE
    assert "HOME=/var/lib/spotd" in DOCKERFILE
    assert "/-/healthy" in DOCKERFILE


def test_compose_opens_ports_to_this_machine_only() -> None:
    ports = [port for one in COMPOSE["services"].values() for port in one.get("ports", [])]

    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert COMPOSE["services"]["spotd"]["read_only"] is True


def test_compose_mounts_only_what_is_here() -> None:
    volumes = [volume for one in COMPOSE["services"].values() for volume in one.get("volumes", [])]
    paths = [volume.split(":")[0] for volume in volumes if volume.startswith(".")]

    assert len(paths) == 4
    assert all((DEPLOY / path).is_dir() for path in paths)


def test_the_base_looks_on_and_moves_nothing() -> None:
    settings = load_settings(KUBERNETES / "spotd.yml", {}).settings

    assert str(settings.rules.file) == "/etc/spotd/rules.yml"
    assert load_rules(KUBERNETES / "rules.yml").mode == "observe"


@needs_kubectl
def test_two_replicas_share_one_lease_and_no_privilege() -> None:
    found = manifests()
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert found["Deployment"]["spec"]["replicas"] == 2
    assert "SPOTD_JOURNAL__URL" in {one["name"] for one in container["env"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")} == {
        "/-/healthy",
        "/-/ready",
    }


@needs_kubectl
@pytest.mark.parametrize("kind", ["NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor", "Service"])
def test_what_chooses_pods_chooses_spotds(kind: str) -> None:
    spec = manifests()[kind]["spec"]
    selector = spec.get("podSelector", spec.get("selector"))

    assert "app.kubernetes.io/name" in str(selector)


@needs_kubectl
@pytest.mark.thorough
@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
def test_a_cluster_knows_every_field(version: str) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="install the extra manifests")
    known = [one for one in rendered() if one["kind"] not in OPERATORS_KINDS]

    for one in known:
        schemas.validate(one, version, strict=True)

    assert {one["kind"] for one in known} >= {"Deployment", "Service", "NetworkPolicy", "ConfigMap"}


@needs_kubectl
@pytest.mark.thorough
@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
def test_a_field_that_no_cluster_knows_is_noticed(version: str) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="install the extra manifests")
    deployment = manifests()["Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}

    with pytest.raises(schemas.ValidationError, match="livenessProb"):
        schemas.validate(deployment, version, strict=True)
