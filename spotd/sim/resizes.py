"""Cold migrations and resizes: a server on its way, and the two allocations that it holds meanwhile."""

from datetime import datetime

from spotd.sim.errors import BadRequestError, ConflictError
from spotd.sim.identity import stable_id
from spotd.sim.ledger import Consumer
from spotd.sim.records import Host, Migration, Server
from spotd.sim.servers import Servers


class Resizes:
    """Moves servers between hosts; the migrations on record are `servers.migrations`."""

    def __init__(self, seed: int, servers: Servers) -> None:
        self.seed = seed
        self.servers = servers
        self.ledger = servers.ledger

    def plant(
        self, server: Server, dest: str | None, status: str, migration_type: str, now: datetime
    ) -> Migration:
        """Put a migration on record; nothing moves."""
        number = len(self.servers.migrations) + 1
        migration = Migration(
            number,
            stable_id(self.seed, "migration", number),
            server.id,
            server.host or "",
            dest,
            status,
            migration_type,
            server.project_id,
            server.user_id,
            now,
        )
        self.servers.migrations.append(migration)
        return migration

    def begin(self, server: Server, dest: Host, now: datetime) -> Migration:
        """Hand the source's allocation to the migration and claim the destination for the server.

        Raises:
            BadRequestError: the destination has no room.
        """
        migration = self.plant(server, dest.name, "pre-migrating", "migration", now)
        way = self.ledger.plan(dest.provider_uuid, server.flavor.resources())
        if way is None:
            migration.status = "error"
            raise BadRequestError("No valid host was found. ")
        old = self.ledger.consumers.get(server.id)
        if old is not None:
            self.ledger.release(server.id)
            holder = Consumer(migration.uuid, server.project_id, server.user_id, consumer_type="MIGRATION")
            self.ledger.claim(holder, old.claim, now)
        self.ledger.claim(Consumer(server.id, server.project_id, server.user_id), way, now)
        server.status, server.task_state = "RESIZE", "resize_prep"
        self.servers.touch(server, now)
        return migration

    def arrive(self, server: Server, migration: Migration, now: datetime) -> None:
        """Show the server on its new host, waiting to be confirmed."""
        if server.is_deleted or migration.dest is None:
            return
        migration.status, migration.updated_at = "finished", now
        server.status, server.vm_state, server.task_state = "VERIFY_RESIZE", "resized", None
        self.servers.move(server, self.servers.computes.get(migration.dest), now)

    def confirm(self, server: Server, now: datetime) -> None:
        """Free the source.

        Raises:
            ConflictError: no resize of this server waits.
        """
        waiting = [
            one
            for one in self.servers.migrations
            if one.instance_uuid == server.id and one.status == "finished"
        ]
        if server.status != "VERIFY_RESIZE" or not waiting:
            raise ConflictError(
                f"Cannot 'confirmResize' instance {server.id} while it is in vm_state {server.vm_state}"
            )
        for migration in waiting:
            self.ledger.release(migration.uuid)
            migration.status, migration.updated_at = "confirmed", now
        server.status, server.vm_state = "ACTIVE", "active"
        self.servers.touch(server, now)
