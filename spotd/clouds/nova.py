"""Nova: aggregates, compute services and servers, as plain JSON at pinned microversions."""

import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from spotd.clouds.errors import CloudError, Failure, incomplete, malformed
from spotd.clouds.keystone import CloudSession
from spotd.clouds.shape import object_of, optional_text, rows_of, text_of, whole_number
from spotd.fleet.values import Aggregate, ComputeService, Flavor, Server

AGGREGATES = "2.41"
"""First microversion that tells an aggregate's uuid, which Placement knows it by."""
SERVICES = "2.69"
"""First that names the hosts of a cell that is down, as `UNKNOWN`, instead of leaving them out."""
SERVERS = "2.47"
"""First that embeds the flavor with its extra specs; later ones say more and cost Nova more."""

_HOST = "OS-EXT-SRV-ATTR:host"
_HOST_POLICY = "os_compute_api:os-extended-server-attributes"
_HYPERVISOR = "OS-EXT-SRV-ATTR:hypervisor_hostname"

FLAVORS_KEPT = 10_000
"""A cloud that makes a flavor for each server must not fill memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesAnswer:
    """All compute services, and the control plane's own idea of the time."""

    services: tuple[ComputeService, ...]
    heartbeat: datetime | None
    """Median of the last heartbeats of services that are up: Nova's clock, a little late; None if none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChanges:
    """Servers that changed, and ids of those that were deleted."""

    changed: tuple[Server, ...]
    deleted: frozenset[str]


class Nova:
    """The calls to Nova that spotd makes; flavors are shared between servers that embed the same one."""

    def __init__(self, session: CloudSession, *, page_size: int, page_timeout_seconds: float) -> None:
        self._session = session
        self._page_size = page_size
        self._page_timeout = page_timeout_seconds
        self._flavors: dict[tuple[Any, ...], Flavor] = {}

    def aggregates(self) -> tuple[Aggregate, ...]:
        """All host aggregates. Source: GET /os-aggregates.

        Raises:
            CloudError: No usable answer came.
        """
        document, _ = self._session.get(
            "compute", "/os-aggregates", operation="list aggregates", microversion=AGGREGATES
        )
        return tuple(_aggregate(row) for row in rows_of(document, "aggregates", "nova: aggregates"))

    def compute_services(self) -> ServicesAnswer:
        """All nova-compute services, every cell heard. Source: GET /os-services?binary=nova-compute.

        Raises:
            CloudError: No usable answer came; `INCOMPLETE` where a cell is down, since Nova then answers
                200 and knows of its hosts no more than their names.
        """
        document, _ = self._session.get(
            "compute",
            "/os-services",
            operation="list services",
            microversion=SERVICES,
            params={"binary": "nova-compute"},
        )
        rows = rows_of(document, "services", "nova: services")
        silent = [row for row in rows if row.get("status") == "UNKNOWN"]
        if silent:
            raise incomplete(
                f"nova: a cell is down: {len(silent)} of {len(rows)} compute services are UNKNOWN"
            )
        services = tuple(_service(row) for row in rows)
        beats = [
            moment.timestamp()
            for row in rows
            if row.get("state") == "up" and (moment := _moment(row.get("updated_at"))) is not None
        ]
        # The median: one compute host whose clock runs ahead must not move the time for all.
        heartbeat = datetime.fromtimestamp(statistics.median_low(beats), UTC) if beats else None
        return ServicesAnswer(services=services, heartbeat=heartbeat)

    def server_pages(self) -> Iterator[tuple[Server, ...]]:
        """All servers of all projects, newest first, page by page. Source: GET /servers/detail.

        A server that is created during the walk may be missed, one that changes may be seen before it
        changed: `server_changes` since the walk began makes up for both.

        Raises:
            CloudError: A page did not come whole, or the paging goes in circles.
        """
        marker: str | None = None
        seen: set[str] = set()
        while True:
            params = {"all_tenants": "1", "limit": str(self._page_size)}
            if marker is not None:
                params["marker"] = marker
            document, _ = self._session.get(
                "compute",
                "/servers/detail",
                operation="walk servers",
                microversion=SERVERS,
                params=params,
                timeout_seconds=self._page_timeout,
            )
            servers = tuple(self._server(row) for row in rows_of(document, "servers", "nova: servers"))
            fresh = {server.id for server in servers} - seen
            following = _next_marker(document)
            if (servers and not fresh) or (following is not None and not servers):
                raise malformed("nova: the pages of the server list go in circles")
            seen |= fresh
            yield servers
            if following is None:
                return
            marker = following

    def server_changes(self, since: datetime) -> ServerChanges:
        """Servers changed or deleted at or after `since`, by Nova's clock.

        Source: GET /servers/detail?changes-since.

        Raises:
            CloudError: A page did not come whole.
        """
        changed: list[Server] = []
        deleted: set[str] = set()
        params = {"all_tenants": "1", "changes-since": since.strftime("%Y-%m-%dT%H:%M:%SZ")}
        seen: set[str | None] = {None}
        while True:
            document, _ = self._session.get(
                "compute",
                "/servers/detail",
                operation="list server changes",
                microversion=SERVERS,
                params=params,
            )
            for row in rows_of(document, "servers", "nova: server changes"):
                if row.get("status") == "DELETED":
                    deleted.add(text_of(row, "id", "nova: server"))
                else:
                    changed.append(self._server(row))
            marker = _next_marker(document)
            if marker is None:
                return ServerChanges(changed=tuple(changed), deleted=frozenset(deleted))
            if marker in seen:
                raise malformed("nova: the pages of the server changes go in circles")
            seen.add(marker)
            params = {**params, "marker": marker}

    def server_exists(self, server_id: str) -> bool:
        """Whether Nova still knows the server as not deleted. Source: GET /servers/{id}.

        Raises:
            CloudError: No usable answer came.
        """
        try:
            document, _ = self._session.get(
                "compute", f"/servers/{server_id}", operation="show server", microversion=SERVERS
            )
        except CloudError as error:
            if error.reason is Failure.NOT_FOUND:
                return False
            raise
        return object_of(document, "server", "nova: server").get("status") != "DELETED"

    def _server(self, row: Mapping[str, Any]) -> Server:
        what = "nova: server"
        if _HOST not in row:
            raise CloudError(
                Failure.FORBIDDEN,
                f"nova: servers come without {_HOST}: the role lacks {_HOST_POLICY}",
            )
        host, hypervisor = optional_text(row, _HOST, what), optional_text(row, _HYPERVISOR, what)
        return Server(
            id=text_of(row, "id", what),
            name=optional_text(row, "name", what) or "",
            host=host,
            # Both are the same text on most clouds: keep one copy.
            hypervisor_hostname=host if hypervisor == host else hypervisor,
            status=text_of(row, "status", what),
            task_state=optional_text(row, "OS-EXT-STS:task_state", what),
            project_id=text_of(row, "tenant_id", what),
            flavor=self._flavor(object_of(row, "flavor", what)),
            updated=text_of(row, "updated", what),
        )

    def _flavor(self, row: Mapping[str, Any]) -> Flavor:
        specs = row.get("extra_specs")
        if specs is not None and not isinstance(specs, dict):
            raise malformed("nova: a flavor's extra_specs is no object", specs)
        name = str(row.get("original_name") or "")
        key = (name, None if specs is None else tuple(sorted(specs.items())))
        if key not in self._flavors:
            if len(self._flavors) > FLAVORS_KEPT:
                self._flavors.clear()
            self._flavors[key] = _read_flavor(name, specs)
        return self._flavors[key]


def _read_flavor(name: str, specs: Mapping[str, str] | None) -> Flavor:
    resources: list[tuple[str, int]] = []
    aliases: list[tuple[str, int]] = []
    for key, value in sorted((specs or {}).items()):
        granular = re.fullmatch(r"resources[0-9A-Za-z_-]*:([A-Z0-9_]+)", key)
        if granular and str(value).isdecimal():
            resources.append((granular[1], int(value)))
        elif key == "pci_passthrough:alias":
            aliases += [
                (alias.strip(), int(count))
                for alias, _, count in (part.partition(":") for part in str(value).split(","))
                if count.strip().isdecimal()
            ]
    return Flavor(
        name=name, resources=tuple(resources), pci_aliases=tuple(aliases), extra_specs_known=specs is not None
    )


def _aggregate(row: Mapping[str, Any]) -> Aggregate:
    what = "nova: aggregate"
    hosts, metadata = row.get("hosts"), row.get("metadata")
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise malformed(f"{what}: 'hosts' is no list of names", hosts)
    if not isinstance(metadata, dict):
        raise malformed(f"{what}: 'metadata' is no object", metadata)
    return Aggregate(
        id=whole_number(row, "id", what),
        uuid=optional_text(row, "uuid", what),
        name=text_of(row, "name", what),
        hosts=tuple(hosts),
        metadata={str(key): str(value) for key, value in metadata.items()},
        availability_zone=optional_text(row, "availability_zone", what),
    )


def _service(row: Mapping[str, Any]) -> ComputeService:
    what = "nova: compute service"
    return ComputeService(
        id=str(row.get("id")),
        host=text_of(row, "host", what),
        status=text_of(row, "status", what),
        state=text_of(row, "state", what),
        disabled_reason=optional_text(row, "disabled_reason", what),
        forced_down=bool(row.get("forced_down")),
        zone=optional_text(row, "zone", what),
    )


def _moment(text: Any) -> datetime | None:
    """Nova writes UTC without saying so."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _next_marker(document: Mapping[str, Any]) -> str | None:
    """The marker in the `next` link; its host part may be a proxy's, so only the query is used."""
    links = document.get("servers_links") or []
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "next":
            marker = dict(parse_qsl(urlsplit(str(link.get("href"))).query)).get("marker")
            if marker is None:
                raise malformed("nova: the link to the next page has no marker")
            return marker
    return None
