"""The embedded cloud's world: one state, one lock, one clock; every change goes through here."""

import heapq
import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from spotd.sim.aggregates import Aggregates
from spotd.sim.computes import CellMode, Computes
from spotd.sim.errors import BadRequestError
from spotd.sim.identity import Identity, stable_id
from spotd.sim.inventory import Inventory
from spotd.sim.ledger import Consumer, Ledger
from spotd.sim.records import Aggregate, Flavor, Host, Migration, Server
from spotd.sim.resizes import Resizes
from spotd.sim.servers import BootRequest, Servers


@dataclass(slots=True)
class Delays:
    """How long the cloud takes for what it does after having answered; all in seconds."""

    claim_seconds: float = 0.0
    """From a boot's answer, when its host has been chosen, until its claim is in Placement."""
    host_seconds: float = 0.5
    """From a boot's claim in Placement until Nova shows the server's host."""
    active_seconds: float = 1.0
    """From a boot until the server is ACTIVE."""
    delete_seconds: float = 0.5
    """From a DELETE's 204 until the server is gone and its claim freed."""
    resize_seconds: float = 0.5
    """From a resize's answer until it waits to be confirmed."""
    trait_seconds: float = 0.0
    """From a service's disable until the trait COMPUTE_STATUS_DISABLED shows."""


