"""The same facts asked for host by host, as the web tool before spotd asked, measured.

For each host one list of its servers to count them and one to sum up their GPUs, in two pools of 25
threads, as openstacksdk's resource objects; all aggregates three times, all services, NetBox's pages.
The servers of a host are asked for by `compute_host`: since openstacksdk 3.2 `host` finds none.
"""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openstack
import requests
from performance.meter import Meter
from performance.served_cloud import CloudAddress

THREADS_PER_POOL = 25
AGGREGATE_LISTS = 3
GPUS_IN_NAME = re.compile(r".*x(\d+)")


class EarlierWay:
    """Asks everything anew at each refresh."""

    def __init__(self, address: CloudAddress, meter: Meter) -> None:
        def count(response: requests.Response, **_how: Any) -> None:
            meter.answered(len(response.content))

        self._cloud = openstack.connect(cloud=address.cloud)
        self._cloud.session.session.hooks["response"].append(count)
        self._netbox = requests.Session()
        self._netbox.headers["Authorization"] = f"Token {address.netbox_token}"
        self._netbox.hooks["response"].append(count)
        self._netbox_url = address.netbox_url
        self.found: dict[str, int] = {}

    def refresh(self) -> None:
        list(self._cloud.compute.services(binary="nova-compute"))
        lists = [list(self._cloud.compute.aggregates()) for _ in range(AGGREGATE_LISTS)]
        hosts = sorted({host for aggregate in lists[0] for host in aggregate.hosts or ()})
        self._devices()
        with (
            ThreadPoolExecutor(THREADS_PER_POOL) as counting,
            ThreadPoolExecutor(THREADS_PER_POOL) as summing,
        ):
            counts = counting.map(lambda host: len(self._servers(host)), hosts)
            gpus = summing.map(lambda host: sum(map(gpus_of, self._servers(host))), hosts)
            self.found = {"hosts": len(hosts), "servers": sum(counts), "gpus_used": sum(gpus)}

    def _servers(self, host: str) -> list[Any]:
        return list(self._cloud.compute.servers(details=True, all_projects=True, compute_host=host))

    def _devices(self) -> list[Any]:
        devices: list[Any] = []
        url: str | None = f"{self._netbox_url}/api/dcim/devices/?limit=1000"
        while url is not None:
            page = self._netbox.get(url, timeout=60).json()
            devices += page["results"]
            url = page["next"]
        return devices


def gpus_of(server: Any) -> int:
    named = GPUS_IN_NAME.fullmatch(server.flavor.original_name or "")
    return int(named[1]) if named else 0


def main() -> None:
    task = json.load(sys.stdin)
    meter = Meter()
    way = EarlierWay(CloudAddress.from_json(task["cloud"]), meter)
    cost = meter.measure(way.refresh)
    json.dump({"refresh": cost.as_json(), "found": way.found}, sys.stdout)


if __name__ == "__main__":
    main()
