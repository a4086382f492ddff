"""Nova: aggregates, compute services and servers, as plain JSON at pinned microversions."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from spotd.clouds.errors import CloudError, Failure, incomplete, malformed
from spotd.clouds.keystone import CloudSession
from spotd.clouds.limits import LIST_BYTES, Paging
from spotd.clouds.nova_rows import ServerRows, aggregate_of, next_marker, service_of
from spotd.clouds.shape import moment_of, name_of, object_of, once, rows_of
from spotd.fleet.values import Aggregate, ComputeService, Server

AGGREGATES = "2.41"
"""First microversion that tells an aggregate's uuid, which Placement knows it by."""
SERVICES = "2.69"
"""First that names the hosts of a cell that is down, as `UNKNOWN`, instead of leaving them out."""
SERVERS = "2.47"
"""First that embeds the flavor with its extra specs; later ones say more and cost Nova more."""


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
        self._rows = ServerRows()

    def aggregates(self) -> tuple[Aggregate, ...]:
        """All host aggregates. Source: GET /os-aggregates.

        Raises:
            CloudError: No usable answer came.
        """
        return list_aggregates(self._session)

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
            most_bytes=LIST_BYTES,
            params={"binary": "nova-compute"},
        )
        rows = rows_of(document, "services", "nova: services")
        silent = [row for row in rows if row.get("status") == "UNKNOWN"]
        if silent:
            raise incomplete(
                f"nova: a cell is down: {len(silent)} of {len(rows)} compute services are UNKNOWN"
            )
        once(rows, "id", "nova: compute services")
        services = tuple(service_of(row) for row in rows)
        beats = [
            moment.timestamp()
            for row in rows
            if row.get("state") == "up" and (moment := moment_of(row.get("updated_at"))) is not None
        ]
        # The median: one compute host whose clock runs ahead must not move the time for all.
        heartbeat = datetime.fromtimestamp(statistics.median_low(beats), UTC) if beats else None
        return ServicesAnswer(services=services, heartbeat=heartbeat)

    def server_pages(self) -> Iterator[tuple[Server, ...]]:
        """All servers of all projects, newest first, page by page. Source: GET /servers/detail.

        A server that is created during the walk may be missed, one that changes may be seen before it
        changed: `server_changes` since the walk began makes up for both.

        Raises:
            CloudError: A page did not come whole, or the paging goes in circles or on for ever.
        """
        marker: str | None = None
        seen: set[str] = set()
        paging = Paging("nova: the server list")
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
                most_bytes=LIST_BYTES,
            )
            rows = rows_of(document, "servers", "nova: servers")
            once(rows, "id", "nova: servers")
            # One whose deletion ends just now is still in the list, and nowhere.
            servers = tuple(self._rows.server(row) for row in rows if row.get("status") != "DELETED")
            fresh = {server.id for server in servers} - seen
            following = next_marker(document, "servers")
            if servers and not fresh:
                raise malformed("nova: the server list: the pages go in circles")
            paging.took(len(rows), following)
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
        paging = Paging("nova: server changes")
        while True:
            document, _ = self._session.get(
                "compute",
                "/servers/detail",
                operation="list server changes",
                microversion=SERVERS,
                params=params,
                most_bytes=LIST_BYTES,
            )
            rows = rows_of(document, "servers", "nova: server changes")
            once(rows, "id", "nova: server changes")
            for row in rows:
                if row.get("status") == "DELETED":
                    deleted.add(name_of(row, "id", "nova: server"))
                else:
                    changed.append(self._rows.server(row))
            marker = next_marker(document, "servers")
            paging.took(len(rows), marker)
            if marker is None:
                return ServerChanges(changed=tuple(changed), deleted=frozenset(deleted))
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


def list_aggregates(session: CloudSession) -> tuple[Aggregate, ...]:
    """All host aggregates. Source: GET /os-aggregates.

    Raises:
        CloudError: No usable answer came.
    """
    document, _ = session.get(
        "compute",
        "/os-aggregates",
        operation="list aggregates",
        microversion=AGGREGATES,
        most_bytes=LIST_BYTES,
    )
    rows = rows_of(document, "aggregates", "nova: aggregates")
    once(rows, "id", "nova: aggregates")
    return tuple(aggregate_of(row) for row in rows)
