"""Looks before the daemon runs: does the cloud have each service, right and microversion that spotd needs?"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from spotd.clouds import nova, placement
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.finding import Finding
from spotd.clouds.keystone import CloudSession
from spotd.clouds.limits import LIST_BYTES
from spotd.clouds.netbox import NetBox
from spotd.clouds.preflight_moves import NO_UUID, look_at_moves, refused
from spotd.clouds.preflight_netbox import look_at_netbox
from spotd.clouds.preflight_versions import look_at_versions
from spotd.fleet.interpretation import EXPLAINED_BY

NAMED = 20
"""Providers named in a finding."""


def look(
    session: CloudSession, netbox: NetBox | None, explains: Callable[[str], bool] = lambda _name: True
) -> Iterator[Finding]:
    """Asks for each need once, in the order in which they build on each other.

    `explains` tells of a resource class whether the settings say that it is a GPU, or that it is none.
    """
    token = _token(session)
    yield token
    if token.is_met:
        yield from _openstack(session)
        yield from _hypervisors(session, explains)
    if netbox is not None:
        yield from look_at_netbox(netbox)
    if token.is_met:
        yield from look_at_moves(session)


def _token(session: CloudSession) -> Finding:
    """Without it every other question to the cloud would end in this same answer."""
    need = "Keystone gives a token"
    try:
        session.endpoint("identity")
    except CloudError as error:
        return Finding(need=need, is_met=False, detail=str(error))
    return Finding(need=need, is_met=True, detail=session.auth_url)


def _openstack(session: CloudSession) -> Iterator[Finding]:
    yield from _catalog(session)
    yield from look_at_versions(session)
    yield _read(
        session,
        "list aggregates",
        "compute",
        "/os-aggregates",
        nova.AGGREGATES,
        "os_compute_api:os-aggregates:index",
    )
    yield _read(
        session,
        "list compute services",
        "compute",
        "/os-services",
        nova.SERVICES,
        "os_compute_api:os-services:list",
        {"binary": "nova-compute"},
    )
    yield _read(
        session,
        "list servers of all projects",
        "compute",
        "/servers/detail",
        nova.SERVERS,
        "os_compute_api:servers:detail:get_all_tenants",
        {"all_tenants": "1", "limit": "1"},
        _sees_hosts,
    )
    since = (datetime.now(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    yield _read(
        session,
        "list changed servers",
        "compute",
        "/servers/detail",
        nova.SERVERS,
        "os_compute_api:servers:detail:get_all_tenants",
        {"all_tenants": "1", "changes-since": since},
    )
    yield _read(
        session,
        "list resource providers",
        "placement",
        "/resource_providers",
        placement.MICROVERSION,
        "placement:resource_providers:list",
    )
    yield _read(
        session,
        "read provider summaries",
        "placement",
        "/allocation_candidates",
        placement.MICROVERSION,
        "placement:allocation_candidates:list",
        {"resources": "MEMORY_MB:1", "limit": "1"},
    )
    yield from _provider_counts(session)


def _catalog(session: CloudSession) -> Iterator[Finding]:
    for service, name in (("compute", "Nova"), ("placement", "Placement")):
        need = f"{name} in the catalog"
        try:
            url = session.endpoint(service)
        except CloudError as error:
            yield Finding(need=need, is_met=False, detail=str(error))
            continue
        missing = f"no {service!r} endpoint for this region and interface"
        yield Finding(need=need, is_met=url is not None, detail=url or missing)


def _read(  # noqa: PLR0917 - a row of the table above
    session: CloudSession,
    need: str,
    service: str,
    path: str,
    microversion: str,
    policy: str,
    params: dict[str, str] | None = None,
    also: Callable[[Any], str | None] = lambda _document: None,
) -> Finding:
    try:
        document, headers = session.get(
            service,
            path,
            operation="preflight",
            microversion=microversion,
            params=params,
            most_bytes=LIST_BYTES,
        )
    except CloudError as error:
        advice = f"; the role needs {policy}" if error.reason is Failure.FORBIDDEN else ""
        return Finding(need=need, is_met=False, detail=f"{error}{advice}")
    # What answers for everything, and an API without microversions, say nothing of that kind.
    if headers.get("OpenStack-API-Version") != f"{service} {microversion}":
        detail = f"answered without a microversion: is the {service} endpoint right, or a proxy in between?"
        return Finding(need=need, is_met=False, detail=detail)
    missing = also(document)
    return Finding(need=need, is_met=missing is None, detail=missing or f"microversion {microversion}")


def _hypervisors(session: CloudSession, explains: Callable[[str], bool]) -> Iterator[Finding]:
    """Names, where there are any, the resource classes and the providers that need a word."""
    asked = placement.Placement(session)
    try:
        found = [asked.summaries(name) for name in placement.COMMON_CLASSES]
        missing = {
            provider.name
            for provider in asked.providers()
            if provider.is_root
            and provider.name != provider.uuid
            and not any(provider.uuid in trees for trees in found)
        }
    except CloudError:  # told by the needs before
        return
    offered = {name for trees in found for tree in trees.values() for name in tree.classes}
    if unexplained := sorted(name for name in offered if not explains(name)):
        detail = f"nobody says whether {', '.join(unexplained)} are GPUs; set {EXPLAINED_BY}"
        yield Finding(
            need="every resource class is a GPU or none", is_met=False, detail=detail, is_optional=True
        )
    if missing:
        told = ", ".join(sorted(missing)[:NAMED]) + (" and more" if len(missing) > NAMED else "")
        detail = f"{len(missing)} have nothing free, or offer none, and are read one by one: {told}"
        yield Finding(need="summaries of every provider", is_met=True, detail=detail)


def _provider_counts(session: CloudSession) -> Iterator[Finding]:
    """What is read of a host that the summaries leave out, asked of a provider that does not exist."""

    def ask(part: str) -> Any:
        path = f"/resource_providers/{NO_UUID}/{part}"
        return session.get("placement", path, operation="preflight", microversion=placement.MICROVERSION)

    yield refused(
        "read a provider's inventories",
        "placement:resource_providers:inventories:list",
        lambda: ask("inventories"),
        is_optional=False,
    )
    yield refused(
        "read a provider's usages",
        "placement:resource_providers:usages",
        lambda: ask("usages"),
        is_optional=False,
    )


def _sees_hosts(document: Any) -> str | None:
    servers = document.get("servers") if isinstance(document, dict) else None
    if servers and "OS-EXT-SRV-ATTR:host" not in servers[0]:
        return "servers come without their host; the role needs os_compute_api:os-extended-server-attributes"
    if servers and "extra_specs" not in (servers[0].get("flavor") or {}):
        return (
            "flavors come without extra specs; the role needs os_compute_api:servers:show:flavor-extra-specs"
            " (os_compute_api:os-flavor-extra-specs:index before Nova 25)"
        )
    return None
