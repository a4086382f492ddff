"""Moves that a person asks for, and the verdict of each guard on any one move."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from spotd.fleet.snapshot import ClassifiedAggregate, Host, Pool
from spotd.planning.expressions import ALWAYS
from spotd.planning.guards import CYCLE_GUARDS, HOST_GUARDS, cooled_down, nothing_seen_live, observing
from spotd.planning.models import HostChoice, RuleLimits
from spotd.planning.move_guards import MOVE_GUARDS, Proposal
from spotd.planning.refusals import Code, Refusal
from spotd.planning.rules import Rule
from spotd.planning.surroundings import Surroundings, pool_aggregates

MANUAL = Rule(
    name="(manual)",
    gpu_types=None,
    variant=None,
    sites=None,
    tenants=None,
    from_pools=tuple(pool for pool in Pool if pool is not Pool.TESTING),
    to=Pool.SPOT,
    to_variant=None,
    contract=None,
    when=ALWAYS,
    until=None,
    hold=timedelta(0),
    count=1,
    at_most=1,
    hosts=HostChoice(),
    limits=RuleLimits(),
    windows=(),
)
"""Stands for a person: only empty hosts, of any pool. No rule of a file can have its name."""

_ONLY_FOR_RULES = (observing, nothing_seen_live, cooled_down)
"""Mode, earlier looks and cooldown hold back rules, not a person who asks for one host."""


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """What one guard says; `refusal` None: it lets the move pass."""

    guard: str
    refusal: Refusal | None


def verdicts(
    host: Host | None, rule: Rule | None, origin_id: int | None, destination_id: int, around: Surroundings
) -> Iterator[GuardVerdict]:
    """Every guard in order; those of the move itself only where origin and destination are known."""
    is_manual = rule is MANUAL
    for cycle_guard in CYCLE_GUARDS:
        if not (is_manual and cycle_guard in _ONLY_FOR_RULES):
            yield GuardVerdict(cycle_guard.__name__, cycle_guard(around))
    if host is None:
        yield GuardVerdict("known", Refusal(Code.NO_POOL, "no source knows it as a GPU host"))
        return
    if rule is None:
        yield GuardVerdict("rule", Refusal(Code.OUT_OF_SCOPE, "the rule that wanted it is gone"))
        return
    for guard in HOST_GUARDS:
        if not (is_manual and guard in _ONLY_FOR_RULES):
            yield GuardVerdict(guard.__name__, guard(host, around))
    theirs = pool_aggregates(host, around)
    found = [c for c in theirs if origin_id is None or c.aggregate.id == origin_id]
    destination = _destination(destination_id, around)
    yield GuardVerdict("places", _places(found, destination, theirs))
    if len(found) == 1 and destination is not None:
        proposal = Proposal(host=host, rule=rule, origin=found[0], destination=destination)
        for move_guard in MOVE_GUARDS:
            yield GuardVerdict(move_guard.__name__, move_guard(proposal, around))


def order_refusal(
    host: Host | None, rule: Rule | None, origin_id: int | None, destination_id: int, around: Surroundings
) -> Refusal | None:
    """The first guard that says no."""
    said = verdicts(host, rule, origin_id, destination_id, around)
    return next((verdict.refusal for verdict in said if verdict.refusal is not None), None)


def _destination(aggregate_id: int, around: Surroundings) -> ClassifiedAggregate | None:
    return next(
        (c for c in around.pools.values() if c.aggregate.id == aggregate_id and c.pool is not None), None
    )


def _places(
    origins: list[ClassifiedAggregate],
    destination: ClassifiedAggregate | None,
    theirs: list[ClassifiedAggregate],
) -> Refusal | None:
    if not origins:
        names = ", ".join(c.aggregate.name for c in theirs) or "no pool"
        return Refusal(Code.NO_POOL, f"it is not where the move would start: it is in {names}")
    if destination is None:
        return Refusal(Code.NO_DESTINATION, "the destination is gone, or stands for no pool any more")
    if destination.aggregate.id == origins[0].aggregate.id:
        return Refusal(Code.NO_DESTINATION, f"it is in {destination.aggregate.name} already")
    return None
