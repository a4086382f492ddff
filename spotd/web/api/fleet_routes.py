"""Reads of the fleet: everything from the latest snapshot, but a host's servers as Nova has them now."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from spotd.fleet.interpretation import canonical
from spotd.fleet.snapshot import FleetSnapshot, Host, Pool
from spotd.fleet.totals import UNKNOWN, PoolTotals, contract_totals, pool_totals
from spotd.web.api import views
from spotd.web.api.backing import PREFIX, Backing
from spotd.web.api.envelope import Code, Envelope, Refusal, documented
from spotd.web.api.paging import Page, Part, ordered, part, sort_pattern
from spotd.web.api.waiting import refreshed_first

COMMON = (Code.INVALID_REQUEST, Code.UNAUTHORIZED, Code.FORBIDDEN, Code.RATE_LIMITED, Code.NOT_KNOWN_NOW)
HOST_KEYS: Mapping[str, Callable[[Host], Any]] = {
    "name": lambda host: host.name,
    "gpu_type": lambda host: host.gpu_type,
    "pool": lambda host: host.pool,
    "gpus": lambda host: host.gpus,
    "gpus_used": lambda host: host.gpus_used,
    "servers": lambda host: None if host.server_ids is None else len(host.server_ids),
    "out_of_stock": lambda host: host.out_of_stock,
    "rack": lambda host: host.rack,
    "site": lambda host: host.site,
}

GpuType = Annotated[str, Path(min_length=1, max_length=100, description="As in /gpu-types; `H100`.")]
HostName = Annotated[str, Path(min_length=1, max_length=255, description="As in /hosts.")]
PoolName = Literal["ondemand", "spot", "runpod", "contract", "testing"]
HostSort = Annotated[str, Query(pattern=sort_pattern(HOST_KEYS), description="`-` first: largest first.")]
Wanted = Annotated[Part, Depends(part)]


class TypeAggregates(BaseModel):
    """A GPU type's aggregates with their sums and hosts."""

    gpu_type: str
    pools: list[views.PoolView]
    aggregates: list[views.AggregateView]
    hosts: Page[views.HostView]


class TypeContracts(BaseModel):
    """A GPU type's contracts."""

    gpu_type: str
    contracts: list[views.ContractView]
    aggregates: list[views.AggregateView]
    hosts: Page[views.HostView]


def fleet_routes(backing: Backing, route_class: type[APIRoute]) -> APIRouter:
    """All reads of the fleet."""
    router = APIRouter(prefix=PREFIX, route_class=route_class, tags=["fleet"])
    _add_types(router, backing, _Sums())
    return router


def _add_types(router: APIRouter, backing: Backing, sums: "_Sums") -> None:
    refusals = documented(*COMMON, Code.UNKNOWN_GPU_TYPE, Code.REFRESH_FAILED)

    @router.get("/gpu-types", response_model=Envelope[Page[views.GpuTypeView]], responses=documented(*COMMON))
    async def gpu_types(
        request: Request,
        wanted: Wanted,
        sort: Annotated[str, Query(pattern=sort_pattern(_TYPE_KEYS))] = "gpu_type",
    ) -> Response:
        """Every GPU type with its pools."""
        snapshot = stocked(backing)
        return await backing.kept.told(
            request, snapshot, lambda: wanted.of(ordered(_types(snapshot, sums), sort, _TYPE_KEYS))
        )

    @router.get("/aggregates/{gpu_type}", response_model=Envelope[TypeAggregates], responses=refusals)
    async def aggregates(
        request: Request,
        gpu_type: GpuType,
        wanted: Wanted,
        sort: HostSort = "name",
        force_refresh: bool = False,  # noqa: FBT001, FBT002 - a query parameter
    ) -> Response:
        """A GPU type's aggregates, pools and hosts; `force_refresh` collects first."""
        await refreshed_first(backing, request, force_refresh)
        snapshot = stocked(backing)
        return await backing.kept.told(
            request, snapshot, lambda: _aggregates(snapshot, sums, gpu_type, None, wanted, sort)
        )

    @router.get("/aggregates/{gpu_type}/{pool}", response_model=Envelope[TypeAggregates], responses=refusals)
    async def aggregates_of_pool(  # noqa: PLR0917 - one argument for each parameter
        request: Request,
        gpu_type: GpuType,
        pool: PoolName,
        wanted: Wanted,
        sort: HostSort = "name",
        force_refresh: bool = False,  # noqa: FBT001, FBT002 - a query parameter
    ) -> Response:
        """One pool of a GPU type."""
        await refreshed_first(backing, request, force_refresh)
        snapshot = stocked(backing)
        return await backing.kept.told(
            request, snapshot, lambda: _aggregates(snapshot, sums, gpu_type, Pool(pool), wanted, sort)
        )

    @router.get("/contract-aggregates/{gpu_type}", response_model=Envelope[TypeContracts], responses=refusals)
    async def contract_aggregates(
        request: Request, gpu_type: GpuType, wanted: Wanted, sort: HostSort = "name"
    ) -> Response:
        """A GPU type's contracts, their aggregates and hosts."""
        snapshot = stocked(backing)
        return await backing.kept.told(
            request, snapshot, lambda: _contracts(snapshot, gpu_type, wanted, sort)
        )


