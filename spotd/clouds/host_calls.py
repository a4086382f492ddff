"""The calls about one host that a move makes, on the live cloud: each read whole, each write sent once."""

from collections.abc import Iterable, Mapping
from typing import Any

from spotd.clouds import nova, placement
from spotd.clouds.errors import CloudError, Failure, incomplete, malformed
from spotd.clouds.keystone import CloudSession
from spotd.clouds.limits import LIST_BYTES, Paging
from spotd.clouds.nova_rows import ServerRows, aggregate_of, next_marker, service_of
from spotd.clouds.shape import object_of, optional_text, rows_of, text_of, whole_number
from spotd.fleet.live import Migration, Provider
from spotd.fleet.values import Aggregate, ComputeService, Server

SERVICE_WRITE = "2.53"
"""First that disables a compute service by its uuid, with a reason; its answer is the whole service."""
MIGRATIONS = "2.59"
"""First that tells a migration's uuid, and that pages the list."""

MIGRATIONS_WITHOUT_HOSTS = (
    "nova: migrations come without their hosts; the role needs os_compute_api:os-migrations:index:host"
)

FINISHED = frozenset({"completed", "confirmed", "reverted", "error", "failed", "cancelled", "done"})
"""What Nova itself takes for over. `finished` is not among them: a resize that waits to be confirmed.

Any other word, also one that a later Nova brings, is a migration under way.
https://opendev.org/openstack/nova/src/branch/master/nova/db/main/api.py (migration_get_in_progress_*)
"""


