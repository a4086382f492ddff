"""Everything that one move works with, on one desk."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from spotd.clock import Clock
from spotd.fleet.classify import classify
from spotd.fleet.values import Aggregate
from spotd.moves.back import Back
from spotd.moves.cloud import HostCloud
from spotd.moves.forward import Forward
from spotd.moves.guarding import Grounds
from spotd.moves.hands import Hands, reason_of
from spotd.moves.mirror import Mirror
from spotd.moves.scribe import Scribe
from spotd.moves.sight import Sight, is_in
from spotd.moves.timing import Timing
from spotd.store.records import MoveRecord, StepRecord


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that one move works with."""

    record: MoveRecord
    sight: Sight
    hands: Hands
    scribe: Scribe
    forward: Forward
    back: Back

    def shows(self, step: StepRecord) -> bool:
        """Whether the effect of a write that began can be seen.

        Raises:
            CloudError: It cannot be looked at.
        """
        if step.step in ("fence", "release"):
            return self.hands.owns(self.sight.service()) == (step.step == "fence")
        order = self.record.order
        place = next((p for p in (order.origin, order.destination) if p.name == step.detail), None)
        if place is None:
            return False
        return is_in(place, self.sight.memberships()) == (step.step == "join")


def lay_out(
    scribe: Scribe,
    grounds: Grounds,
    aggregates: tuple[Aggregate, ...],
    *,
    cloud: HostCloud,
    timing: Timing,
    clock: Clock,
    leaving: threading.Event,
    leads: Callable[[int], bool],
    sleep: Callable[[float], None],
) -> Desk:
    """The desk of the scribe's move; which aggregates are pools is read live, not from an old snapshot."""
    order = scribe.record.order
    host = grounds.snapshot.hosts.get(order.host)
    hypervisor = (host.hypervisor_hostname if host is not None else None) or order.host
    classified = (classify(found, grounds.interpretation) for found in aggregates)
    pool_ids = frozenset(found.aggregate.id for found in classified if found.pool is not None)
    sight = Sight(cloud, order.host, hypervisor)
    hands = Hands(
        cloud,
        order.host,
        sight,
        reason=reason_of(scribe.record.id, order.destination.name),
        timing=timing,
        clock=clock,
        leaving=leaving,
        leads=lambda: leads(scribe.token),
        sleep=sleep,
    )
    forward = Forward(
        order, sight=sight, hands=hands, scribe=scribe, timing=timing, clock=clock, pool_ids=pool_ids
    )
    mirror = Mirror(
        sight=sight,
        hands=hands,
        scribe=scribe,
        timing=timing,
        clock=clock,
        pool_ids=pool_ids,
        phase="undo",
    )
    back = Back(order, sight=sight, hands=hands, scribe=scribe, mirror=mirror, pool_ids=pool_ids)
    return Desk(scribe.record, sight, hands, scribe, forward, back)
