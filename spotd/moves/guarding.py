"""The guards of planning, asked again on a live view of one host."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from spotd.fleet.assemble import assemble
from spotd.fleet.interpretation import Interpretation
from spotd.fleet.readings import Reading
from spotd.fleet.snapshot import FleetSnapshot, Host
from spotd.fleet.values import (
    Aggregate,
    Aggregates,
    ComputeService,
    ComputeServices,
    Gpus,
    Servers,
)
from spotd.moves.sight import Occupants
from spotd.planning.by_hand import MANUAL, order_refusal
from spotd.planning.refusals import Code, Refusal
from spotd.planning.rules import Rule, Rules
from spotd.planning.surroundings import RecentMove, Standing, survey
from spotd.store.records import MoveOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What a move stands on beside the live view: the rules, the last snapshot, freeze and lease."""

    rules: Rules
    snapshot: FleetSnapshot
    interpretation: Interpretation
    standing: Standing
    recent_moves: tuple[RecentMove, ...] = ()
    """Of other moves than this one."""


GroundsNow = Callable[[], "Grounds | None"]
"""The grounds as they are now; None while there is no snapshot to believe."""


def live_refusal(
    order: MoveOrder,
    grounds: Grounds,
    *,
    aggregates: Iterable[Aggregate],
    service: ComputeService,
    occupants: Occupants,
    now: datetime,
) -> Refusal | None:
    """Why the host may not move, by every guard and on what the clouds say now."""
    if occupants.migrations:
        return Refusal(Code.MIGRATION_IN_FLIGHT, f"{len(occupants.migrations)} migrations are not finished")
    if occupants.consumers and not occupants.servers:
        return Refusal(Code.GPUS_ALLOCATED, f"{occupants.in_words()}, and no server in Nova's list")
    snapshot = live_snapshot(
        order.host, grounds, aggregates=aggregates, service=service, occupants=occupants, now=now
    )
    around = survey(grounds.rules, snapshot, grounds.recent_moves, now, grounds.standing)
    return order_refusal(
        snapshot.hosts.get(order.host),
        rule_of(order, grounds.rules),
        order.origin.id,
        order.destination.id,
        around,
    )


def window_refusal(order: MoveOrder, grounds: Grounds, now: datetime) -> Refusal | None:
    """Whether the windows of the rule that wanted the move have closed."""
    rule = rule_of(order, grounds.rules)
    if rule is None or rule.is_open(now):
        return None
    return Refusal(Code.WINDOW_CLOSED, f"none of the windows of rule {rule.name} is open any more")


def rule_of(order: MoveOrder, rules: Rules) -> Rule | None:
    """The rule that wants the move; the hand rule for a person's, None where the rule is gone."""
    if order.rule is None:
        return MANUAL
    return next((rule for rule in rules.rules if rule.name == order.rule), None)


def live_snapshot(
    host: str,
    grounds: Grounds,
    *,
    aggregates: Iterable[Aggregate],
    service: ComputeService,
    occupants: Occupants,
    now: datetime,
) -> FleetSnapshot:
    """The snapshot of this one host, with what was just read in place of what was known."""
    readings = grounds.snapshot.readings
    alone = tuple(replace(found, hosts=(host,) if host in found.hosts else ()) for found in aggregates)
    servers = {server.id: server for server in occupants.servers}
    live = replace(
        readings,
        aggregates=Reading(value=Aggregates(aggregates=alone), read_at=now),
        services=Reading(value=ComputeServices(services=(service,)), read_at=now),
        servers=Reading(value=Servers(servers=servers), read_at=now),
        gpus=_gpus_now(readings.gpus, grounds.snapshot.hosts.get(host), occupants, now),
    )
    return assemble(live, grounds.interpretation, now)


def _gpus_now(
    reading: Reading[Gpus] | None, host: Host | None, occupants: Occupants, now: datetime
) -> Reading[Gpus] | None:
    """The host's tree alone; without a consumer nothing of it is used, whatever was known."""
    if reading is None:
        return None
    mine = {
        name: tree
        for name, tree in reading.value.trees.items()
        if host is not None and (tree.uuid == host.resource_provider or name == host.hypervisor_hostname)
    }
    if occupants.consumers:
        return replace(reading, value=replace(reading.value, trees=mine))
    emptied = {
        name: replace(
            tree,
            gpus={cls: replace(count, used=0) for cls, count in tree.gpus.items()},
            is_allocated=False,
        )
        for name, tree in mine.items()
    }
    return Reading(value=replace(reading.value, trees=emptied), read_at=now)