def known(backing: Backing) -> FleetSnapshot:
    """The snapshot.

    Raises:
        Refusal: There is none that may be believed.
    """
    snapshot = backing.snapshot()
    if snapshot is None:
        raise Refusal(Code.NOT_KNOWN_NOW, "There is no snapshot yet, or none that is young enough.")
    return snapshot


def stocked(backing: Backing) -> FleetSnapshot:
    """The snapshot, where it knows what is for sale.

    Raises:
        Refusal: It does not, or there is none.
    """
    snapshot = known(backing)
    if not snapshot.stock_known:
        missing = "aggregates" if snapshot.readings.aggregates is None else "compute services"
        raise Refusal(Code.NOT_KNOWN_NOW, f"The {missing} are not known now, so nothing is told of pools.")
    return snapshot


def host_of(snapshot: FleetSnapshot, name: str) -> Host:
    """The host.

    Raises:
        Refusal: There is no GPU host of that name.
    """
    host = snapshot.hosts.get(name)
    if host is None:
        raise Refusal(Code.UNKNOWN_HOST, f"There is no GPU host {name!r}.")
    return host


_TYPE_KEYS: Mapping[str, Callable[[views.GpuTypeView], Any]] = {
    "gpu_type": lambda view: view.gpu_type,
    "hosts": lambda view: view.hosts,
    "out_of_stock": lambda view: view.out_of_stock,
}


def _types(snapshot: FleetSnapshot, sums: "_Sums") -> list[views.GpuTypeView]:
    pools: dict[str, list[views.PoolView]] = {}
    for totals in sums.of(snapshot):
        pools.setdefault(totals.gpu_type, []).append(views.pool_view(totals))
    by_type: dict[str, list[Host]] = {}
    for host in snapshot.hosts.values():
        by_type.setdefault(host.gpu_type or UNKNOWN, []).append(host)
    return [
        views.GpuTypeView(
            gpu_type=name,
            hosts=len(by_type.get(name, ())),
            out_of_stock=sum(host.out_of_stock is not None for host in by_type.get(name, ())),
            pools=pools.get(name, []),
        )
        for name in sorted({*pools, *by_type})
    ]


def _known_type(snapshot: FleetSnapshot, wanted: str) -> str:
    """The GPU type as the snapshot spells it."""
    key = canonical(wanted)
    types = {c.gpu_type for c in snapshot.aggregates if c.gpu_type is not None}
    types |= {host.gpu_type or UNKNOWN for host in snapshot.hosts.values()}
    for name in sorted(types):
        if canonical(name) == key:
            return name
    raise Refusal(Code.UNKNOWN_GPU_TYPE, f"There is no GPU type {wanted!r}.")


class _Sums:
    """The sums over pools of the latest snapshot, made once for all who read it."""

    def __init__(self) -> None:
        self._made: tuple[FleetSnapshot, tuple[PoolTotals, ...]] | None = None

    def of(self, snapshot: FleetSnapshot) -> tuple[PoolTotals, ...]:
        """The sums; two who ask at once may both make them, and either stands."""
        made = self._made
        if made is None or made[0] is not snapshot:
            made = (snapshot, pool_totals(snapshot) or ())
            self._made = made
        return made[1]


def _aggregates(  # noqa: PLR0917 - what the two routes have in common
    snapshot: FleetSnapshot, sums: _Sums, gpu_type: str, pool: Pool | None, wanted: Part, sort: str
) -> TypeAggregates:
    name = _known_type(snapshot, gpu_type)
    return TypeAggregates.model_construct(
        gpu_type=name,
        pools=[
            views.pool_view(totals)
            for totals in sums.of(snapshot)
            if totals.gpu_type == name and pool in {None, totals.pool}
        ],
        aggregates=_classified(snapshot, name, pool),
        hosts=hosts_page(snapshot, wanted, sort, lambda host: _is_in(host, name, pool)),
    )


def _contracts(snapshot: FleetSnapshot, gpu_type: str, wanted: Part, sort: str) -> TypeContracts:
    name = _known_type(snapshot, gpu_type)
    return TypeContracts.model_construct(
        gpu_type=name,
        contracts=[
            views.contract_view(totals)
            for totals in contract_totals(snapshot) or ()
            if totals.gpu_type == name
        ],
        aggregates=_classified(snapshot, name, Pool.CONTRACT),
        hosts=hosts_page(snapshot, wanted, sort, lambda host: _is_in(host, name, Pool.CONTRACT)),
    )


def _is_in(host: Host, gpu_type: str, pool: Pool | None) -> bool:
    return (host.gpu_type or UNKNOWN) == gpu_type and (pool is None or pool in host.pools)


def _classified(snapshot: FleetSnapshot, gpu_type: str, pool: Pool | None) -> list[views.AggregateView]:
    key = canonical(gpu_type)
    return [
        views.aggregate_view(classified)
        for classified in snapshot.aggregates
        if canonical(classified.gpu_type or UNKNOWN) == key
        and classified.pool is not None
        and pool in {None, classified.pool}
    ]


def hosts_page(
    snapshot: FleetSnapshot, wanted: Part, sort: str, is_wanted: Callable[[Host], bool]
) -> Page[views.HostView]:
    """A page of the hosts that are wanted."""
    found: Iterable[Host] = (host for host in snapshot.hosts.values() if is_wanted(host))
    page = wanted.of(ordered(found, sort, HOST_KEYS))
    page.items = [views.host_view(host) for host in page.items]
    return page
