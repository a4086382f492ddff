"""Reads of hosts: from the latest snapshot, but a host's servers as Nova has them now."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from spotd.clouds.errors import CloudError
from spotd.fleet.interpretation import canonical
from spotd.fleet.snapshot import FleetSnapshot, Host, OutOfStock, Pool
from spotd.fleet.totals import UNKNOWN, out_of_stock_totals
from spotd.web.api import views
from spotd.web.api.backing import PREFIX, Backing
from spotd.web.api.busy import Places
from spotd.web.api.envelope import Code, Envelope, Refusal, answered, documented
from spotd.web.api.fleet_routes import (
    COMMON,
    HostName,
    HostSort,
    PoolName,
    Wanted,
    host_of,
    hosts_page,
    known,
    stocked,
)
from spotd.web.api.paging import Page, Part

LIVE_CALLS = 4
"""Calls to Nova at once: they must not take the threads that answer everything else."""


class ReasonView(BaseModel):
    """Hosts of one GPU type that are not for sale for one reason."""

    gpu_type: str
    reason: str
    hosts: int
    is_whole: bool


class OutOfStockView(BaseModel):
    """What is not for sale, and why."""

    reasons: list[ReasonView]
    hosts: Page[views.HostView]


class HostServers(BaseModel):
    """A host's servers, asked from Nova for this request."""

    host: str
    servers: list[views.ServerView]


def _add_hosts(router: APIRouter, backing: Backing) -> None:
    @router.get("/hosts", response_model=Envelope[Page[views.HostView]], responses=documented(*COMMON))
    async def hosts(
        request: Request,
        wanted: Wanted,
        sort: HostSort = "name",
        gpu_type: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
        pool: Annotated[PoolName | None, Query()] = None,
    ) -> Response:
        """All GPU hosts, those out of stock included."""
        snapshot = known(backing)
        key = None if gpu_type is None else canonical(gpu_type)

        def is_wanted(host: Host) -> bool:
            is_of_type = key is None or canonical(host.gpu_type or UNKNOWN) == key
            return is_of_type and (pool is None or Pool(pool) in host.pools)

        return await backing.kept.told(
            request, snapshot, lambda: hosts_page(snapshot, wanted, sort, is_wanted)
        )

    @router.get(
        "/hosts/{host}",
        response_model=Envelope[views.HostDetail],
        responses=documented(*COMMON, Code.UNKNOWN_HOST),
    )
    async def host_facts(request: Request, host: HostName) -> Response:
        """A host's facts, each with its source and age."""
        snapshot = known(backing)
        data = views.host_detail(host_of(snapshot, host), snapshot, backing.now())
        return answered(request, data, snapshot_timestamp=snapshot.assembled_at.timestamp())

    @router.get("/out-of-stock", response_model=Envelope[OutOfStockView], responses=documented(*COMMON))
    async def out_of_stock(
        request: Request,
        wanted: Wanted,
        sort: HostSort = "name",
        reason: Annotated[OutOfStock | None, Query()] = None,
    ) -> Response:
        """Hosts that are not for sale, with the reason."""
        snapshot = stocked(backing)
        return await backing.kept.told(
            request, snapshot, lambda: _out_of_stock(snapshot, wanted, sort, reason)
        )


def _out_of_stock(
    snapshot: FleetSnapshot, wanted: Part, sort: str, reason: OutOfStock | None
) -> OutOfStockView:
    return OutOfStockView.model_construct(
        reasons=[
            ReasonView(gpu_type=t.gpu_type, reason=t.reason, hosts=t.hosts, is_whole=t.is_whole)
            for t in out_of_stock_totals(snapshot) or ()
            if t.hosts and reason in {None, t.reason}
        ],
        hosts=hosts_page(
            snapshot,
            wanted,
            sort,
            lambda host: host.out_of_stock is not None and reason in {None, host.out_of_stock},
        ),
    )


def _add_live(router: APIRouter, backing: Backing) -> None:
    places = Places(LIVE_CALLS)

    @router.get(
        "/host-vms/{host}",
        response_model=Envelope[HostServers],
        responses=documented(*COMMON, Code.UNKNOWN_HOST, Code.CLOUD_FAILED, Code.BUSY),
    )
    def host_servers(request: Request, host: HostName) -> Response:
        """A host's servers as Nova has them at this moment; never cached."""
        known_host = host_of(known(backing), host)
        with places.taken():
            try:
                servers = backing.host_servers(known_host.name)
            except CloudError as error:
                raise Refusal(Code.CLOUD_FAILED, str(error)) from error
        return answered(
            request, HostServers(host=known_host.name, servers=[views.server_view(s) for s in servers])
        )


def host_routes(backing: Backing, route_class: type[APIRoute]) -> APIRouter:
    """All reads of hosts."""
    router = APIRouter(prefix=PREFIX, route_class=route_class, tags=["fleet"])
    _add_hosts(router, backing)
    _add_live(router, backing)
    return router
