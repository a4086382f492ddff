"""Sums over a snapshot: hosts and GPUs by pool and by contract, and hosts out of stock by reason.

Each GPU host is in exactly one of them: in its pool while it is for sale, else under its reason.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from spotd.fleet.snapshot import FleetSnapshot, Host, OutOfStock, Pool

UNKNOWN = "unknown"
"""Stands for a GPU type or a contract that no source tells."""
NEEDS_ALL_HOSTS = frozenset(
    {OutOfStock.NETBOX_STATUS, OutOfStock.NO_COMPUTE_SERVICE, OutOfStock.BARE_METAL, OutOfStock.NO_POOL}
)
"""Reasons of which a missing reading may hide some hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StockTotals:
    """Sums over hosts that are for sale.

    A sum is None while a missing reading could add to it. A host of which every reading is there and
    none tells its GPUs is left out of the sums and counted in `hosts_with_unknown_gpus`.
    """

    hosts: int
    free_hosts: int | None
    """Hosts that are empty (`Host.is_empty`); None while that is unknown of one."""
    unknown_hosts: int
    """Hosts of which nobody knows whether they are empty."""
    gpus: int | None
    gpus_used: int | None
    hosts_with_unknown_gpus: int
    """Hosts whose number of GPUs or of used GPUs is unknown."""
    utilization_ratio: float | None
    """Used GPUs by GPUs, over hosts where both are known; None where there are none."""
    is_whole: bool
    """False while a missing reading could add hosts: then no number here is the whole one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTotals(StockTotals):
    """Sums over the hosts for sale of one GPU type and pool."""

    gpu_type: str
    pool: Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTotals(StockTotals):
    """Sums over the hosts for sale of one contract and GPU type."""

    contract: str
    gpu_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfStockTotals:
    """How many hosts of one GPU type are not for sale for one reason."""

    gpu_type: str
    reason: OutOfStock
    hosts: int
    is_whole: bool
    """False while a missing reading could add hosts."""


def pool_totals(snapshot: FleetSnapshot) -> tuple[PoolTotals, ...] | None:
    """Sums by GPU type and pool, true zeros where a pool has no host for sale; None while unknown."""
    if not snapshot.stock_known:
        return None
    groups: dict[tuple[str, Pool], list[Host]] = {}
    for classified in snapshot.aggregates:
        if classified.pool not in (None, Pool.TESTING) and classified.gpu_type is not None:
            groups.setdefault((classified.gpu_type, classified.pool), [])
    for host, pool in _for_sale(snapshot):
        groups.setdefault((host.gpu_type or UNKNOWN, pool), []).append(host)
    untyped = {pool for gpu_type, pool in groups if gpu_type == UNKNOWN}
    return tuple(
        PoolTotals(gpu_type=gpu_type, pool=pool, **_sums(hosts, snapshot, may_grow=pool in untyped))
        for (gpu_type, pool), hosts in sorted(groups.items())
    )


def contract_totals(snapshot: FleetSnapshot) -> tuple[ContractTotals, ...] | None:
    """Sums by contract and GPU type, true zeros where it has no host for sale; None while unknown."""
    if not snapshot.stock_known:
        return None
    groups: dict[tuple[str, str], list[Host]] = {}
    for classified in snapshot.aggregates:
        if classified.contract is not None and classified.gpu_type is not None:
            groups.setdefault((classified.contract, classified.gpu_type), [])
    for host, pool in _for_sale(snapshot):
        if pool is Pool.CONTRACT:
            key = (host.contract or UNKNOWN, host.gpu_type or UNKNOWN)
            groups.setdefault(key, []).append(host)
    untyped = {contract for contract, gpu_type in groups if gpu_type == UNKNOWN}
    return tuple(
        ContractTotals(
            contract=contract, gpu_type=gpu_type, **_sums(hosts, snapshot, may_grow=contract in untyped)
        )
        for (contract, gpu_type), hosts in sorted(groups.items())
    )


def out_of_stock_totals(snapshot: FleetSnapshot) -> tuple[OutOfStockTotals, ...] | None:
    """Hosts out of stock for each GPU type of the fleet and each reason, also none; None while unknown."""
    if not snapshot.stock_known:
        return None
    types = {classified.gpu_type for classified in snapshot.aggregates if classified.gpu_type is not None}
    types.update(host.gpu_type or UNKNOWN for host in snapshot.hosts.values())
    counts = Counter(
        (host.gpu_type or UNKNOWN, host.out_of_stock)
        for host in snapshot.hosts.values()
        if host.out_of_stock is not None
    )
    return tuple(
        OutOfStockTotals(
            gpu_type=gpu_type,
            reason=reason,
            hosts=counts[gpu_type, reason],
            is_whole=_is_whole_reason(reason, snapshot, has_untyped=counts[UNKNOWN, reason] > 0),
        )
        for gpu_type in sorted(types)
        for reason in OutOfStock
    )


def _is_whole_reason(reason: OutOfStock, snapshot: FleetSnapshot, *, has_untyped: bool) -> bool:
    if reason is OutOfStock.NETBOX_STATUS and snapshot.readings.netbox is None:
        return False
    return snapshot.readings.all_hosts_known or not (reason in NEEDS_ALL_HOSTS or has_untyped)


def _for_sale(snapshot: FleetSnapshot) -> Iterator[tuple[Host, Pool]]:
    """Hosts with the pool that they are for sale in; while the stock is known, each of them has one."""
    for host in snapshot.hosts.values():
        if host.out_of_stock is None and host.pool is not None:
            yield host, host.pool


def _sums(hosts: list[Host], snapshot: FleetSnapshot, *, may_grow: bool) -> dict[str, Any]:
    """The fields of `StockTotals`; `may_grow`: some host may turn out to belong here as well."""
    all_known = snapshot.readings.all_hosts_known
    emptiness = [host.is_empty for host in hosts]
    unknown_hosts = emptiness.count(None)
    gpus = _sum((host.gpus for host in hosts), all_known=all_known)
    used = _sum((host.gpus_used for host in hosts), all_known=all_known)
    ratio = utilization(hosts)
    return {
        "hosts": len(hosts),
        "free_hosts": emptiness.count(True) if unknown_hosts == 0 else None,
        "unknown_hosts": unknown_hosts,
        "gpus": gpus,
        "gpus_used": used,
        "hosts_with_unknown_gpus": sum(host.gpus_free is None for host in hosts),
        "utilization_ratio": ratio if gpus is not None and used is not None else None,
        "is_whole": all_known or not may_grow,
    }


def utilization(hosts: Iterable[Host]) -> float | None:
    """Used GPUs by GPUs of the hosts of which both are known, 0 to 1; None where those have no GPUs.

    What a host uses beyond its GPUs does not count: it would hide the free GPUs of another.
    """
    both = [(host.gpus, free) for host in hosts if host.gpus and (free := host.gpus_free) is not None]
    gpus = sum(has for has, _ in both)
    return (gpus - sum(free for _, free in both)) / gpus if gpus else None


def reserved_gpus(snapshot: FleetSnapshot) -> dict[tuple[str, Pool], int]:
    """Reserved GPUs by GPU type and pool of the hosts for sale of which they are known."""
    sums: Counter[tuple[str, Pool]] = Counter()
    for host, pool in _for_sale(snapshot):
        if host.gpus_reserved is not None:
            sums[host.gpu_type or UNKNOWN, pool] += host.gpus_reserved
    return dict(sums)


def _sum(numbers: Iterable[int | None], *, all_known: bool) -> int | None:
    """The sum of the known numbers; None where an unknown one could still be told by a missing reading."""
    told = list(numbers)
    known = [number for number in told if number is not None]
    return sum(known) if all_known or len(known) == len(told) else None
