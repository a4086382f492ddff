"""The fleet snapshot: every GPU host once, joined from the readings, with the source of each fact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from spotd.fleet.readings import Reading, Source
from spotd.fleet.values import Aggregate, Aggregates, ComputeServices, Gpus, Inventory, Servers


class Pool(StrEnum):
    """What an aggregate is used for."""

    ONDEMAND = "ondemand"
    SPOT = "spot"
    RUNPOD = "runpod"
    CONTRACT = "contract"
    TESTING = "testing"


class OutOfStock(StrEnum):
    """Why a GPU host is not for sale; the first that holds, in this order."""

    NETBOX_STATUS = "netbox_status"
    """NetBox says something else than `active`."""
    NO_COMPUTE_SERVICE = "no_compute_service"
    """NetBox or an aggregate names it and Nova has no compute service for it."""
    BARE_METAL = "bare_metal"
    """A compute service for bare-metal nodes, which are sold one by one: it is no host of its own."""
    TESTING = "testing"
    """In a testing aggregate."""
    NO_POOL = "no_pool"
    """In no aggregate that stands for a pool."""
    SEVERAL_POOLS = "several_pools"
    """In aggregates of more than one pool."""
    SERVICE_DISABLED = "service_disabled"
    """The compute service is disabled."""
    SERVICE_DOWN = "service_down"
    """The compute service is enabled and down."""


class ContradictionKind(StrEnum):
    """What two sources disagree about, or what a source says that cannot be."""

    GPU_COUNT = "gpu_count"
    """Placement, NetBox and the configuration name different numbers of GPUs."""
    GPUS_USED = "gpus_used"
    """Placement's allocations and the servers' flavors give different numbers of used GPUs."""
    GPU_TYPE = "gpu_type"
    """The aggregate, the resource class and NetBox name different GPU types."""
    SEVERAL_POOLS = "several_pools"
    """The host is in aggregates of more than one pool, GPU type or contract."""
    UNKNOWN_HOST = "unknown_host"
    """Servers run on a host that has no compute service."""
    NO_COMPUTE_SERVICE = "no_compute_service"
    """An aggregate names a host that has no compute service."""
    AMBIGUOUS_NAME = "ambiguous_name"
    """More than one device or provider fits the host's name."""
    OVERCOMMITTED = "overcommitted"
    """More GPUs are used than there are."""
    UNKNOWN_POOL = "unknown_pool"
    """An aggregate's metadata names a pool that does not exist."""
    UNKNOWN_PROVIDER = "unknown_provider"
    """Placement has GPUs under a hypervisor hostname that fits no host."""
    PARTIAL_READING = "partial_reading"
    """So much of a source's list is missing that nothing of it counts as known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """One disagreement about one host, with what each side says in a sentence."""

    kind: ContradictionKind
    host: str
    """Empty where it is about an aggregate; the hypervisor hostname where that fits no host."""
    detail: str
    aggregate: str | None = None
    """The aggregate that it is about, where it is not about a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A GPU host and what is known of it; None is unknown, never none.

    `sources` names for each fact the reading it was taken from; its age is that reading's age.
    """

    name: str
    """The compute service's host, else the name in the aggregate, else NetBox's device name."""
    gpu_type: str | None = None
    pool: Pool | None = None
    """None in no pool and in several; `pools` and `out_of_stock` tell which."""
    pools: tuple[Pool, ...] = ()
    variant: str | None = None
    contract: str | None = None
    aggregates: tuple[str, ...] = ()
    """Names of all aggregates that hold the host, also those that are no pool."""
    availability_zone: str | None = None
    hypervisor_hostname: str | None = None
    resource_provider: str | None = None
    gpus: int | None = None
    """GPUs that can be allocated on the host."""
    gpus_used: int | None = None
    """GPUs that servers hold; more than `gpus` where the host is overcommitted."""
    gpus_reserved: int | None = None
    """GPUs, not among `gpus`, that nobody holds and nobody can have: used once, and not cleaned yet."""
    is_allocated: bool | None = None
    """Whether Placement has anything allocated on the host, of any resource class."""
    server_ids: tuple[str, ...] | None = None
    """Servers on the host, sorted by id; None while the server list is unknown."""
    unexplained_classes: tuple[str, ...] = ()
    """Resource classes in use on the host that may be GPUs: while there are any, use is unknown."""
    service_status: str | None = None
    """`enabled` or `disabled`."""
    service_state: str | None = None
    """`up` or `down`."""
    disabled_reason: str | None = None
    netbox_status: str | None = None
    tenant: str | None = None
    owner_group: str | None = None
    """NetBox's tenant group."""
    site: str | None = None
    rack: str | None = None
    nvlink: bool | None = None
    out_of_stock: OutOfStock | None = None
    """None: for sale, provided the snapshot's `stock_known`."""
    sources: Mapping[str, Source] = field(default_factory=dict)

    @property
    def gpus_free(self) -> int | None:
        """GPUs that nobody holds, never below none; None while GPUs or used GPUs are unknown."""
        if self.gpus is None or self.gpus_used is None:
            return None
        return max(0, self.gpus - self.gpus_used)

    @property
    def is_empty(self) -> bool | None:
        """Whether nobody is on the host; the one meaning of an empty, or free, host.

        True only where three facts are known: Nova has no server on it, no GPU of it is used, and Placement
        has nothing allocated on its provider tree, of whatever resource class. So a host without a GPU class
        is empty where its processors and memory are unallocated too, not where its flavors ask for no GPU.
        A host without a provider of its own is empty while no provider is left to be its: all were read,
        and those that fit no host have nothing allocated.

        False as soon as one of the three shows somebody; else None: nobody knows.
        """
        if self.server_ids or self.gpus_used or self.is_allocated:
            return False
        known = (self.server_ids, self.gpus_used, self.is_allocated)
        return None if any(fact is None for fact in known) else True


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The last good reading of each source; None: never had, or past its maximum age."""

    netbox: Reading[Inventory] | None = None
    aggregates: Reading[Aggregates] | None = None
    services: Reading[ComputeServices] | None = None
    servers: Reading[Servers] | None = None
    gpus: Reading[Gpus] | None = None
    unconfigured: frozenset[Source] = frozenset()
    """Sources that the configuration does not name: nothing is missed while they have no reading."""

    def of(self, source: Source) -> "Reading[object] | None":
        """The reading of a source; None for the configuration, which does not age."""
        return None if source is Source.CONFIGURATION else getattr(self, source.value)

    @property
    def all_hosts_known(self) -> bool:
        """Whether nothing is missing that could name more GPU hosts, or their types and counts."""
        return (
            (self.netbox is not None or Source.NETBOX in self.unconfigured)
            and self.servers is not None
            and self.gpus is not None
            and not self.gpus.value.unread
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedAggregate:
    """An aggregate and what it stands for; `pool` None: it is no pool (a zone, a maintenance group)."""

    aggregate: Aggregate
    pool: Pool | None = None
    gpu_type: str | None = None
    variant: str | None = None
    contract: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSnapshot:
    """All GPU hosts at one moment; immutable, shared by metrics, web and rules."""

    assembled_at: datetime
    readings: Readings = field(repr=False)
    hosts: Mapping[str, Host] = field(repr=False)
    """By host name, in name order."""
    aggregates: tuple[ClassifiedAggregate, ...] = field(repr=False)
    contradictions: tuple[Contradiction, ...] = field(default=(), repr=False)
    unexplained_classes: tuple[str, ...] = ()
    """Resource classes, and PCI aliases, of hypervisors and servers that may be GPUs: nobody says."""

    @property
    def stock_known(self) -> bool:
        """Whether membership and services are both known, without which no count of a pool is true."""
        return self.readings.aggregates is not None and self.readings.services is not None
