"""A builder of fleets for tests: each test shows only what matters to it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from spotd.daemon.interpretation import interpretation_of
from spotd.fleet.assemble import assemble
from spotd.fleet.interpretation import Interpretation, canonical
from spotd.fleet.readings import Reading, Source
from spotd.fleet.snapshot import FleetSnapshot, Readings
from spotd.fleet.values import (
    Aggregate,
    Aggregates,
    ComputeService,
    ComputeServices,
    Device,
    Flavor,
    GpuCount,
    Gpus,
    Inventory,
    ProviderTree,
    Server,
    Servers,
)
from spotd.settings.models import Settings

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
T = TypeVar("T")


def default_interpretation(**changes: Any) -> Interpretation:
    """What the settings' defaults give, with some values changed."""
    return replace(interpretation_of(Settings()), **changes)


def gpu_class(gpu_type: str) -> str:
    """The resource class that spells a GPU type."""
    return f"CUSTOM_GPU_{canonical(gpu_type)}"


def gpu_flavor(gpus: int, gpu_type: str = "H100") -> Flavor:
    """A flavor that asks for GPUs by its extra specs."""
    return Flavor(name=f"n3-{gpu_type}x{gpus}", resources=((gpu_class(gpu_type), gpus),))


def named_flavor(name: str, *, extra_specs_known: bool = True) -> Flavor:
    """A flavor without extra specs."""
    return Flavor(name=name, extra_specs_known=extra_specs_known)


