"""Rows of the metrics that sum over hosts: pools, GPU types, contracts, stock, contradictions, services."""

from collections import Counter
from collections.abc import Iterator

from spotd.fleet.snapshot import ContradictionKind, FleetSnapshot, Readings
from spotd.fleet.totals import (
    UNKNOWN,
    PoolTotals,
    contract_totals,
    out_of_stock_totals,
    pool_totals,
    reserved_gpus,
    utilization,
)
from spotd.metrics import fleet_names as names
from spotd.metrics.description import Description

Row = tuple[Description, float | None, tuple[object, ...]]
"""A metric, its value (None: unknown, no series) and its labels."""

COMPARED_READINGS: dict[ContradictionKind, tuple[str, ...]] = {
    ContradictionKind.GPU_COUNT: ("gpus",),
    ContradictionKind.GPUS_USED: ("gpus", "servers"),
    ContradictionKind.GPU_TYPE: ("aggregates",),
    ContradictionKind.SEVERAL_POOLS: ("aggregates",),
    ContradictionKind.UNKNOWN_HOST: ("servers", "services"),
    ContradictionKind.NO_COMPUTE_SERVICE: ("aggregates", "services"),
    ContradictionKind.AMBIGUOUS_NAME: ("services",),
    ContradictionKind.OVERCOMMITTED: ("gpus",),
    ContradictionKind.UNKNOWN_POOL: ("aggregates",),
    ContradictionKind.UNKNOWN_PROVIDER: ("gpus", "services"),
    ContradictionKind.PARTIAL_READING: ("aggregates", "services", "servers", "gpus"),
}
"""Readings without which "no contradiction of this kind" is not known to be true."""


def sums(snapshot: FleetSnapshot) -> Iterator[Row]:
    """All rows that sum over the snapshot."""
    yield from _pools(snapshot)
    yield from _out_of_stock(snapshot)
    yield from _contracts(snapshot)
    yield from _contradictions(snapshot)
    yield from _services(snapshot)
    if snapshot.stock_known and snapshot.readings.all_hosts_known:
        yield names.FLEET_HOSTS, len(snapshot.hosts), ()
    if (gpus := snapshot.readings.gpus) is not None:
        nodes = sum(tree.is_bare_metal for tree in gpus.value.trees.values())
        yield names.BARE_METAL_NODES, nodes, ()
    if (servers := snapshot.readings.servers) is not None:
        yield names.FLEET_SERVERS, len(servers.value.servers), ()


def _pools(snapshot: FleetSnapshot) -> Iterator[Row]:
    pools = pool_totals(snapshot) or ()
    reserved = reserved_gpus(snapshot)
    for totals in pools:
        labels = (totals.gpu_type, totals.pool)
        yield names.POOL_HOSTS_UNKNOWN, totals.hosts_with_unknown_gpus, (*labels, "gpus")
        yield names.POOL_HOSTS_UNKNOWN, totals.unknown_hosts, (*labels, "free")
        if totals.is_whole:
            yield names.POOL_HOSTS, totals.hosts, labels
            yield names.POOL_FREE_HOSTS, totals.free_hosts, labels
            yield names.POOL_GPUS, totals.gpus, labels
            yield names.POOL_GPUS_USED, totals.gpus_used, labels
            yield names.POOL_GPUS_RESERVED, reserved.get(labels), labels
            yield names.POOL_GPU_UTILIZATION, totals.utilization_ratio, labels
    for gpu_type in sorted({totals.gpu_type for totals in pools}):
        yield from _gpu_type(snapshot, gpu_type, [each for each in pools if each.gpu_type == gpu_type])


def _gpu_type(snapshot: FleetSnapshot, gpu_type: str, pools: list[PoolTotals]) -> Iterator[Row]:
    """Sums over a type's pools: unknown as soon as one pool's is."""
    if not all(pool.is_whole for pool in pools):
        return
    gpus = [pool.gpus for pool in pools if pool.gpus is not None]
    used = [pool.gpus_used for pool in pools if pool.gpus_used is not None]
    yield names.GPU_TYPE_GPUS, sum(gpus) if len(gpus) == len(pools) else None, (gpu_type,)
    yield names.GPU_TYPE_GPUS_USED, sum(used) if len(used) == len(pools) else None, (gpu_type,)
    if len(gpus) == len(used) == len(pools):
        yield names.GPU_TYPE_UTILIZATION, _utilization(snapshot, gpu_type), (gpu_type,)


def _utilization(snapshot: FleetSnapshot, gpu_type: str) -> float | None:
    """Over hosts of which both numbers are known; the pools' sums may hold hosts of which only one is."""
    return utilization(
        host
        for host in snapshot.hosts.values()
        if (host.gpu_type or UNKNOWN) == gpu_type and host.out_of_stock is None
    )


def _out_of_stock(snapshot: FleetSnapshot) -> Iterator[Row]:
    for totals in out_of_stock_totals(snapshot) or ():
        if totals.is_whole:
            yield names.OUT_OF_STOCK_HOSTS, totals.hosts, (totals.gpu_type, totals.reason)


def _contracts(snapshot: FleetSnapshot) -> Iterator[Row]:
    for totals in contract_totals(snapshot) or ():
        if totals.is_whole:
            labels = (totals.contract, totals.gpu_type)
            yield names.CONTRACT_HOSTS, totals.hosts, labels
            yield names.CONTRACT_GPUS, totals.gpus, labels
            yield names.CONTRACT_GPUS_USED, totals.gpus_used, labels
            yield names.CONTRACT_GPU_UTILIZATION, totals.utilization_ratio, labels


def _contradictions(snapshot: FleetSnapshot) -> Iterator[Row]:
    found = Counter(contradiction.kind for contradiction in snapshot.contradictions)
    for kind in ContradictionKind:
        if found[kind] or _is_compared(kind, snapshot.readings):
            yield names.CONTRADICTIONS, found[kind], (kind,)


def _is_compared(kind: ContradictionKind, readings: Readings) -> bool:
    return all(getattr(readings, name) is not None for name in COMPARED_READINGS[kind])


def _services(snapshot: FleetSnapshot) -> Iterator[Row]:
    """Also the combinations that no service is in, as zeros: the list of services is whole or absent."""
    reading = snapshot.readings.services
    if reading is None:
        return
    found = Counter((service.status, service.state) for service in reading.value.services)
    usual = {(status, state) for status in ("enabled", "disabled") for state in ("up", "down")}
    for key in sorted(usual | set(found)):
        yield names.COMPUTE_SERVICES, found[key], key
