"""Moves as the journal takes them: from a plan, or from a person who names a host and an aggregate."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from spotd.fleet.snapshot import ClassifiedAggregate
from spotd.planning.by_hand import MANUAL, GuardVerdict, verdicts
from spotd.planning.plan import Place, PlannedMove, place_of
from spotd.planning.refusals import Code, Refusal
from spotd.planning.surroundings import RecentMove, Surroundings, pool_aggregates
from spotd.store.records import MoveOrder, MovePlace, MoveRecord

REFUSAL_LASTS = timedelta(minutes=5)
"""How long a rule leaves a host alone that the live look refused, and tries others instead."""
OF_ALL_HOSTS = frozenset(
    {
        Code.OBSERVING,
        Code.NOT_LEADER,
        Code.FROZEN,
        Code.FREEZE_DATE,
        Code.READING_STALE,
        Code.OUT_OF_SCOPE,
        Code.WINDOW_CLOSED,
    }
)
"""Refusals of a begun move that say nothing of its host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a person's move would do, and what each guard says of it."""

    order: MoveOrder | None
    """None where host or aggregates cannot even be named."""
    verdicts: tuple[GuardVerdict, ...]

    @property
    def refusal(self) -> Refusal | None:
        """The first that says no."""
        return next((verdict.refusal for verdict in self.verdicts if verdict.refusal is not None), None)


def planned_order(move: PlannedMove) -> MoveOrder:
    """The order of a rule."""
    return MoveOrder(
        host=move.host,
        origin=_kept(move.origin),
        destination=_kept(move.destination),
        gpu_type=move.gpu_type,
        rule=move.rule,
        asked_by=f"rule {move.rule}",
        reason=move.reason,
        drain_deadline=move.drain_deadline,
    )


def preview(host_name: str, to: str, around: Surroundings, *, asked_by: str, reason: str) -> Preview:
    """The order of a person, with the verdict of each guard on the snapshot; the executor asks them anew."""
    host = around.snapshot.hosts.get(host_name)
    if host is None:
        refusal = Refusal(Code.NO_POOL, f"no GPU host {host_name!r}")
        return Preview(order=None, verdicts=(GuardVerdict("known", refusal),))
    destination = around.pools.get(to)
    if destination is None or destination.pool is None:
        names = ", ".join(sorted(c.aggregate.name for c in around.pools.values() if c.pool is not None))
        refusal = Refusal(Code.NO_DESTINATION, f"{to!r} is no aggregate that is a pool; those are: {names}")
        return Preview(order=None, verdicts=(GuardVerdict("places", refusal),))
    theirs = pool_aggregates(host, around)
    said = tuple(verdicts(host, MANUAL, None, destination.aggregate.id, around))
    order = None
    if len(theirs) == 1:
        order = MoveOrder(
            host=host.name,
            origin=_kept(place_of(theirs[0])),
            destination=_kept(place_of(destination)),
            gpu_type=host.gpu_type or destination.gpu_type or "",
            rule=None,
            asked_by=asked_by,
            reason=reason,
            drain_deadline=None,
        )
    return Preview(order=order, verdicts=said)


def targets(host_name: str, around: Surroundings) -> tuple[ClassifiedAggregate, ...]:
    """The aggregates that a person could move the host to: pools of its GPU type that it is not in."""
    host = around.snapshot.hosts.get(host_name)
    if host is None:
        return ()
    return tuple(
        c
        for c in around.snapshot.aggregates
        if c.pool is not None
        and c.gpu_type == host.gpu_type
        and c.gpu_type is not None
        and c.aggregate.name not in host.aggregates
    )


def recent(records: Iterable[MoveRecord], *, but: str | None = None) -> tuple[RecentMove, ...]:
    """The journal's moves as planning counts them; what a guard refused counts for nothing."""
    return tuple(
        RecentMove(
            host=record.order.host,
            rule=record.order.rule,
            started_at=record.started_at or record.asked_at,
            finished_at=None if record.is_open else record.finished_at,
            destination_id=record.order.destination.id if record.state in ("running", "done") else None,
        )
        for record in records
        if record.id != but and record.state not in ("asked", "refused")
    )


def seen_live(records: Iterable[MoveRecord], now: datetime) -> dict[str, Refusal]:
    """What the live look at the begin of a rule's move said of its host a moment ago, by host."""
    found: dict[str, Refusal] = {}
    for record in records:
        ended, code = record.finished_at, record.code
        if record.state != "refused" or record.order.rule is None or ended is None or code is None:
            continue
        if now - ended < REFUSAL_LASTS and code not in OF_ALL_HOSTS:
            said = f"looked at live at {ended:%H:%M:%S} UTC: {record.sentence}"
            found[record.order.host] = Refusal(Code(code), said)
    return found


def _kept(place: Place) -> MovePlace:
    return MovePlace(id=place.id, uuid=place.uuid, name=place.name, pool=str(place.pool))