class FleetBuilder:
    """Collects what the clouds know; every reading is there unless it was taken away by `without`."""

    def __init__(self) -> None:
        self._aggregates: dict[str, Aggregate] = {}
        self._services: list[ComputeService] = []
        self._servers: dict[str, Server] = {}
        self._changed: set[str] = set()
        self._devices: dict[int, Device] = {}
        self._trees: dict[str, ProviderTree] = {}
        self._unread: list[str] = []
        self._absent: set[Source] = set()
        self._unconfigured: set[Source] = set()
        self._read_at: dict[Source, datetime] = {}

    def host(
        self,
        name: str,
        *aggregates: str,
        gpu_type: str = "H100",
        gpus: int | None = 8,
        servers: tuple[int, ...] = (),
        used: int | None = None,
        status: str = "enabled",
        state: str = "up",
        netbox: str | None = None,
    ) -> Self:
        """A host of Nova, with a server for each number of GPUs in `servers`.

        `gpus` None leaves it out of Placement; `used` differs from the servers only where it is given;
        `netbox` is the status of its device, None leaves it out of NetBox.
        """
        self.service(name, status=status, state=state)
        for aggregate in aggregates:
            self.aggregate(aggregate, name)
        for held in servers:
            self.server(name, gpu_flavor(held, gpu_type))
        if gpus is not None:
            self.tree(name, **{gpu_class(gpu_type): (gpus, sum(servers) if used is None else used)})
        return self if netbox is None else self.device(name, status=netbox, gpu_count=gpus)

    def aggregate(
        self, name: str, *hosts: str, metadata: Mapping[str, str] | None = None, zone: str | None = None
    ) -> Self:
        """An aggregate; named again, it gets more hosts."""
        number = len(self._aggregates) + 1
        known = self._aggregates.get(name) or Aggregate(
            id=number, uuid=f"aggregate-{number}", name=name, hosts=(), metadata={}
        )
        self._aggregates[name] = replace(
            known,
            hosts=(*known.hosts, *hosts),
            metadata={**known.metadata, **(metadata or {})},
            availability_zone=zone or known.availability_zone,
        )
        return self

    def service(self, host: str, **fields: Any) -> Self:
        """A compute service, enabled and up unless it is said."""
        given = {"status": "enabled", "state": "up", **fields}
        self._services.append(ComputeService(id=f"service-{len(self._services)}", host=host, **given))
        return self

    def server(self, host: str | None, flavor: Flavor | None = None, **fields: Any) -> Self:
        """A server; settled and of one H100 unless it is said. Its hypervisor has the host's name."""
        number = len(self._servers) + 1
        given: dict[str, Any] = {
            "id": f"server-{number}",
            "name": f"vm-{number}",
            "hypervisor_hostname": host,
            "status": "ACTIVE",
            "task_state": None,
            "project_id": "project",
            "updated": "2030-01-01T00:00:00Z",
            **fields,
        }
        server = Server(host=host, flavor=flavor or gpu_flavor(1), **given)
        self._servers[server.id] = server
        return self

    def changed(self, *hosts: str) -> Self:
        """Hosts whose servers changed since the reading before."""
        self._changed.update(hosts)
        return self

    def device(self, name: str, **fields: Any) -> Self:
        """A NetBox device, active unless it is said."""
        number = len(self._devices) + 1
        unset = dict.fromkeys(("role", "site", "rack", "tenant", "tenant_group", "nvlink", "gpu_count"))
        given: dict[str, Any] = {"status": "active", "tags": (), **unset, **fields}
        self._devices[number] = Device(id=number, name=name, **given)
        return self

    def tree(self, name: str, **classes: tuple[int, int]) -> Self:
        """A provider tree with capacity and use of each resource class."""
        counts = {cls: GpuCount(capacity=capacity, used=used) for cls, (capacity, used) in classes.items()}
        self._trees[name] = ProviderTree(
            uuid=f"provider-{name}",
            name=name,
            gpus=counts,
            read_at=NOW,
            is_allocated=any(count.used for count in counts.values()),
        )
        return self

    def node(self, name: str, *, used: int = 0, **fields: Any) -> Self:
        """A bare-metal node's provider: one unit of a class of its own."""
        self.tree(name, CUSTOM_GPU_H100_BM=(1, used))
        self._trees[name] = replace(self._trees[name], is_bare_metal=True, **fields)
        return self

    def reserved(self, name: str, **classes: int) -> Self:
        """Units of a tree's resource classes that nobody has and nobody can have."""
        tree = self._trees[name]
        counts = {cls: replace(tree.gpus[cls], reserved=units) for cls, units in classes.items()}
        self._trees[name] = replace(tree, gpus={**tree.gpus, **counts})
        return self

    def unread(self, *hypervisors: str) -> Self:
        """Hypervisors whose tree could not be read."""
        self._unread += hypervisors
        return self

    def without(self, *sources: Source) -> Self:
        """Take readings away: their agents failed for too long."""
        self._absent.update(sources)
        return self

    def unconfigured(self, *sources: Source) -> Self:
        """Take readings away that the configuration does not ask for."""
        self._unconfigured.update(sources)
        return self.without(*sources)

    def read(self, source: Source, at: datetime) -> Self:
        """When a source was asked; all others were asked at `NOW`."""
        self._read_at[source] = at
        return self

    def readings(self) -> Readings:
        """The readings of this fleet."""
        servers = Servers(servers=dict(self._servers), changed_hosts=frozenset(self._changed))
        gpus = Gpus(trees=dict(self._trees), full_read_at=NOW, unread=tuple(self._unread))
        aggregates = Aggregates(aggregates=tuple(self._aggregates.values()))
        services = ComputeServices(services=tuple(self._services))
        return Readings(
            netbox=self._reading(Source.NETBOX, Inventory(devices=dict(self._devices))),
            aggregates=self._reading(Source.AGGREGATES, aggregates),
            services=self._reading(Source.SERVICES, services),
            servers=self._reading(Source.SERVERS, servers),
            gpus=self._reading(Source.GPUS, gpus),
            unconfigured=frozenset(self._unconfigured),
        )

    def snapshot(self, interpretation: Interpretation | None = None) -> FleetSnapshot:
        """The snapshot of this fleet, read with the default settings."""
        return assemble(self.readings(), interpretation or default_interpretation(), NOW)

    def _reading(self, source: Source, value: T) -> Reading[T] | None:
        if source in self._absent:
            return None
        return Reading(value=value, read_at=self._read_at.get(source, NOW))
