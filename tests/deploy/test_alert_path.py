"""From a cloud that sells out to the message on somebody's desk, through the real programs."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from alerting import DEPLOY, PROGRAM, alertmanager, free_port, inbox, started
from daemons import quick_settings, running, write_clouds_file
from waiting import until

from spotd.sim import EmbeddedCloud
from spotd.sim.build_hosts import CloudSize

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        PROGRAM is None or shutil.which("prometheus") is None,
        reason="prometheus or alertmanager is not on PATH: install prometheus and prometheus-alertmanager",
    ),
]
ALERT = "SpotdOnDemandNearlySoldOut"
NEARLY_ALL = (4, 2, 1)
"""GPUs of the last host's servers: one of its eight stays free."""


def sell_nearly_all(cloud: EmbeddedCloud) -> list[str]:
    """Leaves one on-demand H100 free; the ids of the servers."""
    hosts = [
        name
        for aggregate in ("H100-n3", "H100-n3-NVLink")
        for name in cloud.world.aggregate(aggregate).hosts
        if cloud.world.host(name).status == "enabled" and cloud.world.host(name).is_up
    ]
    *full, last = sorted(hosts)
    sizes = [(host, 8) for host in full] + [(last, gpus) for gpus in NEARLY_ALL]
    return [cloud.world.boot(host, f"n3-H100x{gpus}").id for host, gpus in sizes]


@contextmanager
def prometheus(target: str, alertmanager_url: str, directory: Path) -> Iterator[str]:
    """Prometheus on the shipped rules; only this alert's ten minutes are made a second, in a copy."""
    rules = directory / "rules"
    shutil.copytree(DEPLOY / "prometheus" / "rules", rules)
    alerts = yaml.safe_load((rules / "spotd.alerts.yml").read_text(encoding="utf-8"))
    for rule in (rule for group in alerts["groups"] for rule in group["rules"]):
        if rule["alert"] == ALERT:
            rule["for"] = "1s"
    (rules / "spotd.alerts.yml").write_text(yaml.safe_dump(alerts), encoding="utf-8")
    document = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    document["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (spotd,) = (job for job in document["scrape_configs"] if job["job_name"] == "spotd")
    spotd["static_configs"][0]["targets"] = [target]
    peer = alertmanager_url.removeprefix("http://")
    document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [peer]}]}]}
    config, port = directory / "prometheus.yml", free_port()
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'prometheus'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with started(command, f"http://127.0.0.1:{port}/-/ready", directory / "prometheus.log") as url:
        yield url


def test_somebody_is_told_that_on_demand_is_nearly_sold_out_and_then_that_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedCloud(CloudSize(hosts=24, servers=0)) as cloud, inbox() as box:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(cloud, tmp_path)))
        with running(quick_settings(cloud)) as face, alertmanager(box, tmp_path) as peer:
            face.settle()
            with prometheus(face.url.removeprefix("http://"), peer, tmp_path):
                servers = sell_nearly_all(cloud)
                until(lambda: box.has("capacity", ALERT, "firing"), seconds=45)
                for server in servers:
                    cloud.world.delete_server(server)
                until(lambda: box.has("capacity", ALERT, "resolved"), seconds=45)

    assert box.of(ALERT) == {"capacity"}
    first = next(one for one in box.told if ALERT in one.alerts("firing"))
    (alert,) = (one for one in first.body["alerts"] if one["labels"]["alertname"] == ALERT)
    assert (alert["labels"]["gpu_type"], alert["labels"]["region"]) == ("H100", "region-1")
    assert alert["annotations"]["summary"] == "On-demand H100 is nearly sold out."
