"""spotd's own collection, measured: one full read of everything, then steady refreshes."""

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog
from performance.meter import Cost, Meter, median_cost
from performance.served_cloud import CloudAddress

from spotd.clock import Clock, SystemClock
from spotd.clouds.transport import Observer
from spotd.daemon.region import Region, build_region
from spotd.settings import Settings


class NoRecorder:
    """Looks away."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_facts, **_more: None


def region_of(address: CloudAddress, observer: Observer, clock: Clock | None = None) -> Region:
    """A region whose first collection waits for the walk over all servers."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    facts: dict[str, Any] = {"openstack": {"cloud": address.cloud}}
    if address.netbox_url:
        facts["netbox"] = {"url": address.netbox_url, "token": address.netbox_token}
    return build_region(
        Settings.model_validate(facts),
        clock=clock or SystemClock(),
        recorder=NoRecorder(),
        observer=observer,
        wait_for_walk=True,
    )


def collect_whole(region: Region, **how: Any) -> None:
    """Collects once.

    Raises:
        RuntimeError: An agent failed, so that what was measured is less than a refresh.
    """
    result = region.collection.collect(**how)
    if result.failures or result.unfinished:
        raise RuntimeError(f"failed: {dict(result.failures)}, unfinished: {result.unfinished}")


def what_it_found(region: Region) -> dict[str, int]:
    """Sums that another way of asking must find too, for hosts that are in an aggregate."""
    snapshot = region.collection.latest()
    assert snapshot is not None
    hosts = [host for host in snapshot.hosts.values() if host.aggregates]
    return {
        "hosts": len(hosts),
        "servers": sum(len(host.server_ids or ()) for host in hosts),
        "gpus_used": sum(host.gpus_used or 0 for host in hosts),
    }


def main() -> None:
    task = json.load(sys.stdin)
    meter = Meter()
    region = region_of(CloudAddress.from_json(task["cloud"]), meter.observe)
    full = meter.measure(lambda: collect_whole(region))
    steady: list[Cost] = []
    for _ in range(task["steady_refreshes"]):
        time.sleep(task["pause_seconds"])
        steady.append(meter.measure(lambda: collect_whole(region)))
    found = what_it_found(region)
    region.close()
    answer = {"full": full.as_json(), "steady": median_cost(steady).as_json(), "found": found}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
