"""The truth about a host, and the hands of an operator, without HTTP: for tests that need many of both."""

from dataclasses import dataclass

from spotd.sim.ledger import DISABLED_TRAIT
from spotd.sim.records import Flavor, Server
from spotd.sim.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTruth:
    """What is so at this moment, whatever the APIs say of it."""

    name: str
    aggregates: tuple[str, ...]
    """Names of the aggregates that hold it in Nova."""
    mirror: tuple[str, ...]
    """Names of the aggregates that hold it in Placement; a uuid where no aggregate has it."""
    status: str
    disabled_reason: str | None
    is_up: bool
    trait: bool
    """Whether its provider carries COMPUTE_STATUS_DISABLED."""
    servers: tuple[str, ...]
    """Ids of the servers that Nova shows on it."""
    landing: tuple[str, ...]
    """Ids of the servers that are to land on it and that Nova does not show there yet."""
    consumers: tuple[str, ...]
    """Who holds an allocation on its provider tree."""
    migrations: tuple[int, ...]
    """Ids of the unfinished migrations from and to it."""

    @property
    def is_empty(self) -> bool:
        """Whether nobody is on it, holds a part of it, or is about to."""
        return not (self.servers or self.landing or self.consumers)

    @property
    def agrees(self) -> bool:
        """Whether Placement's mirror and Nova have it in the same aggregates."""
        return sorted(self.aggregates) == sorted(self.mirror)


OVER = ("completed", "confirmed", "reverted", "error", "failed", "cancelled", "done")


class Operator:
    """Looks at the world and acts in it as a person with the same API would, by Nova's rules."""

    def __init__(self, world: World) -> None:
        self.world = world

    def truth(self, host: str) -> HostTruth:
        """What is so on a host now.

        Raises:
            NotFoundError: there is no such host.
        """
        with self.world.lock:
            self.world.advance()
            return self._truth(host, self._landing())

    def fleet(self) -> dict[str, HostTruth]:
        """The truth about every host."""
        with self.world.lock:
            self.world.advance()
            landing = self._landing()
            return {name: self._truth(name, landing) for name in self.world.computes.hosts}

    def _landing(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for server in self.world.servers.by_id.values():
            if server.target is not None and server.host is None and not server.is_deleted:
                found.setdefault(server.target, []).append(server.id)
        return found

    def _truth(self, host: str, landing: dict[str, list[str]]) -> HostTruth:
        world = self.world
        record, ledger = world.computes.get(host), world.ledger
        tree = list(ledger.tree(record.provider_uuid))
        names = {one.uuid: one.name for one in world.aggregates.by_id.values()}
        servers = world.servers
        return HostTruth(
            name=host,
            aggregates=tuple(one.name for one in world.aggregates.of(host)),
            mirror=tuple(names.get(uuid, uuid) for uuid in tree[0].aggregates),
            status=record.status,
            disabled_reason=record.disabled_reason,
            is_up=record.is_up,
            trait=DISABLED_TRAIT in tree[0].traits,
            servers=tuple(sorted(servers.on_host.get(host, ()))),
            landing=tuple(landing.get(host, ())),
            consumers=tuple(sorted({uuid for provider in tree for uuid in provider.consumers})),
            migrations=tuple(
                one.id
                for one in servers.migrations
                if host in (one.source, one.dest) and one.status not in OVER
            ),
        )

    def move(self, host: str, origin: str | int, destination: str | int) -> None:
        """Take a host out of one aggregate and put it into another, at once.

        Raises:
            RefusedError: Nova's rules forbid it.
        """
        with self.world.lock:
            self.world.remove_host(origin, host)
            self.world.add_host(destination, host)

    def disable(self, host: str, reason: str | None = None) -> None:
        """Disable a compute service, whoever had done so before."""
        self.world.disable(host, reason)

    def enable(self, host: str) -> None:
        """Enable a compute service, whoever had disabled it."""
        self.world.enable(host)

    def land(self, host: str, flavor: str | Flavor = "cpu-small", *, slowly: bool = True) -> Server:
        """Let a boot that was on its way land on a host, even where that has been disabled meanwhile.

        `slowly`: its allocation comes after `delays.claim_seconds`, Nova shows it `delays.host_seconds`
        later; else it is ACTIVE at once.
        """
        return self.world.boot(host, flavor, slowly=slowly, forced=True)
