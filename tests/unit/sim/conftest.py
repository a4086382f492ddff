from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from spotd.sim import CloudSize, EmbeddedCloud

Ask = Callable[..., requests.Response]


class StandingClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def cloud(clock: StandingClock) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=24, projects=3), seed=3, now=clock) as running:
        yield running


def log_in(cloud: EmbeddedCloud, user: str = "admin", project: str = "admin") -> requests.Response:
    who = {"name": user, "domain": {"name": "Default"}, "password": "lab"}
    body = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": who}},
            "scope": {"project": {"name": project, "domain": {"name": "Default"}}},
        }
    }
    return requests.post(f"{cloud.auth_url}/auth/tokens", json=body, timeout=10)


@pytest.fixture
def nova(cloud: EmbeddedCloud) -> Ask:
    token = log_in(cloud).headers["X-Subject-Token"]

    def ask(method: str, path: str, version: str = "2.96", **more: Any) -> requests.Response:
        headers = {"X-Auth-Token": token, "OpenStack-API-Version": f"compute {version}"}
        more.setdefault("timeout", 10)
        return requests.request(method, cloud.nova_url + path, headers=headers, **more)

    return ask


@pytest.fixture
def placement(cloud: EmbeddedCloud) -> Ask:
    token = log_in(cloud).headers["X-Subject-Token"]

    def ask(method: str, path: str, version: str = "1.39", **more: Any) -> requests.Response:
        headers = {"X-Auth-Token": token, "OpenStack-API-Version": f"placement {version}"}
        return requests.request(method, cloud.placement_url + path, headers=headers, timeout=10, **more)

    return ask


@pytest.fixture
def netbox(cloud: EmbeddedCloud) -> Ask:
    def ask(path: str) -> requests.Response:
        headers = {"Authorization": f"Token {cloud.netbox_token}"}
        return requests.get(cloud.netbox_url + path, headers=headers, timeout=10)

    return ask
