"""What a set of aggregates says together about the hosts that are in all of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spotd.fleet.classify import stands_for_gpus
from spotd.fleet.gpu_names import GpuNames
from spotd.fleet.snapshot import ClassifiedAggregate, OutOfStock, Pool

POOL_ORDER = {pool: place for place, pool in enumerate(Pool)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The aggregates that hold a host, read together; hosts in the same aggregates share one."""

    aggregates: tuple[str, ...] = ()
    is_gpu: bool = False
    pools: tuple[Pool, ...] = ()
    pool: Pool | None = None
    is_several: bool = False
    """Whether they stand for more than one pool, GPU type or contract."""
    type_keys: frozenset[str] = frozenset()
    variant: str | None = None
    contract: str | None = None
    availability_zone: str | None = None

    @property
    def out_of_stock(self) -> OutOfStock | None:
        """Why their hosts are not for sale."""
        if Pool.TESTING in self.pools:
            return OutOfStock.TESTING
        if not self.pools:
            return OutOfStock.NO_POOL
        return OutOfStock.SEVERAL_POOLS if self.is_several else None


NOWHERE = Membership()


def memberships(
    aggregates: Iterable[ClassifiedAggregate], names: GpuNames, host_name: Callable[[str], str]
) -> dict[str, Membership]:
    """Each host's aggregates by the name that `host_name` gives the host."""
    places: dict[str, dict[int, ClassifiedAggregate]] = {}
    for place, classified in enumerate(aggregates):
        for host in classified.aggregate.hosts:
            places.setdefault(host_name(host), {})[place] = classified
    shared: dict[tuple[int, ...], Membership] = {}
    by_host: dict[str, Membership] = {}
    for host, theirs in places.items():
        key = tuple(theirs)
        if key not in shared:
            shared[key] = _membership(list(theirs.values()), names)
        by_host[host] = shared[key]
    return by_host


def _membership(theirs: list[ClassifiedAggregate], names: GpuNames) -> Membership:
    of_pools = [classified for classified in theirs if classified.pool is not None]
    pools = tuple(sorted({c.pool for c in of_pools if c.pool is not None}, key=POOL_ORDER.__getitem__))
    contracts = sorted({c.contract for c in of_pools if c.contract is not None})
    variants = sorted({c.variant for c in theirs if c.variant is not None})
    zones = {zone for c in theirs if (zone := c.aggregate.availability_zone) is not None}
    is_several = len(pools) > 1 or len(_types(of_pools, names)) > 1 or len(contracts) > 1
    return Membership(
        aggregates=tuple(sorted(c.aggregate.name for c in theirs)),
        is_gpu=any(stands_for_gpus(c) for c in theirs),
        pools=pools,
        pool=pools[0] if pools and not is_several else None,
        is_several=is_several,
        type_keys=_types(theirs, names),
        variant=variants[0] if variants else None,
        contract=contracts[0] if contracts and not is_several else None,
        availability_zone=zones.pop() if len(zones) == 1 else None,
    )


def _types(aggregates: list[ClassifiedAggregate], names: GpuNames) -> frozenset[str]:
    return frozenset(names.key(c.gpu_type) for c in aggregates if c.gpu_type is not None)