class World:
    """The state behind all four services, for tests to look at and to change.

    Every method takes the lock, so tests may call it while the servers run.
    """

    def __init__(self, seed: int, now: Callable[[], datetime]) -> None:
        self.seed = seed
        self.now = now
        self.lock = threading.RLock()
        self.delays = Delays()
        self.identity = Identity(seed, now)
        self.ledger = Ledger()
        self.computes = Computes(self.ledger)
        self.servers = Servers(seed, self.ledger, self.computes)
        self.resizes = Resizes(seed, self.servers)
        self.aggregates = Aggregates(seed, self.ledger, self.computes, self.servers.count_on)
        self.netbox = Inventory()
        self.image_id = stable_id(seed, "image")
        self.nova_max = 104
        """The highest compute microversion, as the minor number of 2.x."""
        self.placement_max = 39
        """The highest placement microversion, as the minor number of 1.x."""
        self.max_limit = 1000
        """What Nova and NetBox silently cut `limit` to."""
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._ticket = itertools.count()

    def advance(self) -> None:
        """Let everything happen whose time has come; each request begins with this."""
        with self.lock:
            now = self.now()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        if seconds <= 0:
            action()
        else:
            when = self.now() + timedelta(seconds=seconds)
            heapq.heappush(self._due, (when, next(self._ticket), action))

    # Servers

    def boot(
        self,
        host: str | None,
        flavor: str | Flavor,
        *,
        name: str | None = None,
        project: str = "admin",
        metadata: Mapping[str, str] | None = None,
        slowly: bool = False,
        forced: bool = False,
    ) -> Server:
        """Boot a server on a host (None: anywhere); ACTIVE at once unless `slowly`, ERROR if it fits not.

        `forced` lands it on a host that is disabled: a request that was on its way already.
        """
        with self.lock:
            wanted = self.servers.flavor(flavor) if isinstance(flavor, str) else flavor
            request = BootRequest(
                name=name or f"vm-{host or 'any'}-{len(self.servers.by_id)}",
                flavor=wanted,
                project_id=self.identity.project(project).id,
                user_id=self.identity.users["admin"].id,
                host=host,
                metadata=metadata,
                forced=forced,
            )
            server = self.begin_boot(request)
            if not slowly:
                if server.id not in self.ledger.consumers:
                    self.servers.claim(server, self.now())
                self.servers.activate(server, self.now())
            return server

    def begin_boot(self, request: BootRequest) -> Server:
        """Choose the host now; claim, show the host and ACTIVE after the delays."""
        with self.lock:
            delays = self.delays
            late = delays.claim_seconds
            server = self.servers.create(request, self.now(), claims=late <= 0)
            if server.target is not None:
                if late > 0:
                    self._after(late, lambda: self.servers.claim(server, self.now()))
                self._after(late + delays.host_seconds, lambda: self.servers.show_host(server, self.now()))
                self._after(late + delays.active_seconds, lambda: self.servers.activate(server, self.now()))
            return server

    def delete_server(self, server_id: str, *, slowly: bool = False) -> None:
        """Delete a server, at once unless `slowly`.

        Raises:
            NotFoundError: unknown or already deleted.
        """
        with self.lock:
            server = self.servers.get(server_id)
            self.servers.start_delete(server, self.now())
            seconds = self.delays.delete_seconds if slowly and server.host is not None else 0.0
            self._after(seconds, lambda: self.servers.finish_delete(server, self.now()))

    def servers_on(self, host: str) -> list[Server]:
        """The servers that Nova shows on a host."""
        with self.lock:
            return [self.servers.by_id[one] for one in sorted(self.servers.on_host.get(host, ()))]

    def add_flavor(
        self, name: str, *, vcpus: int, ram: int, disk: int, extra_specs: Mapping[str, str]
    ) -> Flavor:
        """Create a flavor; `ram` in MiB, `disk` in GiB."""
        with self.lock:
            made = Flavor(stable_id(self.seed, "flavor", name), name, vcpus, ram, disk, dict(extra_specs))
            self.servers.flavors[made.id] = made
            return made

    def plant_migration(
        self,
        server_id: str,
        dest: str | None,
        *,
        status: str = "running",
        migration_type: str = "live-migration",
    ) -> Migration:
        """Put a migration of a server to another host on record; nothing moves."""
        with self.lock:
            return self.resizes.plant(self.servers.get(server_id), dest, status, migration_type, self.now())

    def resize(self, server_id: str, dest: str, *, slowly: bool = False) -> Migration:
        """Move a server to another host by a cold migration, which then waits to be confirmed.

        The source's allocation is held by the migration until `confirm_resize`, while Nova shows the server
        on its new host. `slowly`: it is there after `delays.resize_seconds`.
        """
        with self.lock:
            server = self.servers.get(server_id)
            migration = self.resizes.begin(server, self.computes.get(dest), self.now())
            seconds = self.delays.resize_seconds if slowly else 0.0
            self._after(seconds, lambda: self.resizes.arrive(server, migration, self.now()))
            return migration

    def confirm_resize(self, server_id: str) -> None:
        """Confirm a resize: the source's allocation is freed."""
        with self.lock:
            self.resizes.confirm(self.servers.get(server_id), self.now())

    def claim(self, host: str, amounts: Mapping[str, int], *, consumer: str | None = None) -> str:
        """Hold an allocation on a host that belongs to no server (a leak, a migration); its consumer's uuid.

        Raises:
            BadRequestError: the amounts do not fit on the host.
        """
        with self.lock:
            uuid = consumer or stable_id(
                self.seed, "consumer", len(self.ledger.consumers), next(self._ticket)
            )
            way = self.ledger.plan(self.computes.get(host).provider_uuid, amounts)
            if way is None:
                raise BadRequestError(f"{dict(amounts)} do not fit on {host}")
            admin = self.identity.project("admin").id
            self.ledger.claim(Consumer(uuid, admin, self.identity.users["admin"].id), way, self.now())
            return uuid

    def release(self, consumer: str) -> bool:
        """Free an allocation; False when there was none."""
        with self.lock:
            return self.ledger.release(consumer)

    # Aggregates

    def aggregate(self, name_or_id: str | int) -> Aggregate:
        """The aggregate with this name or id."""
        with self.lock:
            if isinstance(name_or_id, int):
                return self.aggregates.get(name_or_id)
            return self.aggregates.named(name_or_id)

    def create_aggregate(
        self, name: str, *, zone: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> Aggregate:
        """Create an aggregate."""
        with self.lock:
            made = self.aggregates.create(name, zone, self.now())
            made.metadata.update(metadata or {})
            return made

    def add_host(self, aggregate: str | int, host: str) -> Aggregate:
        """Put a host into an aggregate, by Nova's rules."""
        with self.lock:
            return self.aggregates.add_host(self.aggregate(aggregate).id, host, self.now())

    def remove_host(self, aggregate: str | int, host: str) -> Aggregate:
        """Take a host out of an aggregate, by Nova's rules."""
        with self.lock:
            return self.aggregates.remove_host(self.aggregate(aggregate).id, host, self.now())

    def aggregates_of(self, host: str) -> list[str]:
        """The names of the aggregates that hold a host."""
        with self.lock:
            return [aggregate.name for aggregate in self.aggregates.of(host)]

    # Compute services

    def host(self, name: str) -> Host:
        """A host's record."""
        with self.lock:
            return self.computes.get(name)

    def disable(self, host: str, reason: str | None = None) -> None:
        """Disable a compute service; the trait follows after `delays.trait_seconds`."""
        self._set_status(self.host(host), "disabled", reason)

    def enable(self, host: str) -> None:
        """Enable a compute service."""
        self._set_status(self.host(host), "enabled", None)

    def _set_status(self, host: Host, status: str, reason: str | None) -> None:
        with self.lock:
            self.computes.set_status(host, status=status, reason=reason)
            self.sync_trait(host)

    def sync_trait(self, host: Host) -> None:
        """Let the compute mark its provider after `delays.trait_seconds`."""
        with self.lock:
            self._after(self.delays.trait_seconds, lambda: self.computes.sync_trait(host, self.now()))

    def set_service_state(self, host: str, state: str) -> None:
        """Let a compute service be `up` or `down`."""
        with self.lock:
            self.computes.set_state(self.computes.get(host), state, self.now())

    def cell_down(self, down: bool = True, *, cell: str | None = None, mode: CellMode = "silent") -> None:  # noqa: FBT001, FBT002 - the agreed signature
        """Take one cell (None: all) out of reach or bring it back.

        `silent` drops its rows from filtered lists, `error` makes them a 500.
        """
        with self.lock:
            names = {host.cell for host in self.computes.hosts.values()} if cell is None else {cell}
            for name in names:
                if down:
                    self.computes.down_cells[name] = mode
                else:
                    self.computes.down_cells.pop(name, None)

    # Tokens

    def expire_tokens(self) -> None:
        """End every token now."""
        with self.lock:
            self.identity.expire_all()

    def revoke_tokens(self) -> None:
        """Revoke every token."""
        with self.lock:
            self.identity.revoke_all()
