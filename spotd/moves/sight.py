"""What a move sees: one host, read from the live cloud a moment ago."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spotd.fleet.live import Migration, Provider
from spotd.fleet.values import Aggregate, ComputeService, Server
from spotd.moves.cloud import HostCloud
from spotd.store.records import MovePlace

DISABLED_TRAIT = "COMPUTE_STATUS_DISABLED"
"""What Nova's compute host sets on its provider, and the scheduler asks Placement to leave out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupants:
    """Who is on the host or about to be; all three sources agree that it is empty, or it is not."""

    servers: tuple[Server, ...]
    consumers: frozenset[str]
    migrations: tuple[Migration, ...]

    def __bool__(self) -> bool:
        return bool(self.servers or self.consumers or self.migrations)

    def in_words(self) -> str:
        """What was found."""
        found = (
            (len(self.servers), "servers"),
            (len(self.consumers), "allocations"),
            (len(self.migrations), "unfinished migrations"),
        )
        return ", ".join(f"{count} {what}" for count, what in found if count) or "nothing"


def is_in(place: MovePlace, members: Mapping[int, Aggregate]) -> bool:
    """Whether the place is among these aggregates; one that was made anew under its id is another one."""
    found = members.get(place.id)
    return found is not None and found.uuid == place.uuid


def in_one_zone(aggregates: Iterable[Aggregate], *ids: int) -> bool:
    """Whether these aggregates are of one availability zone; False where one of them is gone or has none."""
    zones = {found.id: found.availability_zone for found in aggregates}
    named = {zones.get(id_) for id_ in ids}
    return len(named) == 1 and None not in named


class Sight:
    """Looks at one host; every look is a new question, and every one may raise `CloudError`."""

    def __init__(self, cloud: HostCloud, host: str, hypervisor: str) -> None:
        self._cloud = cloud
        self._host = host
        self._hypervisor = hypervisor

    def aggregates(self) -> tuple[Aggregate, ...]:
        """All aggregates."""
        return self._cloud.aggregates()

    def memberships(self) -> dict[int, Aggregate]:
        """The aggregates that hold the host, by id."""
        return self.memberships_in(self.aggregates())

    def memberships_in(self, aggregates: Iterable[Aggregate]) -> dict[int, Aggregate]:
        """Those of these aggregates that hold the host, by id."""
        return {found.id: found for found in aggregates if self._host in found.hosts}

    def service(self) -> ComputeService:
        """Its compute service."""
        return self._cloud.compute_service(self._host)

    def tree(self) -> tuple[Provider, ...]:
        """Its providers, the root first; read anew, since a GPU may have come or gone."""
        return self._cloud.provider_tree(self._hypervisor)

    def root(self) -> str:
        """Its root provider's uuid."""
        return self.tree()[0].uuid

    def occupants(self) -> Occupants:
        """Who is on it. Placement is asked last: it is told first of a server that is on its way."""
        servers = self._cloud.servers_on(self._host)
        migrations = self._cloud.unfinished_migrations(self._host)
        consumers = self._cloud.consumers([provider.uuid for provider in self.tree()])
        return Occupants(servers=servers, consumers=consumers, migrations=migrations)

    def is_closed_to_the_scheduler(self) -> bool:
        """Whether Placement shows the host as disabled."""
        return DISABLED_TRAIT in self._cloud.traits(self.root())

    def mirror(self) -> frozenset[str]:
        """Uuids of the aggregates that Placement has it in."""
        return self._cloud.mirror(self.root())
