"""The embedded cloud as one object: builds the world, runs its servers, and stops them."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from spotd.sim import (
    nova_aggregates,
    nova_flavors,
    nova_migrations,
    nova_servers,
    nova_services,
    placement_candidates,
    placement_providers,
)
from spotd.sim.build import build_world
from spotd.sim.build_hosts import CloudSize
from spotd.sim.faults import Fault, FaultKind, Faults
from spotd.sim.http import ServiceServer
from spotd.sim.identity import Endpoint
from spotd.sim.inventory import TOKEN
from spotd.sim.keystone import Keystone
from spotd.sim.netbox import NetBox
from spotd.sim.nova import Nova
from spotd.sim.operator import Operator
from spotd.sim.placement import Placement
from spotd.sim.traffic import Traffic
from spotd.sim.workload import Workload
from spotd.sim.world import World


def utc_now() -> datetime:
    """The machine's time, aware, in UTC."""
    return datetime.now(UTC)


class EmbeddedCloud:
    """Keystone, Nova, Placement and NetBox on loopback ports, over one world made from a size and a seed.

    `now` is the cloud's clock; a clock that stands still makes boots and deletes stand still too.
    The world exists from the start; the servers answer between `start` and `stop`.
    """

    def __init__(
        self, size: CloudSize | None = None, *, seed: int = 1, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.size = size or CloudSize()
        self.world = World(seed, now)
        self.requests = Traffic()
        self.faults = Faults(seed)
        self.live = Workload(self.world, seed)
        self.operator = Operator(self.world)
        build_world(self.world, self.size)
        nova_rows = [
            *nova_aggregates.rows(),
            *nova_services.rows(),
            *nova_servers.rows(),
            *nova_flavors.rows(),
            *nova_migrations.rows(),
        ]
        self._keystone = Keystone(self.world)
        self._nova = Nova(self.world, nova_rows, mount=re.split(r"/v2|/%", self.size.compute_path)[0])
        self._placement = Placement(self.world, [*placement_providers.rows(), *placement_candidates.rows()])
        self._netbox = NetBox(self.world)
        self._servers: dict[str, ServiceServer] = {}
        self._state = threading.Lock()

    def start(self) -> None:
        """Open the ports and begin to answer; does nothing when started."""
        with self._state:
            if self._servers:
                return
            faces = {
                "keystone": self._keystone.serve,
                "nova": self._nova.serve,
                "placement": self._placement.serve,
            }
            if self.size.netbox:
                faces["netbox"] = self._netbox.serve
            for service, serve in faces.items():
                self._servers[service] = ServiceServer(service, serve, self.faults, self.requests)
            self._nova.keystone_url = self._placement.keystone_url = self._servers["keystone"].url
            self.world.identity.catalog = [
                Endpoint("identity", "keystone", f"{self._servers['keystone'].url}/v3/"),
                Endpoint("placement", "placement", self._servers["placement"].url),
                Endpoint("compute", "nova", f"{self._servers['nova'].url}{self.size.compute_path}"),
            ]
            for server in self._servers.values():
                server.start()

    def stop(self) -> None:
        """Stop the workload, let go of hanging requests, close the ports and end every thread."""
        self.live.stop()
        with self._state:
            for server in self._servers.values():
                server.close()
            self._servers.clear()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @contextmanager
    def placement_outage(self) -> Iterator[None]:
        """Placement resets every connection, so Nova's add_host and remove_host are 500s.

        The host that was added is in Nova's aggregate all the same, the one that was removed stays in.
        """
        fault = self.faults.add(Fault(service="placement", kind=FaultKind.RESET))
        self.world.aggregates.mirror = "down"
        try:
            yield
        finally:
            self.world.aggregates.mirror = "ok"
            fault.remove()

    def _url(self, service: str) -> str:
        if service not in self._servers:
            raise RuntimeError(f"the embedded {service} is not running")
        return self._servers[service].url

    @property
    def auth_url(self) -> str:
        """Keystone's URL, with /v3."""
        return f"{self._url('keystone')}/v3"

    @property
    def nova_url(self) -> str:
        """Nova's URL, with /v2.1."""
        return f"{self._url('nova')}{self._nova.mount}/v2.1"

    @property
    def placement_url(self) -> str:
        """Placement's URL."""
        return self._url("placement")

    @property
    def netbox_url(self) -> str:
        """NetBox's URL, without /api."""
        return self._url("netbox")

    @property
    def netbox_token(self) -> str:
        """A NetBox v1 token that may read everything."""
        return TOKEN

    def clouds_yaml(self, *, user: str = "admin", project: str = "admin") -> dict[str, Any]:
        """The content of a clouds.yaml that names this cloud `embedded`."""
        return {
            "clouds": {
                "embedded": {
                    "auth": {
                        "auth_url": self.auth_url,
                        "username": user,
                        "password": "lab",
                        "project_name": project,
                        "user_domain_name": "Default",
                        "project_domain_name": "Default",
                    },
                    "region_name": "RegionOne",
                    "interface": "public",
                    "identity_api_version": 3,
                }
            }
        }
