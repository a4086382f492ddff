"""Servers: how they come, where they land and how they go."""

import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random
from uuid import UUID

from spotd.sim.computes import Computes
from spotd.sim.errors import NotFoundError
from spotd.sim.ledger import Consumer, Ledger
from spotd.sim.records import Flavor, Host, Migration, Server, iso_seconds

NO_VALID_HOST = "No valid host was found. "


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRequest:
    """What a boot asks for; without `host` the scheduler picks the first that fits."""

    name: str
    flavor: Flavor
    project_id: str
    user_id: str
    host: str | None = None
    pinned_az: str | None = None
    metadata: Mapping[str, str] | None = None
    forced: bool = False
    """Lands on its host even where that is disabled or down."""


class Servers:
    """All servers that Nova still knows, deleted ones included."""

    def __init__(self, seed: int, ledger: Ledger, computes: Computes) -> None:
        self.ledger = ledger
        self.computes = computes
        self.rng = Random(f"{seed}/servers")
        self.flavors: dict[str, Flavor] = {}
        self.by_id: dict[str, Server] = {}
        self.order: list[tuple[str, int, str]] = []
        """Keys in ascending order; Nova lists them backwards."""
        self.on_host: dict[str, set[str]] = {}
        self.migrations: list[Migration] = []
        self._number = 0

    def flavor(self, name_or_id: str) -> Flavor:
        """The flavor with this id or name.

        Raises:
            NotFoundError: there is none.
        """
        flavor = self.flavors.get(name_or_id)
        if flavor is None:
            flavor = next((one for one in self.flavors.values() if one.name == name_or_id), None)
        if flavor is None:
            raise NotFoundError(f"Flavor {name_or_id} could not be found.")
        return flavor

    def get(self, server_id: str) -> Server:
        """The server with this id, unless deleted.

        Raises:
            NotFoundError: unknown or deleted.
        """
        server = self.by_id.get(server_id)
        if server is None or server.is_deleted:
            raise NotFoundError(f"Instance {server_id} could not be found.")
        return server

    def count_on(self, host: str) -> int:
        """How many servers Nova shows on a host."""
        return len(self.on_host.get(host, ()))

    def newest_first(self) -> Iterator[Server]:
        """Every server in Nova's default order: created_at desc, then the newest row."""
        return (self.by_id[key[2]] for key in reversed(self.order))

    def create(self, request: BootRequest, now: datetime, *, claims: bool = True) -> Server:
        """Record a server in BUILD, or in ERROR when no host fits; `claims`: its allocation too."""
        self._number += 1
        server_id = str(UUID(int=self.rng.getrandbits(128), version=4))
        placed = self._place(request)
        server = Server(
            id=server_id,
            number=self._number,
            name=request.name,
            project_id=request.project_id,
            user_id=request.user_id,
            flavor=request.flavor,
            created=now,
            updated=now,
            target=placed.name if placed is not None else None,
            cell=placed.cell if placed is not None else "cell0",
            pinned_az=request.pinned_az,
            metadata=dict(request.metadata or {}),
        )
        self.by_id[server.id] = server
        bisect.insort(self.order, server.order)
        if placed is None:
            self._fail(server, now)
        elif claims:
            self.claim(server, now)
        return server

    def _place(self, request: BootRequest) -> Host | None:
        hosts = self.computes.hosts
        wanted = request.flavor.resources()
        names = [request.host] if request.host is not None else list(hosts)
        for name in names:
            host = hosts.get(name)
            if host is None or not (request.forced or (host.status == "enabled" and host.is_up)):
                continue
            if self._way(host, wanted) is not None:
                return host
        return None

    def claim(self, server: Server, now: datetime) -> None:
        """Write the allocation of a server whose host has been chosen, whatever became of the host since."""
        host = self.computes.hosts.get(server.target or "")
        if host is None or server.is_deleted or server.id in self.ledger.consumers:
            return
        way = self._way(host, server.flavor.resources())
        if way is None:
            server.target, server.cell = None, "cell0"
            self._fail(server, now)
            return
        self.ledger.claim(Consumer(server.id, server.project_id, server.user_id), way, now)
        if host.nodes:
            server.node = self.ledger.get(next(iter(way))).name

    def _way(self, host: Host, wanted: Mapping[str, int]) -> dict[str, dict[str, int]] | None:
        """Where on the host the amounts fit: of an ironic compute's nodes one has to give them all."""
        ways = (self.ledger.plan(root, wanted) for root in host.providers)
        return next((way for way in ways if way is not None), None)

    def _fail(self, server: Server, now: datetime) -> None:
        server.status, server.vm_state, server.task_state = "ERROR", "error", None
        server.fault = {
            "code": 500,
            "created": iso_seconds(now),
            "message": NO_VALID_HOST,
            "details": "Traceback (most recent call last):\n  (in the scheduler)\n"
            "nova.exception.NoValidHost: No valid host was found. \n\n",
        }

    def show_host(self, server: Server, now: datetime) -> None:
        """Let Nova show where a server lands."""
        if server.target is None or server.is_deleted or server.host is not None:
            return
        server.host, server.task_state = server.target, "spawning"
        self.on_host.setdefault(server.target, set()).add(server.id)
        self.touch(server, now)

    def activate(self, server: Server, now: datetime) -> None:
        """Finish a boot."""
        if server.target is None or server.status != "BUILD":
            return
        self.show_host(server, now)
        server.status, server.vm_state, server.task_state = "ACTIVE", "active", None
        server.power_state, server.launched = 1, now
        self.touch(server, now)

    def start_delete(self, server: Server, now: datetime) -> None:
        """Accept a delete: the server still shows, with a task state."""
        server.task_state = "deleting"
        self.touch(server, now)

    def finish_delete(self, server: Server, now: datetime) -> None:
        """Free the allocation, without a new generation; keep the record as DELETED."""
        if server.is_deleted:
            return
        self.ledger.release(server.id)
        for migration in self.migrations:
            if migration.instance_uuid == server.id and self.ledger.release(migration.uuid):
                # Nova confirms a resize before it deletes the server.
                migration.status, migration.updated_at = "confirmed", now
        if server.host is not None:
            self.on_host[server.host].discard(server.id)
        server.status, server.vm_state, server.task_state = "DELETED", "deleted", None
        server.power_state, server.terminated, server.fault = 0, now, None
        self.touch(server, now)

    def archive(self, before: datetime) -> int:
        """Forget servers deleted before a time, as `db archive_deleted_rows` does; how many."""
        gone = {s.id for s in self.by_id.values() if s.terminated is not None and s.terminated < before}
        for server_id in gone:
            del self.by_id[server_id]
        self.order = [key for key in self.order if key[2] not in gone]
        return len(gone)

    def move(self, server: Server, host: Host, now: datetime) -> None:
        """Let Nova show a server on another host."""
        if server.host is not None:
            self.on_host[server.host].discard(server.id)
        server.host = server.target = host.name
        server.cell = host.cell
        self.on_host.setdefault(host.name, set()).add(server.id)
        self.touch(server, now)

    def touch(self, server: Server, now: datetime) -> None:
        """Bump `updated`, as every change of a server does."""
        server.updated = now
        server.fragments.clear()
