"""A real server on a free port, around fakes that the test can turn."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from fleets import NOW, FleetBuilder
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from spotd.agents.state import AgentName
from spotd.clock import SystemClock
from spotd.clouds.errors import CloudError
from spotd.clouds.identity import TokenOwner
from spotd.fleet.snapshot import FleetSnapshot
from spotd.fleet.values import Server
from spotd.metrics.own import Metrics
from spotd.settings import Settings
from spotd.settings.api import ApiSettings
from spotd.settings.description import public_settings
from spotd.settings.models import WebSettings
from spotd.store.records import AuditRecord
from spotd.web.api.acting import Acting, AggregateChanges
from spotd.web.api.backing import Backing
from spotd.web.api.keystone import KeystoneTokens
from spotd.web.api.refresh import Refresher, RefreshOutcome
from spotd.web.api.upkeep_views import CacheLayerView, Run, SourceView
from spotd.web.app import make_app
from spotd.web.events import EventHub
from spotd.web.scrape import Scrape
from spotd.web.server import WebServer

SOURCE = SourceView(
    agent="netbox",
    running=False,
    succeeded=True,
    last_success_timestamp=100.0,
    last_failure_timestamp=50.0,
    last_error="netbox: no answer in time",
    last_error_reason="timeout",
    duration=0.5,
    age=3.0,
    retry_timestamp=None,
    successes=[Run(timestamp=100.0, duration=0.5, reason=None, message=None)],
    failures=[Run(timestamp=50.0, duration=60.0, reason="timeout", message="netbox: no answer in time")],
)
LAYER = CacheLayerView(
    layer="netbox", age=3.0, entries=1, lifetime=1800.0, max_age=86400.0, requests=4, hits=3, hit_ratio=0.75
)


def _unused(*_: Any) -> Any:
    raise AssertionError("not to be called")


@dataclass
class Face:
    """What the routes are given, each of which a test may change."""

    healthy: tuple[bool, str] = (True, "the scheduler runs")
    ready: tuple[bool, str] = (True, "the snapshot is 3 s old")
    reload: tuple[bool, str] = (True, "reloaded")
    snapshot: FleetSnapshot | None = field(
        default_factory=lambda: FleetBuilder().host("gpu-1", "H100-n3").snapshot()
    )
    overview: Callable[[], str] = lambda: "<!doctype html><title>spotd</title>"
    reloads: int = 0
    api: ApiSettings = field(default_factory=ApiSettings)
    web: WebSettings = field(default_factory=WebSettings)
    owners: dict[str, TokenOwner | CloudError] = field(default_factory=dict)
    """Whose Keystone token is whose; an error stands for a Keystone that does not answer."""
    keystone_asked: int = 0
    servers: Callable[[str], tuple[Server, ...]] = lambda _host: ()
    expired: list[frozenset[AgentName]] = field(default_factory=list)
    collect: Callable[[], RefreshOutcome] = lambda: RefreshOutcome(seconds=0.5, failures={}, unfinished=())
    now: datetime = NOW
    audits: list[AuditRecord] = field(default_factory=list)
    aggregates: AggregateChanges = field(
        default_factory=lambda: AggregateChanges(
            live=_unused, create=_unused, set_metadata=_unused, delete=_unused
        )
    )
    acting: Acting | None = None

    def __post_init__(self) -> None:
        self.metrics = Metrics(CollectorRegistry(), lambda: self.snapshot, SystemClock())
        self.events = EventHub()
        self.backing = self.make_backing()

    def make_backing(self) -> Backing:
        """What the API is given, as it is now."""
        return Backing(
            settings=lambda: self.api,
            now=lambda: self.now,
            snapshot=lambda: self.snapshot,
            sources=lambda: (SOURCE,),
            cache_layers=lambda: (LAYER,),
            configuration=lambda: public_settings(Settings(api=self.api, web=self.web)),
            host_servers=lambda host: self.servers(host),  # noqa: PLW0108 - tests replace it
            expire=self.expired.append,
            refresher=Refresher(
                lambda: self.collect(),  # noqa: PLW0108 - tests replace it
                spacing_seconds=lambda: self.api.refresh_spacing_seconds,
            ),
            events=self.events,
            aggregates=self.aggregates,
            audit=self.audits.append,
            acting=self.acting,
        )

    def make(self) -> ASGIApp:
        """An application with what the test has put in since."""
        self.backing = self.make_backing()
        return self.app()

    def app(self) -> ASGIApp:
        return make_app(**self.parts())

    def parts(self) -> dict[str, Any]:
        """What an application is made of."""
        return {
            "scrape": Scrape(self.metrics),
            "healthy": lambda: self.healthy,
            "ready": lambda: self.ready,
            "reload": self._reload,
            "overview": lambda: self.overview(),  # noqa: PLW0108 - tests replace it
            "recorder": self.metrics,
            "backing": self.backing,
            "web": lambda: self.web,
            "keystone": KeystoneTokens(lambda: self.api, lambda: self.now, self._owner_of),
        }

    def _owner_of(self, token: str) -> TokenOwner | None:
        self.keystone_asked += 1
        owner = self.owners.get(token)
        if isinstance(owner, CloudError):
            raise owner
        return owner

    def requests(self, route: str, method: str, code: int) -> float | None:
        """How often such a request was counted."""
        return self.metrics.registry.get_sample_value(
            "spotd_http_requests_total", {"route": route, "method": method, "code": str(code)}
        )

    def _reload(self) -> tuple[bool, str]:
        self.reloads += 1
        return self.reload


@pytest.fixture
def face() -> Face:
    return Face()


class Switch:
    """The application that a test puts in: one server serves all tests, as starting one takes time."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Switch, str]]:
    switch = Switch()
    server = WebServer(switch, "127.0.0.1:0")
    server.start()
    yield switch, f"http://{server.address}"
    server.stop()


@pytest.fixture
def url(face: Face, served: tuple[Switch, str]) -> str:
    switch, address = served
    switch.app = face.app()
    return address
