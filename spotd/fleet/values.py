"""Frozen values as the clouds report them, cut down to what spotd needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """A Nova host aggregate. Source: GET /os-aggregates (Nova, 2.41 and later for `uuid`)."""

    id: int
    uuid: str | None
    name: str
    hosts: tuple[str, ...]
    metadata: Mapping[str, str]
    availability_zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeService:
    """The nova-compute record of a host. Source: GET /os-services?binary=nova-compute (Nova)."""

    id: str
    host: str
    status: str
    """`enabled` or `disabled`."""
    state: str
    """`up` or `down`."""
    disabled_reason: str | None = None
    forced_down: bool = False
    zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """What a server's flavor asks for, as embedded in the server at boot (Nova 2.47 and later)."""

    name: str
    resources: tuple[tuple[str, int], ...] = ()
    """Resource class and count, from the extra specs `resources:CLASS` and `resourcesN:CLASS`."""
    pci_aliases: tuple[tuple[str, int], ...] = ()
    """PCI alias and count, from the extra spec `pci_passthrough:alias`."""
    extra_specs_known: bool = True
    """False where policy hides the extra specs: then their absence says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Nova server of any project. Source: GET /servers/detail?all_tenants=1 (Nova)."""

    id: str
    name: str
    host: str | None
    """None while no host has been chosen, and for servers that failed before they had one."""
    hypervisor_hostname: str | None
    status: str
    task_state: str | None
    project_id: str
    flavor: Flavor
    updated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCount:
    """GPUs of one resource class on one host, summed over its providers."""

    capacity: int
    """Units that can be allocated or are: after reservation and allocation ratio, or those in use of a
    provider that lets nobody allocate any more, as a one-time-use device does while a server has it."""
    used: int
    reserved: int = 0
    """Providers that let nobody allocate a unit and of which nobody has one: used once and not cleaned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTree:
    """A root resource provider (a hypervisor) with the classes of its whole tree summed that may be GPUs.

    Source: GET /allocation_candidates (Placement 1.29 and later, `provider_summaries`).
    """

    uuid: str
    name: str
    """The hypervisor hostname."""
    gpus: Mapping[str, GpuCount]
    """By resource class, those that nobody explains among them; empty when none may be GPUs."""
    read_at: datetime = field(compare=False)
    """When this tree was last asked for: a steady refresh asks only for trees that changed."""
    is_allocated: bool | None = None
    """Whether anything is allocated on one of its providers, of any resource class; None: not told."""
    is_bare_metal: bool = False
    """Whether it is a machine that is sold whole: a class of its own, neither processors nor memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A fact of a device that NetBox tells in a form which cannot be read, so that it is unknown."""

    field: str
    """The name of the custom field, or the device's own key, such as `tags`."""
    value: str | None
    """What stands there, as it may be shown: short and without secrets; None where there is no such field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A NetBox device. Source: GET /api/dcim/devices/ and /api/tenancy/tenants/ (NetBox)."""

    id: int
    name: str
    status: str
    """The status's value, such as `active`, `failed` or `planned`."""
    role: str | None
    site: str | None
    rack: str | None
    tenant: str | None
    tenant_group: str | None
    tags: tuple[str, ...]
    nvlink: bool | None
    """The custom field that says whether the host has NVLink; None where unset."""
    gpu_count: int | None
    """The custom field that holds the number of GPUs; None where unset."""
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregates:
    """All host aggregates of the region."""

    aggregates: tuple[Aggregate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeServices:
    """All nova-compute services of the region, each cell heard."""

    services: tuple[ComputeService, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """All servers of all projects."""

    servers: Mapping[str, Server] = field(repr=False)
    """By server id."""
    changed_hosts: frozenset[str] = frozenset()
    """Hosts on which a server came, went or changed since the reading before this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """GPU capacity and use of every hypervisor that Placement knows."""

    trees: Mapping[str, ProviderTree] = field(repr=False)
    """By hypervisor hostname."""
    full_read_at: datetime
    """When every tree was last read in one go; trees read since then carry their own time."""
    unread: tuple[str, ...] = ()
    """Hypervisors whose tree could not be read within the request budget: their GPUs are unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All devices that NetBox lists for the configured query."""

    devices: Mapping[int, Device] = field(repr=False)
    """By NetBox device id."""
