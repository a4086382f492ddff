"""Looks whether the cloud would let spotd move hosts, without changing anything.

Rights to write are told by requests about things that do not exist: Nova asks its policy before it looks,
so that 403 means that the right is missing, and 404 that it is there if Nova itself says which thing is not.
"""

from collections.abc import Callable, Iterator
from typing import Any

from requests import codes

from spotd.clouds import nova, placement
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.finding import Finding
from spotd.clouds.host_calls import MIGRATIONS, MIGRATIONS_WITHOUT_HOSTS, SERVICE_WRITE
from spotd.clouds.keystone import CloudSession
from spotd.clouds.shape import rows_of

NO_HOST = "spotd-preflight-no-such-host"
MIGRATIONS_LOOKED_AT = "20"
NO_AGGREGATE = 2**31 - 1
"""The last id that Nova's database can hold."""
NO_UUID = "00000000-0000-0000-0000-000000000000"

_NOTHING = (NO_HOST, str(NO_AGGREGATE), NO_UUID)
"""What each of the requests is about; a 404 about anything else is that of an address where nothing is."""

_FILTER_POLICY = "os_compute_api:servers:allow_all_filters"
_PROVIDER_PARTS = (
    ("read who holds a provider", "allocations", "placement:resource_providers:allocations:list"),
    ("read a provider's aggregates", "aggregates", "placement:resource_providers:aggregates:list"),
    ("read a provider's traits", "traits", "placement:resource_providers:traits:list"),
)


def look_at_moves(session: CloudSession) -> Iterator[Finding]:
    """Asks for each right that only moves need; all are optional, since spotd also runs without moving."""

    def get(service: str, path: str, microversion: str, **params: str) -> Any:
        document, _ = session.get(
            service, path, operation="preflight", microversion=microversion, params=params
        )
        return document

    def send(method: str, path: str, microversion: str, body: dict[str, Any]) -> Any:
        return session.send(
            method, "compute", path, operation="preflight", microversion=microversion, body=body
        )

    yield _migrations(lambda: get("compute", "/os-migrations", MIGRATIONS, limit=MIGRATIONS_LOOKED_AT))
    yield _filtering(lambda: get("compute", "/servers/detail", nova.SERVERS, all_tenants="1", host=NO_HOST))
    for need, part, policy in _PROVIDER_PARTS:
        path = f"/resource_providers/{NO_UUID}/{part}"
        yield refused(need, policy, lambda path=path: get("placement", path, placement.MICROVERSION))  # type: ignore[misc]
    for action, need in (
        ("add_host", "add hosts to aggregates"),
        ("remove_host", "remove them from aggregates"),
    ):
        path, body = f"/os-aggregates/{NO_AGGREGATE}/action", {action: {"host": NO_HOST}}
        yield refused(
            need,
            f"os_compute_api:os-aggregates:{action}",
            lambda path=path, body=body: send("POST", path, nova.AGGREGATES, body),  # type: ignore[misc]
        )
    fence = {"status": "disabled", "disabled_reason": "spotd preflight"}
    yield refused(
        "disable and enable compute services",
        "os_compute_api:os-services:update",
        lambda: send("PUT", f"/os-services/{NO_UUID}", SERVICE_WRITE, fence),
    )


def _migrations(ask: Callable[[], Any]) -> Finding:
    """Met where they may be listed with their hosts, which Nova blanks without a word."""
    need = "list migrations"
    try:
        rows = rows_of(ask(), "migrations", "nova: list migrations")
    except CloudError as error:
        return _finding(need, "os_compute_api:os-migrations:index", error)
    if any(row.get(key) for row in rows for key in ("source_compute", "dest_compute")):
        return Finding(need=need, is_met=True, detail="allowed", is_optional=True)
    if rows:
        return Finding(need=need, is_met=False, detail=MIGRATIONS_WITHOUT_HOSTS, is_optional=True)
    detail = "allowed; there is none yet that could tell whether their hosts are shown"
    return Finding(need=need, is_met=True, detail=detail, is_optional=True)


def refused(need: str, policy: str, ask: Callable[[], Any], *, is_optional: bool = True) -> Finding:
    """Met where the cloud looked for the thing that `ask` asks about, and names it as not found."""
    try:
        ask()
    except CloudError as error:
        if error.reason is Failure.NOT_FOUND and any(name in str(error) for name in _NOTHING):
            return Finding(need=need, is_met=True, detail="allowed", is_optional=is_optional)
        if error.status == codes.not_found:
            detail = f"cannot be told: {error}"
            return Finding(need=need, is_met=False, detail=detail, is_optional=is_optional)
        return _finding(need, policy, error, is_optional=is_optional)
    detail = "cannot be told: the cloud answered about a thing that does not exist; is a proxy in between?"
    return Finding(need=need, is_met=False, detail=detail, is_optional=is_optional)


def _filtering(ask: Callable[[], Any]) -> Finding:
    need = "filter servers by host"
    try:
        document = ask()
    except CloudError as error:
        return _finding(need, _FILTER_POLICY, error)
    servers = document.get("servers") if isinstance(document, dict) else None
    if servers == []:
        return Finding(need=need, is_met=True, detail="allowed", is_optional=True)
    detail = f"the filter is dropped without a word; the role needs {_FILTER_POLICY}"
    return Finding(need=need, is_met=False, detail=detail, is_optional=True)


def _finding(need: str, policy: str, error: CloudError, *, is_optional: bool = True) -> Finding:
    advice = f"; the role needs {policy}" if error.reason is Failure.FORBIDDEN else ""
    return Finding(need=need, is_met=False, detail=f"{error}{advice}", is_optional=is_optional)
