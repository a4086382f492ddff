"""What the API shows of the fleet: models for OpenAPI, made from the snapshot's values."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import ClassifiedAggregate, Contradiction, FleetSnapshot, Host
from spotd.fleet.totals import ContractTotals, PoolTotals
from spotd.fleet.values import Server

UNKNOWN = "null: unknown."


class HostView(BaseModel):
    """A GPU host; null is unknown, never none."""

    name: str
    gpu_type: str | None
    pool: str | None = Field(description="Null in no pool and in several.")
    pools: list[str]
    variant: str | None
    contract: str | None
    aggregates: list[str]
    availability_zone: str | None
    hypervisor_hostname: str | None
    gpus: int | None = Field(description=f"GPUs that can be allocated; {UNKNOWN}")
    gpus_used: int | None = Field(description=UNKNOWN)
    gpus_reserved: int | None = Field(
        description="GPUs, not in `gpus`, that nobody can have until they are cleaned; null where unknown."
    )
    servers: int | None = Field(description=f"Servers on the host; {UNKNOWN}")
    service_status: str | None = Field(description="`enabled` or `disabled`.")
    service_state: str | None = Field(description="`up` or `down`.")
    disabled_reason: str | None
    netbox_status: str | None
    tenant: str | None
    owner_group: str | None
    site: str | None
    rack: str | None
    nvlink: bool | None
    out_of_stock: str | None = Field(description="Why it is not for sale; null: for sale.")


class Fact(BaseModel):
    """One fact with the source that told it and the age of what it said."""

    value: Any
    source: str
    read_timestamp: float | None = Field(description="Unix time in seconds; null for the configuration.")
    age: float | None = Field(description="Seconds since the source was asked; null for the configuration.")


class Disagreement(BaseModel):
    """What two sources disagree about."""

    kind: str
    detail: str


class HostDetail(HostView):
    """A GPU host with where each fact is from."""

    resource_provider: str | None
    server_ids: list[str] | None = Field(description=UNKNOWN)
    facts: dict[str, Fact] = Field(description="Known facts by name; what is absent is unknown.")
    contradictions: list[Disagreement]


class Totals(BaseModel):
    """Sums over hosts that are for sale; null while a missing reading could add to them."""

    hosts: int
    free_hosts: int | None
    unknown_hosts: int
    gpus: int | None
    gpus_used: int | None
    hosts_with_unknown_gpus: int
    utilization_ratio: float | None
    is_whole: bool = Field(description="False while a missing reading could add hosts.")


class PoolView(Totals):
    """Sums over one pool of a GPU type."""

    gpu_type: str
    pool: str


class ContractView(Totals):
    """Sums over one contract's hosts of a GPU type."""

    contract: str
    gpu_type: str


class GpuTypeView(BaseModel):
    """A GPU type and its pools."""

    gpu_type: str
    hosts: int = Field(description="All of its hosts, those out of stock included.")
    out_of_stock: int
    pools: list[PoolView]


class AggregateView(BaseModel):
    """A host aggregate of Nova and what it stands for."""

    id: int
    uuid: str | None
    name: str
    pool: str | None = Field(description="Null: it is no pool.")
    gpu_type: str | None
    variant: str | None
    contract: str | None
    availability_zone: str | None
    metadata: dict[str, str]
    hosts: list[str]


class ServerView(BaseModel):
    """A server as Nova has it now."""

    id: str
    name: str
    status: str
    task_state: str | None
    project_id: str
    flavor: str
    updated: str


def host_view(host: Host) -> HostView:
    """The host in a list."""
    return HostView.model_construct(**_host_fields(host))


def host_detail(host: Host, snapshot: FleetSnapshot, now: datetime) -> HostDetail:
    """The host with its sources."""
    ids = host.server_ids
    return HostDetail.model_construct(
        **_host_fields(host),
        resource_provider=host.resource_provider,
        server_ids=None if ids is None else list(ids),
        facts=_facts(host, snapshot, now),
        contradictions=[_disagreement(found) for found in snapshot.contradictions if found.host == host.name],
    )


def pool_view(totals: PoolTotals) -> PoolView:
    """A pool's sums."""
    return PoolView(gpu_type=totals.gpu_type, pool=totals.pool, **_totals(totals))


def contract_view(totals: ContractTotals) -> ContractView:
    """A contract's sums."""
    return ContractView(contract=totals.contract, gpu_type=totals.gpu_type, **_totals(totals))


def aggregate_view(classified: ClassifiedAggregate) -> AggregateView:
    """An aggregate."""
    aggregate = classified.aggregate
    return AggregateView(
        id=aggregate.id,
        uuid=aggregate.uuid,
        name=aggregate.name,
        pool=classified.pool,
        gpu_type=classified.gpu_type,
        variant=classified.variant,
        contract=classified.contract,
        availability_zone=aggregate.availability_zone,
        metadata=dict(aggregate.metadata),
        hosts=list(aggregate.hosts),
    )


def server_view(server: Server) -> ServerView:
    """A server."""
    return ServerView(
        id=server.id,
        name=server.name,
        status=server.status,
        task_state=server.task_state,
        project_id=server.project_id,
        flavor=server.flavor.name,
        updated=server.updated,
    )


def _host_fields(host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "gpu_type": host.gpu_type,
        "pool": host.pool,
        "pools": list(host.pools),
        "variant": host.variant,
        "contract": host.contract,
        "aggregates": list(host.aggregates),
        "availability_zone": host.availability_zone,
        "hypervisor_hostname": host.hypervisor_hostname,
        "gpus": host.gpus,
        "gpus_used": host.gpus_used,
        "gpus_reserved": host.gpus_reserved,
        "servers": None if host.server_ids is None else len(host.server_ids),
        "service_status": host.service_status,
        "service_state": host.service_state,
        "disabled_reason": host.disabled_reason,
        "netbox_status": host.netbox_status,
        "tenant": host.tenant,
        "owner_group": host.owner_group,
        "site": host.site,
        "rack": host.rack,
        "nvlink": host.nvlink,
        "out_of_stock": host.out_of_stock,
    }


def _facts(host: Host, snapshot: FleetSnapshot, now: datetime) -> dict[str, Fact]:
    return {name: _fact(getattr(host, name), source, snapshot, now) for name, source in host.sources.items()}


def _fact(value: object, source: Source, snapshot: FleetSnapshot, now: datetime) -> Fact:
    reading = snapshot.readings.of(source)
    return Fact(
        value=list(value) if isinstance(value, tuple) else value,
        source=source,
        read_timestamp=None if reading is None else reading.read_at.timestamp(),
        age=None if reading is None else reading.age_seconds(now),
    )


def _disagreement(found: Contradiction) -> Disagreement:
    return Disagreement(kind=found.kind, detail=found.detail)


def _totals(totals: PoolTotals | ContractTotals) -> Mapping[str, Any]:
    return {name: getattr(totals, name) for name in Totals.model_fields}
