"""Each alert reaches those who shall hear of it, and what another alert explains reaches nobody."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from alerting import ALERTMANAGER, DEPLOY, PROGRAM, alertmanager, inbox
from waiting import until

CONFIG: dict[str, Any] = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "spotd.alerts.yml").read_text(encoding="utf-8"))
SEVERITIES = {
    rule["alert"]: rule["labels"]["severity"] for group in RULES["groups"] for rule in group["rules"]
}
RECEIVERS = {"critical": "pager,webhook", "warning": "chat", "info": "webhook"}

needs_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None, reason="amtool is not on PATH: install prometheus-alertmanager"
)
needs_alertmanager = pytest.mark.skipif(
    PROGRAM is None, reason="alertmanager is not on PATH: install prometheus-alertmanager"
)


def amtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)


def routed(**labels: str) -> str:
    done = amtool(
        *("config", "routes", "test", f"--config.file={ALERTMANAGER}"),
        *(f"{key}={value}" for key, value in labels.items()),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_amtool
def test_alertmanager_takes_the_configuration() -> None:
    done = amtool("check-config", str(ALERTMANAGER))

    assert done.returncode == 0, done.stdout + done.stderr


@needs_amtool
@pytest.mark.parametrize("alert", sorted(SEVERITIES))
def test_an_alert_goes_where_its_severity_says(alert: str) -> None:
    assert routed(alertname=alert, severity=SEVERITIES[alert]) == RECEIVERS[SEVERITIES[alert]]


@needs_amtool
@pytest.mark.parametrize(
    ("gpu_type", "receiver"), [("H100-SXM5", "capacity"), ("B200", "capacity"), ("RTX-A6000", "chat")]
)
def test_capacity_of_some_gpu_types_goes_to_those_who_sell_it(gpu_type: str, receiver: str) -> None:
    labels = {"alertname": "SpotdOnDemandNearlySoldOut", "severity": "warning", "gpu_type": gpu_type}

    assert routed(**labels) == receiver


@needs_amtool
def test_what_nobody_routed_is_told_all_the_same() -> None:
    assert routed(alertname="SomethingElse") == "chat"


def test_the_configuration_holds_no_secret_and_reads_each_from_a_file() -> None:
    text = ALERTMANAGER.read_text(encoding="utf-8")

    for key in ("routing_key:", "service_key:", "api_url:", "credentials:", "password:"):
        assert key not in text
    assert text.count("_file: /etc/alertmanager/") == 3


def test_inhibition_names_only_alerts_that_there_are() -> None:
    for rule in CONFIG["inhibit_rules"]:
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            names = matcher.split('"')[1].split("|")
            assert all(name in SEVERITIES or name == "Spotd.+" for name in names), matcher


@needs_alertmanager
@pytest.mark.slow
def test_what_another_alert_explains_is_told_to_nobody(tmp_path: Path) -> None:
    here = {"job": "spotd", "instance": "a:8080"}
    there = {"job": "spotd", "instance": "b:8080"}
    alerts = [
        {"alertname": "SpotdDown", "severity": "critical", **here},
        {"alertname": "SpotdAgentFailing", "severity": "warning", "agent": "gpus", **here},
        {"alertname": "SpotdPermissionDenied", "severity": "critical", "agent": "gpus", **there},
        {"alertname": "SpotdAgentFailing", "severity": "warning", "agent": "gpus", **there},
        {"alertname": "SpotdAgentFailing", "severity": "warning", "agent": "netbox", **there},
    ]

    with inbox() as box, alertmanager(box, tmp_path) as url:
        requests.post(
            f"{url}/api/v2/alerts", json=[{"labels": one} for one in alerts], timeout=5
        ).raise_for_status()
        until(lambda: box.has("chat", "SpotdAgentFailing", "firing"), seconds=20)
        until(lambda: box.has("pager", "SpotdPermissionDenied", "firing"), seconds=20)
        found = requests.get(f"{url}/api/v2/alerts", timeout=5).json()

    silent = {
        (one["labels"]["alertname"], one["labels"]["instance"], one["labels"]["agent"])
        for one in found
        if one["status"]["inhibitedBy"]
    }
    assert silent == {("SpotdAgentFailing", "a:8080", "gpus"), ("SpotdAgentFailing", "b:8080", "gpus")}
    told = [alert["labels"] for one in box.told if one.receiver == "chat" for alert in one.body["alerts"]]
    assert {one["agent"] for one in told} == {"netbox"}
