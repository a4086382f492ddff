"""The embedded cloud's own records: what Nova and Placement keep about hosts, aggregates and servers."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

STANDARD_CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB")


@dataclass(frozen=True, slots=True)
class Flavor:
    """A flavor; `ram` in MiB, `disk` in GiB."""

    id: str
    name: str
    vcpus: int
    ram: int
    disk: int
    extra_specs: dict[str, str] = field(default_factory=dict)
    description: str | None = None

    def resources(self) -> dict[str, int]:
        """What one server of this flavor claims, by resource class."""
        wanted = {"VCPU": self.vcpus, "MEMORY_MB": self.ram, "DISK_GB": self.disk}
        for key, value in self.extra_specs.items():
            if key.startswith("resources:"):
                wanted[key.removeprefix("resources:")] = int(value)
        return {name: amount for name, amount in wanted.items() if amount}


@dataclass(slots=True)
class Host:
    """A compute host with its service record; `cell` is the database that knows it."""

    name: str
    hypervisor_hostname: str
    cell: str
    service_id: int
    service_uuid: str
    hypervisor_id: int
    provider_uuid: str
    started_at: datetime
    gpu_class: str | None = None
    gpus: int = 0
    nodes: tuple[str, ...] = ()
    """Providers of the bare-metal nodes that an ironic compute service stands for; others have none."""
    status: str = "enabled"
    disabled_reason: str | None = None
    state: str = "up"
    forced_down: bool = False
    silent_since: datetime | None = None
    """When the service stopped reporting; None while it reports."""

    @property
    def providers(self) -> tuple[str, ...]:
        """Root providers on which servers of this host may be."""
        return self.nodes or (self.provider_uuid,)

    @property
    def is_up(self) -> bool:
        """Whether Nova counts the compute service as up."""
        return self.state == "up" and not self.forced_down

    @property
    def host_status(self) -> str:
        """What a server on this host shows as `host_status`."""
        if self.status == "disabled":
            return "MAINTENANCE"
        return "UP" if self.is_up else "DOWN"


@dataclass(slots=True)
class Aggregate:
    """A host aggregate; `hosts` keeps the order in which they came."""

    id: int
    uuid: str
    name: str
    created_at: datetime
    hosts: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    updated_at: datetime | None = None

    @property
    def availability_zone(self) -> str | None:
        """The availability zone its metadata names, if any."""
        return self.metadata.get("availability_zone")


@dataclass(slots=True)
class Server:
    """A server; `target` is where the scheduler put it, `host` what Nova already shows."""

    id: str
    number: int
    name: str
    project_id: str
    user_id: str
    flavor: Flavor
    created: datetime
    updated: datetime
    target: str | None
    cell: str
    host: str | None = None
    node: str | None = None
    """The hypervisor that it is on, where its host stands for many."""
    status: str = "BUILD"
    vm_state: str = "building"
    task_state: str | None = "scheduling"
    power_state: int = 0
    launched: datetime | None = None
    terminated: datetime | None = None
    pinned_az: str | None = None
    fault: dict[str, Any] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    fragments: dict[Any, str] = field(default_factory=dict)
    """Its JSON as last sent, by view; emptied by every change."""

    @property
    def is_deleted(self) -> bool:
        """Whether only `changes-since` and `deleted=true` still show it."""
        return self.status == "DELETED"

    @property
    def order(self) -> tuple[str, int, str]:
        """The key of Nova's default order, which is descending: the second, then the row number."""
        return (self.created.strftime("%Y%m%d%H%M%S"), self.number, self.id)

    @property
    def host_id(self) -> str:
        """The opaque host id that a project sees."""
        if self.host is None:
            return ""
        return hashlib.sha224((self.project_id + self.host).encode()).hexdigest()


@dataclass(slots=True)
class Migration:
    """A server's migration as os-migrations lists it."""

    id: int
    uuid: str
    instance_uuid: str
    source: str
    dest: str | None
    """None until a destination is chosen."""
    status: str
    migration_type: str
    project_id: str
    user_id: str
    created_at: datetime
    updated_at: datetime | None = None


def iso_seconds(when: datetime) -> str:
    """`2026-11-24T00:25:54Z`, as servers show times."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_stored(when: datetime | None) -> str | None:
    """`2026-11-24T00:25:54.000000`: a time after the database cut its fractions."""
    return None if when is None else when.strftime("%Y-%m-%dT%H:%M:%S.000000")


def iso_fresh(when: datetime | None) -> str | None:
    """`2026-11-24T00:25:54.123456`: a time as the write itself answers it."""
    return None if when is None else when.strftime("%Y-%m-%dT%H:%M:%S.%f")
