"""The agents, their cache and the configuration: reads, and what anyone who may read may ask for as well.

Clearing a cache harms nobody: what it holds is shown until the clouds have answered anew. It is counted, so
that the clouds are not asked more often than the settings allow.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute

from spotd.agents.state import AgentName
from spotd.fleet.readings import Source
from spotd.web.api.auth import Role
from spotd.web.api.backing import PREFIX, Backing
from spotd.web.api.envelope import Code, Envelope, answered, documented
from spotd.web.api.fleet_routes import COMMON, HostName, Wanted, host_of, known
from spotd.web.api.guard import allowed
from spotd.web.api.paging import Page, ordered, sort_pattern
from spotd.web.api.throttle import Kind
from spotd.web.api.upkeep_views import CacheLayerView, Cleared, Refreshed, SourceView
from spotd.web.api.waiting import collected

_FREE = allowed(Role.VIEWER, Kind.REFRESH)
_SOURCE_KEYS = {"agent": lambda view: view.agent, "age": lambda view: view.age}
_LAYER_KEYS = {"layer": lambda view: view.layer, "age": lambda view: view.age, "hits": lambda view: view.hits}
_AGENTS_OF = {Source.SERVICES: AgentName.SERVERS}
"""Sources whose agent has another name."""


def upkeep_routes(backing: Backing, route_class: type[APIRoute]) -> APIRouter:
    """All of it."""
    router = APIRouter(prefix=PREFIX, route_class=route_class, tags=["upkeep"])
    _add_reads(router, backing)
    _add_refreshes(router, backing)
    return router


def _add_reads(router: APIRouter, backing: Backing) -> None:
    @router.get("/sources", response_model=Envelope[Page[SourceView]], responses=documented(*COMMON))
    def sources(
        request: Request,
        wanted: Wanted,
        sort: Annotated[str, Query(pattern=sort_pattern(_SOURCE_KEYS))] = "agent",
    ) -> Response:
        """Each agent's health; its last failures stay after it recovered."""
        return answered(request, wanted.of(ordered(backing.sources(), sort, _SOURCE_KEYS)))

    def layers(
        request: Request,
        wanted: Wanted,
        sort: Annotated[str, Query(pattern=sort_pattern(_LAYER_KEYS))] = "layer",
    ) -> Response:
        """Each layer of the cache: age, size, requests and hits."""
        return answered(request, wanted.of(ordered(backing.cache_layers(), sort, _LAYER_KEYS)))

    for path in ("/cache-stats", "/cache-status"):
        router.add_api_route(
            path,
            layers,
            methods=["GET"],
            response_model=Envelope[Page[CacheLayerView]],
            responses=documented(*COMMON),
        )

    @router.get("/config", response_model=Envelope[dict[str, Any]], responses=documented(*COMMON))
    def configuration(request: Request) -> Response:
        """The configuration that is in force, with every secret hidden."""
        return answered(request, backing.configuration())


def _add_refreshes(router: APIRouter, backing: Backing) -> None:
    @router.post(
        "/clear-cache", response_model=Envelope[Cleared], responses=documented(*COMMON), openapi_extra=_FREE
    )
    def clear_cache(request: Request) -> Response:
        """The next collection asks every cloud; what is known is shown until then."""
        backing.expire(frozenset(AgentName))
        return answered(request, Cleared(layers=sorted(layer.layer for layer in backing.cache_layers())))

    @router.post(
        "/clear-cache/{host}",
        response_model=Envelope[Cleared],
        responses=documented(*COMMON, Code.UNKNOWN_HOST),
        openapi_extra=_FREE,
    )
    def clear_cache_of_host(request: Request, host: HostName) -> Response:
        """The same for the layers that tell something of this host: readings are of the region as a whole."""
        found = host_of(known(backing), host)
        sources = {source for source in found.sources.values() if source is not Source.CONFIGURATION}
        backing.expire(frozenset(_AGENTS_OF.get(source) or AgentName(source.value) for source in sources))
        return answered(request, Cleared(layers=sorted(sources), host=found.name))

    @router.post(
        "/refresh-all-data",
        response_model=Envelope[Refreshed],
        responses=documented(*COMMON, Code.REFRESH_FAILED),
        openapi_extra=_FREE,
    )
    async def refresh_all(request: Request) -> Response:
        """Asks every cloud now and answers when that is done; all who ask at the same time share it."""
        return answered(request, await collected(backing))
