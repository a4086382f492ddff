"""`spotd collect` agrees, host for host, with what the clouds say when each is asked the slow and simple way.

Runs on the embedded cloud, and on a real one where SPOTD_TEST_CLOUD names it in OS_CLIENT_CONFIG_FILE
(and SPOTD_TEST_NETBOX_URL with SPOTD_TEST_NETBOX_TOKEN a NetBox).
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack.config
import pytest
import requests

from spotd.sim import CloudSize, EmbeddedCloud

WHY = "set SPOTD_TEST_CLOUD to the name of a cloud in clouds.yaml to run this against a real OpenStack"


class Cloud:
    """A cloud and how to reach it without any code of spotd."""

    def __init__(self, environ: dict[str, str], name: str, netbox: tuple[str, str] | None) -> None:
        self.environ = environ | {"SPOTD_OPENSTACK__CLOUD": name}
        if netbox is not None:
            self.environ |= {"SPOTD_NETBOX__URL": netbox[0], "SPOTD_NETBOX__TOKEN": netbox[1]}
        self.netbox = netbox
        files = [environ["OS_CLIENT_CONFIG_FILE"]]
        region = openstack.config.OpenStackConfig(config_files=files, load_envvars=False).get_one(cloud=name)
        self._session = region.get_session()

    def get(self, service: str, path: str, microversion: str) -> Any:
        answer = self._session.get(
            path, endpoint_filter={"service_type": service}, microversion=microversion, raise_exc=True
        )
        return answer.json()

    def devices(self) -> dict[str, str]:
        """Status by name; empty without a NetBox."""
        found: dict[str, str] = {}
        url = f"{self.netbox[0]}/api/dcim/devices/?limit=100" if self.netbox else None
        while url and self.netbox:
            page = requests.get(url, headers={"Authorization": f"Token {self.netbox[1]}"}, timeout=30).json()
            found |= {row["name"]: row["status"]["value"] for row in page["results"]}
            url = page["next"]
        return found

    def servers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        marker = ""
        while True:
            page = self.get("compute", f"/servers/detail?all_tenants=1&limit=50{marker}", "2.96")["servers"]
            if not page:
                return found
            found += page
            marker = f"&marker={page[-1]['id']}"


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.lab)])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "SPOTD_"))}
    if request.param == "embedded":
        with EmbeddedCloud(CloudSize(hosts=40)) as sim:
            file = tmp_path / "clouds.yaml"
            file.write_text(json.dumps(sim.clouds_yaml()))
            environ["OS_CLIENT_CONFIG_FILE"] = str(file)
            yield Cloud(environ, "embedded", (sim.netbox_url, sim.netbox_token))
        return
    if "SPOTD_TEST_CLOUD" not in os.environ:
        pytest.skip(WHY)
    environ["OS_CLIENT_CONFIG_FILE"] = os.environ["OS_CLIENT_CONFIG_FILE"]
    netbox = None
    if "SPOTD_TEST_NETBOX_URL" in os.environ:
        netbox = (os.environ["SPOTD_TEST_NETBOX_URL"], os.environ["SPOTD_TEST_NETBOX_TOKEN"])
    yield Cloud(environ, os.environ["SPOTD_TEST_CLOUD"], netbox)


def collected(cloud: Cloud) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "spotd", "collect", "--format", "json"],
        env=cloud.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_every_host_is_told_as_the_clouds_tell_it(cloud: Cloud) -> None:
    hosts = {host["name"]: host for host in collected(cloud)["hosts"]}

    services = cloud.get("compute", "/os-services?binary=nova-compute", "2.69")["services"]
    aggregates = cloud.get("compute", "/os-aggregates", "2.41")["aggregates"]
    servers = Counter(row["OS-EXT-SRV-ATTR:host"] for row in cloud.servers())
    devices = cloud.devices()
    gpus, used = _counted_provider_by_provider(cloud)
    for service in services:
        name = service["host"]
        if not gpus.get(name):
            continue
        host = hosts[name]
        member_of = sorted(row["name"] for row in aggregates if name in row["hosts"])
        expected = {
            "aggregates": member_of,
            "gpus": gpus[name],
            "gpus_used": used[name],
            "servers": servers[name],
            "status": service["status"],
            "state": service["state"],
            "netbox": devices.get(name),
        }
        told = {
            "aggregates": sorted(host["aggregates"]),
            "gpus": host["gpus"],
            "gpus_used": host["gpus_used"],
            "servers": len(host["server_ids"]),
            "status": host["service_status"],
            "state": host["service_state"],
            "netbox": host["netbox_status"],
        }
        assert expected == told, name
    assert sum(map(bool, gpus.values())) > 0


def _counted_provider_by_provider(cloud: Cloud) -> tuple[Counter[str], Counter[str]]:
    """The way a person with the `openstack resource provider` commands would do it."""
    gpus: Counter[str] = Counter()
    used: Counter[str] = Counter()
    providers = cloud.get("placement", "/resource_providers", "1.31")["resource_providers"]
    names = {row["uuid"]: row["name"] for row in providers}
    for row in providers:
        root = names[row["root_provider_uuid"]]
        path = f"/resource_providers/{row['uuid']}"
        inventories = cloud.get("placement", f"{path}/inventories", "1.31")["inventories"]
        usages = cloud.get("placement", f"{path}/usages", "1.31")["usages"]
        for name, inventory in inventories.items():
            if name.startswith("CUSTOM_GPU_"):
                gpus[root] += inventory["total"] - inventory["reserved"]
                used[root] += usages[name]
    return gpus, used
