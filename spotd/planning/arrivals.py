"""Hosts that a move is bringing: counted where they go, so that nobody is sent for them a second time."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from spotd.fleet.snapshot import ClassifiedAggregate, Host, OutOfStock
from spotd.planning.surroundings import RecentMove, Surroundings

_UNDER_WAY = frozenset({OutOfStock.SERVICE_DISABLED, OutOfStock.NO_POOL, OutOfStock.SEVERAL_POOLS})
"""How a snapshot shows a host in the middle of its move."""


class Arrival(NamedTuple):
    """A host as the snapshot has it, and as it will be."""

    host: Host
    is_counted: bool
    """Whether the snapshot has it for sale in the pool that it leaves."""
    arrived: Host


def arrivals(around: Surroundings) -> Iterator[Arrival]:
    """Hosts of open moves, and of moves that ended after the compute services were read."""
    places = {found.aggregate.id: found for found in around.snapshot.aggregates if found.pool is not None}
    for name, move in around.last_moves.items():
        host = around.snapshot.hosts.get(name)
        there = None if move.destination_id is None else places.get(move.destination_id)
        if host is None or there is None or host.gpu_type is None or _is_seen(move, around):
            continue
        is_counted = host.out_of_stock is None and host.pool is not None
        if (is_counted and there.aggregate.name not in host.aggregates) or host.out_of_stock in _UNDER_WAY:
            yield Arrival(host, is_counted, as_moved(host, there))


def as_moved(host: Host, destination: ClassifiedAggregate) -> Host:
    """The host as it will be counted: empty, in the destination's pool."""
    return replace(
        host,
        pool=destination.pool,
        variant=destination.variant,
        contract=destination.contract,
        server_ids=(),
        gpus_used=0,
        is_allocated=False,
    )


def _is_seen(move: RecentMove, around: Surroundings) -> bool:
    """Whether the snapshot shows how the move ended."""
    services = around.snapshot.readings.services
    return move.finished_at is not None and services is not None and services.read_at > move.finished_at