class HostCalls:
    """Nova's and Placement's calls about one host.

    Every method raises `CloudError`. A write is sent once, and once more only after a 401, which says that
    it was not done; `CloudError.may_have_happened` tells a write that was refused from one whose outcome
    is unknown and must be read back.
    """

    def __init__(self, session: CloudSession, *, write_timeout_seconds: float | None = None) -> None:
        """Writes may have a longer time of their own: Nova's answer waits for the compute host."""
        self._session = session
        self._write_timeout = write_timeout_seconds
        self._server_rows = ServerRows()

    def aggregates(self) -> tuple[Aggregate, ...]:
        """All host aggregates, also with a cell down. Source: GET /os-aggregates.

        Raises:
            CloudError: No usable answer came.
        """
        return nova.list_aggregates(self._session)

    def add_host(self, aggregate_id: int, host: str) -> None:
        """Puts a host into an aggregate. Source: POST /os-aggregates/{id}/action (add_host).

        Nova writes its own database first and Placement's mirror after it, and says 200 also where the
        mirror refused: read both. While Placement is down it says 500 with the host in the aggregate.

        Raises:
            CloudError: `CONFLICT` where the host is in it already, or its availability zone forbids it;
                `NOT_FOUND` where host or aggregate is unknown.
        """
        hosts = self._act_on_aggregate("add_host", aggregate_id, host)
        if host not in hosts:
            raise malformed(f"nova: add host answered an aggregate {aggregate_id} without {host}")

    def remove_host(self, aggregate_id: int, host: str) -> None:
        """Takes a host out of an aggregate. Source: POST /os-aggregates/{id}/action (remove_host).

        Nova writes Placement's mirror first and its own database after it.

        Raises:
            CloudError: `NOT_FOUND` where the host is not in it; `CONFLICT` where its availability zone
                forbids it, or Placement's mirror is being written by somebody else.
        """
        hosts = self._act_on_aggregate("remove_host", aggregate_id, host)
        if host in hosts:
            raise malformed(f"nova: remove host answered an aggregate {aggregate_id} with {host} still in it")

    def _act_on_aggregate(self, action: str, aggregate_id: int, host: str) -> tuple[str, ...]:
        operation = action.replace("_", " ")
        document = self._session.send(
            "POST",
            "compute",
            f"/os-aggregates/{aggregate_id}/action",
            operation=operation,
            microversion=nova.AGGREGATES,
            body={action: {"host": host}},
            timeout_seconds=self._write_timeout,
        )
        aggregate = aggregate_of(object_of(document, "aggregate", f"nova: {operation}"))
        if aggregate.id != aggregate_id:
            raise malformed(
                f"nova: {operation} on aggregate {aggregate_id} answered aggregate {aggregate.id}"
            )
        return aggregate.hosts

    def compute_service(self, host: str) -> ComputeService:
        """The host's nova-compute service. Source: GET /os-services?binary=nova-compute&host=.

        Raises:
            CloudError: `INCOMPLETE` where the host's cell is down, `NOT_FOUND` where no service runs there,
                `MALFORMED` where several do or the answer is about another host.
        """
        what = "nova: compute service"
        document, _ = self._session.get(
            "compute",
            "/os-services",
            operation="show service",
            microversion=nova.SERVICES,
            params={"binary": "nova-compute", "host": host},
        )
        rows = rows_of(document, "services", what)
        if not rows:
            raise CloudError(Failure.NOT_FOUND, f"nova: no nova-compute service runs on {host}")
        if len(rows) > 1:
            raise malformed(f"{what}: {len(rows)} rows for {host} where one was to come")
        if text_of(rows[0], "host", what) != host:
            raise malformed(f"{what}: the answer for {host} is about another host")
        if rows[0].get("status") == "UNKNOWN":
            raise incomplete(f"nova: the cell of {host} is down: its compute service is UNKNOWN")
        text_of(rows[0], "id", what)
        return service_of(rows[0])

    def disable_service(self, service_id: str, reason: str) -> None:
        """Disables a compute service; overwrites whatever reason it had. Source: PUT /os-services/{uuid}.

        Nova waits for the compute host, up to its RPC timeout (60 s by default) where that does not answer.

        Args:
            service_id: From `compute_service`.
            reason: 1 to 255 characters.

        Raises:
            CloudError: `NOT_FOUND` where the service is gone.
        """
        service = self._set_status(
            service_id, "disable service", {"status": "disabled", "disabled_reason": reason}
        )
        if service.status != "disabled" or service.disabled_reason != reason:
            raise malformed("nova: disable service answered a service that is not disabled with this reason")

    def enable_service(self, service_id: str) -> None:
        """Enables a compute service; its reason goes. Source: PUT /os-services/{uuid}.

        Raises:
            CloudError: `NOT_FOUND` where the service is gone.
        """
        # A reason sent along would be a 400.
        service = self._set_status(service_id, "enable service", {"status": "enabled"})
        if service.status != "enabled":
            raise malformed("nova: enable service answered a service that is not enabled")

    def _set_status(self, service_id: str, operation: str, body: Mapping[str, str]) -> ComputeService:
        document = self._session.send(
            "PUT",
            "compute",
            f"/os-services/{service_id}",
            operation=operation,
            microversion=SERVICE_WRITE,
            body=body,
            timeout_seconds=self._write_timeout,
        )
        service = service_of(object_of(document, "service", f"nova: {operation}"))
        if service.id != service_id:
            raise malformed(f"nova: {operation} answered another service")
        return service

    def servers_on(self, host: str) -> tuple[Server, ...]:
        """All servers of all projects on a host. Source: GET /servers/detail?all_tenants=1&host=.

        With a filter Nova leaves out the servers of a cell that is down and answers 200, so the host's
        service is asked for afterwards: it shows whether its cell was heard. Servers that were deleted and
        may be restored (SOFT_DELETED) are not listed; Placement still holds their allocations.

        Raises:
            CloudError: `INCOMPLETE` where the host's cell is down, `FORBIDDEN` where Nova dropped the filter
                (the role lacks `os_compute_api:servers:allow_all_filters`), `NOT_FOUND` where the host has
                no compute service.
        """
        params = {"all_tenants": "1", "host": host}
        servers: dict[str, Server] = {}
        for row in self._pages("/servers/detail", "servers", "list servers of host", nova.SERVERS, params):
            server = self._server_rows.server(row)
            if server.host != host:
                raise CloudError(
                    Failure.FORBIDDEN,
                    f"nova: asked for the servers of {host} and got one of another host: "
                    "the filter was dropped, the role lacks os_compute_api:servers:allow_all_filters",
                )
            servers[server.id] = server
        self.compute_service(host)
        return tuple(servers.values())

    def unfinished_migrations(self, host: str) -> tuple[Migration, ...]:
        """Migrations to or from a host that are not over. Source: GET /os-migrations?host=.

        Resizes that wait to be confirmed are among them. Rows of a cell that is down are missing without
        a word: `compute_service` and `servers_on` tell of that.

        Raises:
            CloudError: No usable answer came, or Nova hides from this role whose migrations they are.
        """
        params = {"host": host}
        found: dict[int, Migration] = {}
        for row in self._pages("/os-migrations", "migrations", "list migrations of host", MIGRATIONS, params):
            migration = _migration(row)
            if migration.status in FINISHED:
                continue
            if migration.source_host is None and migration.dest_host is None:
                raise CloudError(Failure.FORBIDDEN, MIGRATIONS_WITHOUT_HOSTS)
            if host in (migration.source_host, migration.dest_host):
                found[migration.id] = migration
        return tuple(found.values())

    def _pages(
        self, path: str, key: str, operation: str, microversion: str, params: Mapping[str, str]
    ) -> Iterable[Mapping[str, Any]]:
        paging = Paging(f"nova: {operation}")
        page = dict(params)
        while True:
            document, _ = self._session.get(
                "compute",
                path,
                operation=operation,
                microversion=microversion,
                params=page,
                most_bytes=LIST_BYTES,
            )
            rows = rows_of(document, key, f"nova: {operation}")
            yield from rows
            marker = next_marker(document, key)
            paging.took(len(rows), marker)
            if marker is None:
                return
            page["marker"] = marker

    def provider_tree(self, hypervisor: str) -> tuple[Provider, ...]:
        """The root provider of this very name, first, and every provider below it.

        Source: GET /resource_providers?name= and ?in_tree=.

        Args:
            hypervisor: The hypervisor hostname, which may differ from the host.

        Raises:
            CloudError: `NOT_FOUND` where no root provider has this name.
        """
        named = [
            one for one in self._providers({"name": hypervisor}) if one.name == hypervisor and one.is_root
        ]
        if not named:
            raise CloudError(Failure.NOT_FOUND, f"placement: no root provider is named {hypervisor}")
        root = named[0].uuid
        tree = self._providers({"in_tree": root})
        if any(one.root != root for one in tree) or root not in {one.uuid for one in tree}:
            raise malformed(f"placement: the tree of {hypervisor} is not the tree that was asked for")
        return tuple(sorted(tree, key=lambda one: (not one.is_root, one.name)))

    def _providers(self, params: Mapping[str, str]) -> list[Provider]:
        document = self._placement("/resource_providers", "list tree", params)
        return [placement.provider_of(row) for row in placement.tree_of(document)]

    def consumers(self, provider_uuids: Iterable[str]) -> frozenset[str]:
        """Who holds an allocation on any of these providers: servers, and migrations under way.

        Source: GET /resource_providers/{uuid}/allocations, one request for each.

        Raises:
            CloudError: No usable answer came for one of them.
        """
        found: set[str] = set()
        for uuid in provider_uuids:
            document = self._placement(f"/resource_providers/{uuid}/allocations", "list allocations")
            found |= set(object_of(document, "allocations", "placement: allocations"))
        return frozenset(found)

    def mirror(self, root_uuid: str) -> frozenset[str]:
        """Uuids of the aggregates that Placement has the provider in.

        Source: GET /resource_providers/{uuid}/aggregates.

        Raises:
            CloudError: No usable answer came.
        """
        return self._names(root_uuid, "aggregates", "read mirror")

    def traits(self, root_uuid: str) -> frozenset[str]:
        """The provider's traits. Source: GET /resource_providers/{uuid}/traits.

        Raises:
            CloudError: No usable answer came.
        """
        return self._names(root_uuid, "traits", "read traits")

    def _names(self, root_uuid: str, key: str, operation: str) -> frozenset[str]:
        document = self._placement(f"/resource_providers/{root_uuid}/{key}", operation)
        names = document.get(key) if isinstance(document, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise malformed(f"placement: {operation}: the answer has no list of names {key!r}", document)
        return frozenset(names)

    def _placement(self, path: str, operation: str, params: Mapping[str, str] | None = None) -> Any:
        document, _ = self._session.get(
            "placement",
            path,
            operation=operation,
            microversion=placement.MICROVERSION,
            params=params,
        )
        return document


def _migration(row: Mapping[str, Any]) -> Migration:
    what = "nova: migration"
    return Migration(
        id=whole_number(row, "id", what),
        uuid=text_of(row, "uuid", what),
        status=text_of(row, "status", what),
        source_host=optional_text(row, "source_compute", what),
        dest_host=optional_text(row, "dest_compute", what),
        server_id=text_of(row, "instance_uuid", what),
        type=text_of(row, "migration_type", what),
    )
