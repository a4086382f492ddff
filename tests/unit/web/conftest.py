"""A real server on a free port, around fakes that the test can turn."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from fleets import FleetBuilder
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from spotd.clock import SystemClock
from spotd.fleet.snapshot import FleetSnapshot
from spotd.metrics.own import Metrics
from spotd.web.app import make_app
from spotd.web.scrape import Scrape
from spotd.web.server import WebServer


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

    def __post_init__(self) -> None:
        self.metrics = Metrics(CollectorRegistry(), lambda: self.snapshot, SystemClock())

    def app(self) -> ASGIApp:
        return make_app(
            scrape=Scrape(self.metrics),
            healthy=lambda: self.healthy,
            ready=lambda: self.ready,
            reload=self._reload,
            overview=lambda: self.overview(),  # noqa: PLW0108 - tests replace it
            recorder=self.metrics,
        )

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
