"""Everything that guards look at beside the host itself, looked up once for each plan."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import ClassifiedAggregate, Contradiction, FleetSnapshot, Host
from spotd.planning.refusals import Refusal
from spotd.planning.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentMove:
    """A move that was begun, as the journal has it."""

    host: str
    rule: str | None
    """None: asked for by a person."""
    started_at: datetime
    finished_at: datetime | None
    """None while it runs."""
    destination_id: int | None = None
    """The aggregate that it brings the host to, or has brought it to; None: it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the daemon knows and the snapshot does not."""

    is_leader: bool = True
    frozen: str | None = None
    """Why all moves are frozen; None: they are not."""
    seen_live: Mapping[str, Refusal] = field(default_factory=dict)
    """Why not, by host, for those that were looked at live a moment ago.

    The snapshot does not know of unfinished migrations, and may not know of an allocation.
    """
    empty_since: Mapping[str, datetime] = field(default_factory=dict)
    """Since when hosts have been seen empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The fleet around a host, and what happened to it lately."""

    rules: Rules
    snapshot: FleetSnapshot
    now: datetime
    standing: Standing
    contradictions: Mapping[str, tuple[Contradiction, ...]]
    unread: frozenset[str]
    """Hypervisors of which Placement could not be read."""
    pools: Mapping[str, ClassifiedAggregate]
    """Aggregates by name."""
    last_moves: Mapping[str, RecentMove]
    """The latest move of each host."""


def survey(
    rules: Rules,
    snapshot: FleetSnapshot,
    recent_moves: Iterable[RecentMove],
    now: datetime,
    standing: Standing,
) -> Surroundings:
    """Look everything up."""
    contradictions: dict[str, tuple[Contradiction, ...]] = {}
    for found in snapshot.contradictions:
        contradictions[found.host] = (*contradictions.get(found.host, ()), found)
    gpus = snapshot.readings.gpus
    return Surroundings(
        rules=rules,
        snapshot=snapshot,
        now=now,
        standing=standing,
        contradictions=contradictions,
        unread=frozenset(gpus.value.unread) if gpus is not None else frozenset(),
        pools={classified.aggregate.name: classified for classified in snapshot.aggregates},
        last_moves={move.host: move for move in sorted(recent_moves, key=_age_order)},
    )


def observe_empty(
    empty_since: Mapping[str, datetime], snapshot: FleetSnapshot, now: datetime
) -> dict[str, datetime]:
    """Since when each host is empty, after this snapshot; a host of which that is unknown starts anew."""
    return {
        name: min(empty_since.get(name, now), now) for name, host in snapshot.hosts.items() if host.is_empty
    }


def needed_sources(snapshot: FleetSnapshot) -> tuple[Source, ...]:
    """The readings without which nothing is decided."""
    clouds = (Source.AGGREGATES, Source.SERVICES, Source.SERVERS, Source.GPUS)
    return clouds if Source.NETBOX in snapshot.readings.unconfigured else (*clouds, Source.NETBOX)


def pool_aggregates(host: Host, around: Surroundings) -> list[ClassifiedAggregate]:
    """The aggregates that put the host into a pool."""
    theirs = (around.pools[name] for name in host.aggregates if name in around.pools)
    return [classified for classified in theirs if classified.pool is not None]


def _age_order(move: RecentMove) -> tuple[bool, datetime]:
    return move.finished_at is None, move.finished_at or move.started_at
