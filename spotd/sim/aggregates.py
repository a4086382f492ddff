"""Host aggregates with Nova's rules and words, and their mirror in Placement."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from spotd.sim.computes import Computes
from spotd.sim.errors import BadRequestError, ConflictError, FailedError, NotFoundError
from spotd.sim.identity import stable_id
from spotd.sim.ledger import Ledger
from spotd.sim.records import Aggregate

Mirror = Literal["ok", "silent", "down"]
PLACEMENT_DOWN = (
    "Unexpected API Error. Please contact the administrator\n"
    "<class 'nova.exception.PlacementAPIConnectFailure'>"
)
AZ_WOULD_CHANGE = (
    "The host cannot be {moved} the aggregate as the availability zone of the host would change from "
    "'{old}' to '{new}' but the host already has {count} instance(s). Changing the AZ of an existing "
    "instance is not supported by this action. Move the instances away from this host then try again. "
    "If you need to move the instances between AZs then you can use shelve_offload and unshelve to "
    "achieve this."
)


class Aggregates:
    """The aggregates by id; there is no version and no compare-and-set, as in Nova."""

    def __init__(
        self, seed: int, ledger: Ledger, computes: Computes, count_servers: Callable[[str], int]
    ) -> None:
        self.seed = seed
        self.ledger = ledger
        self.computes = computes
        self.count_servers = count_servers
        self.mirror: Mirror = "ok"
        """`silent`: Nova answers 200 and Placement learns nothing; `down`: Nova answers 500."""
        self.by_id: dict[int, Aggregate] = {}
        self.zones: dict[str, str] = {}
        """Availability zone by host, for hosts that have one."""
        self._next_id = 1

    def get(self, aggregate_id: int) -> Aggregate:
        """The aggregate with this id.

        Raises:
            NotFoundError: there is none.
        """
        if (aggregate := self.by_id.get(aggregate_id)) is None:
            raise NotFoundError(f"Aggregate {aggregate_id} could not be found.")
        return aggregate

    def named(self, name: str) -> Aggregate:
        """The aggregate with this name.

        Raises:
            NotFoundError: there is none.
        """
        for aggregate in self.by_id.values():
            if aggregate.name == name:
                return aggregate
        raise NotFoundError(f"Aggregate {name} could not be found.")

    def of(self, host: str) -> list[Aggregate]:
        """The aggregates that hold a host."""
        return [aggregate for aggregate in self.by_id.values() if host in aggregate.hosts]

    def create(self, name: str, zone: str | None, now: datetime) -> Aggregate:
        """Create an empty aggregate.

        Raises:
            ConflictError: the name is taken.
        """
        if any(aggregate.name == name for aggregate in self.by_id.values()):
            raise ConflictError(f"Aggregate {name} already exists.")
        number, self._next_id = self._next_id, self._next_id + 1
        aggregate = Aggregate(number, stable_id(self.seed, "aggregate", number), name, now)
        if zone is not None:
            aggregate.metadata["availability_zone"] = zone
        self.by_id[number] = aggregate
        return aggregate

    def delete(self, aggregate_id: int) -> None:
        """Delete an empty aggregate.

        Raises:
            BadRequestError: hosts are in it.
        """
        if self.get(aggregate_id).hosts:
            raise BadRequestError(
                f"Cannot remove host from aggregate {aggregate_id}. Reason: Host aggregate is not empty."
            )
        del self.by_id[aggregate_id]

    def add_host(self, aggregate_id: int, host: str, now: datetime) -> Aggregate:
        """Put a host at the end of an aggregate and mirror it.

        Raises:
            RefusedError: unknown host or aggregate, already in, or its availability zone would change.
        """
        record = self.computes.get(host)
        aggregate = self.get(aggregate_id)
        self._check_zones(
            aggregate, aggregate.metadata, [host], "Cannot add host to aggregate", ConflictError
        )
        zone, current = aggregate.availability_zone, self.zones.get(host)
        if zone is not None and zone != current and (count := self.count_servers(host)):
            text = AZ_WOULD_CHANGE.format(moved="added to", old=current, new=zone, count=count)
            raise ConflictError(f"Cannot add host to aggregate {aggregate_id}. Reason: {text}.")
        if host in aggregate.hosts:
            raise ConflictError(f"Aggregate {aggregate_id} already has host {host}.")
        aggregate.hosts.append(host)
        self._zone_of(host)
        if self.mirror == "down":
            raise FailedError(PLACEMENT_DOWN)
        if self.mirror == "ok":
            self.ledger.join(record.provider_uuid, aggregate.uuid, now)
        return aggregate

    def remove_host(self, aggregate_id: int, host: str, now: datetime) -> Aggregate:
        """Take a host out of an aggregate, in Placement first: there also where Nova then answers 404.

        Raises:
            RefusedError: not in it, unknown, or its availability zone would change.
        """
        aggregate, record = self.by_id.get(aggregate_id), self.computes.hosts.get(host)
        if aggregate is None or record is None:
            raise NotFoundError(f"Cannot remove host {host} in aggregate {aggregate_id}")
        zone = aggregate.availability_zone
        others = {one.availability_zone for one in self.of(host) if one is not aggregate} - {None}
        is_in = host in aggregate.hosts
        if is_in and zone is not None and zone not in others and (count := self.count_servers(host)):
            new = next(iter(others), None)
            text = AZ_WOULD_CHANGE.format(moved="removed from", old=zone, new=new, count=count)
            raise ConflictError(f"Cannot remove host from aggregate {aggregate_id}. Reason: {text}.")
        if self.mirror == "down":
            raise FailedError(PLACEMENT_DOWN)
        if self.mirror == "ok":
            self.ledger.leave(record.provider_uuid, aggregate.uuid, now)
        if not is_in:
            raise NotFoundError(f"Cannot remove host {host} in aggregate {aggregate_id}")
        aggregate.hosts.remove(host)
        self._zone_of(host)
        return aggregate

    def set_metadata(self, aggregate_id: int, changes: Mapping[str, str | None], now: datetime) -> Aggregate:
        """Set keys, or remove those given as None.

        Raises:
            BadRequestError: the availability zone of hosts in use would change.
        """
        aggregate = self.get(aggregate_id)
        words = "Cannot update metadata of aggregate"
        self._check_zones(aggregate, changes, aggregate.hosts, words, BadRequestError)
        zone = changes.get("availability_zone")
        if (
            zone is not None
            and zone != aggregate.availability_zone
            and any(self.count_servers(host) for host in aggregate.hosts)
        ):
            raise BadRequestError(
                f"{words} {aggregate_id}. Reason: One or more hosts contain instances in this zone."
            )
        for key, value in changes.items():
            if value is None:
                aggregate.metadata.pop(key, None)
            else:
                aggregate.metadata[key] = value
        aggregate.updated_at = now
        for host in aggregate.hosts:
            self._zone_of(host)
        return aggregate

    def _check_zones(
        self,
        aggregate: Aggregate,
        metadata: Mapping[str, str | None],
        hosts: list[str],
        words: str,
        error: type[ConflictError] | type[BadRequestError],
    ) -> None:
        zone = metadata.get("availability_zone")
        if zone is None:
            return
        taken = [
            other.availability_zone
            for other in self.by_id.values()
            if other is not aggregate
            and other.availability_zone not in (None, zone)
            and any(host in other.hosts for host in hosts)
        ]
        if taken:
            raise error(
                f"{words} {aggregate.id}. Reason: One or more hosts already in availability zone(s) {taken}."
            )

    def _zone_of(self, host: str) -> None:
        zones = [one.availability_zone for one in self.of(host) if one.availability_zone is not None]
        if zones:
            self.zones[host] = zones[0]
        else:
            self.zones.pop(host, None)
