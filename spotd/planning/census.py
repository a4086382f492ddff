"""Hosts and GPUs counted by what rules select them by; a move can be tried out on the counts."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from spotd.fleet.interpretation import canonical
from spotd.fleet.snapshot import FleetSnapshot, Host, Pool
from spotd.planning.facts import FactValue
from spotd.planning.models import NO_VARIANT


@functools.lru_cache(maxsize=1024)
def type_key(gpu_type: str) -> str:
    """The GPU type in its canonical spelling; asked for every host and rule, of which there are few types."""
    return canonical(gpu_type)


class Kind(NamedTuple):
    """What hosts have in common that a rule may select them by, within a GPU type and a pool."""

    variant: str | None
    site: str | None
    tenant: str | None
    contract: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Which hosts are summed up."""

    gpu_type: str
    """In its canonical spelling."""
    pools: tuple[Pool, ...]
    variant: str | None = None
    sites: tuple[str, ...] | None = None
    tenants: tuple[str, ...] | None = None
    contract: str | None = None

    def includes(self, kind: Kind) -> bool:
        """Whether hosts of this kind belong to it."""
        return (
            (self.variant is None or (kind.variant or NO_VARIANT) == self.variant)
            and (self.sites is None or kind.site in self.sites)
            and (self.tenants is None or kind.tenant in self.tenants)
            and (self.contract is None or kind.contract in (None, self.contract))
        )


class _Tally:
    """Sums of one kind; what is unknown is counted, never summed."""

    __slots__ = ("free", "free_gpus", "gpus", "hosts", "unknown_free", "unknown_gpus", "unknown_used", "used")

    def __init__(self) -> None:
        self.hosts = self.free = self.gpus = self.used = self.free_gpus = 0
        self.unknown_free = self.unknown_gpus = self.unknown_used = 0

    def add(self, host: Host, sign: int) -> None:
        is_empty = host.is_empty
        self.hosts += sign
        self.free += sign * (is_empty is True)
        self.unknown_free += sign * (is_empty is None)
        self.gpus += sign * (host.gpus or 0)
        self.unknown_gpus += sign * (host.gpus is None)
        self.used += sign * (host.gpus_used or 0)
        self.unknown_used += sign * (host.gpus_used is None)
        self.free_gpus += sign * (host.gpus_free or 0)


def kind_of(host: Host) -> Kind:
    """The host's kind."""
    return Kind(host.variant, host.site, host.tenant, host.contract)


class Scopes:
    """Which hosts rules may take; rules with the same view share the answer."""

    def __init__(self, snapshot: FleetSnapshot) -> None:
        self.kinds = {name: kind_of(host) for name, host in snapshot.hosts.items()}
        self._of_view: dict[View, list[Host]] = {}
        self._in_pool: dict[tuple[str, Pool], list[Host]] = {}
        for host in snapshot.hosts.values():
            # A host in two pools is in the scope of the rules of both, to be told why it stays.
            for pool in host.pools if host.gpu_type is not None else ():
                self._in_pool.setdefault((type_key(host.gpu_type or ""), pool), []).append(host)

    def hosts(self, view: View) -> list[Host]:
        """The hosts of a view, for sale or not."""
        if view not in self._of_view:
            self._of_view[view] = [
                host
                for pool in view.pools
                for host in self._in_pool.get((view.gpu_type, pool), ())
                if view.includes(self.kinds[host.name])
            ]
        return self._of_view[view]


class Census:
    """The counts of one snapshot."""

    def __init__(self, snapshot: FleetSnapshot) -> None:
        self._is_known = snapshot.stock_known
        self._tallies: dict[tuple[str, Pool], dict[Kind, _Tally]] = {}
        self._untyped: set[Pool] = set()
        self._summed: dict[str, dict[View, dict[str, FactValue]]] = {}
        for host in snapshot.hosts.values():
            self._enroll(host)

    def _enroll(self, host: Host) -> None:
        if host.out_of_stock is not None or host.pool is None:
            return
        if host.gpu_type is None:
            self._untyped.add(host.pool)
            return
        self._tally((type_key(host.gpu_type), host.pool), kind_of(host)).add(host, 1)

    def add(self, host: Host, sign: int) -> None:
        """Count one more host of a known pool and GPU type, or with sign -1 one less."""
        assert host.gpu_type is not None  # noqa: S101 - guards let no other host move
        assert host.pool is not None  # noqa: S101 - likewise
        key = type_key(host.gpu_type)
        self._summed.pop(key, None)
        self._tally((key, host.pool), kind_of(host)).add(host, sign)

    def move(self, origin: Host, destination: Host) -> None:
        """Take the host away as it is and count it as it will be; called the other way round, undo that."""
        self.add(origin, -1)
        self.add(destination, 1)

    def sums(self, view: View) -> Mapping[str, FactValue]:
        """The sums of a view; those that are unknown are absent."""
        if not self._is_known or not self._untyped.isdisjoint(view.pools):
            return {}
        # Many rules look at the same pools, and a move changes the sums of one GPU type only.
        of_type = self._summed.setdefault(view.gpu_type, {})
        if view not in of_type:
            of_type[view] = dict(_known_sums(self._included(view)))
        return of_type[view]

    def _included(self, view: View) -> Iterator[_Tally]:
        for pool in view.pools:
            for kind, tally in self._tallies.get((view.gpu_type, pool), {}).items():
                if view.includes(kind):
                    yield tally

    def _tally(self, place: tuple[str, Pool], kind: Kind) -> _Tally:
        kinds = self._tallies.setdefault(place, {})
        if kind not in kinds:
            kinds[kind] = _Tally()
        return kinds[kind]


def _known_sums(tallies: Iterable[_Tally]) -> Iterator[tuple[str, FactValue]]:
    hosts = free = gpus = used = free_gpus = unknown_free = unknown_gpus = unknown_used = 0
    for tally in tallies:
        hosts += tally.hosts
        free += tally.free
        gpus += tally.gpus
        used += tally.used
        free_gpus += tally.free_gpus
        unknown_free += tally.unknown_free
        unknown_gpus += tally.unknown_gpus
        unknown_used += tally.unknown_used
    yield "hosts", hosts
    if not unknown_free:
        yield "free_hosts", free
    if not unknown_gpus:
        yield "gpus", gpus
    if not unknown_used:
        yield "gpus_used", used
    if not unknown_gpus and not unknown_used:
        yield "free_gpus", free_gpus
        if gpus:
            yield "utilization", (gpus - free_gpus) / gpus
