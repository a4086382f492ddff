"""What the API is given to plan and act, of a daemon that has a journal."""

from collections.abc import Callable

from spotd.clock import Clock
from spotd.daemon.acting import Acting
from spotd.daemon.orders import preview, targets
from spotd.daemon.rebalance import ask_to_recover
from spotd.fleet.snapshot import FleetSnapshot
from spotd.planning.surroundings import Surroundings, survey
from spotd.store.records import LeaseHolder
from spotd.web.api import acting as web


def acting_backing(
    acting: Acting | None, snapshot: Callable[[], FleetSnapshot | None], clock: Clock
) -> web.Acting | None:
    """Everything goes through the journal: whoever leads carries it out, this daemon or another."""
    if acting is None:
        return None
    rebalancer = acting.rebalancer

    def holder() -> LeaseHolder | None:
        return acting.leadership.holder()

    def surroundings() -> Surroundings | None:
        latest = snapshot()
        if latest is None:
            return None
        standing = rebalancer.standing(is_leader=holder() is not None)
        return survey(rebalancer.rules, latest, rebalancer.recent_moves(), clock.now(), standing)

    return web.Acting(
        journal=acting.journal,
        surroundings=surroundings,
        recent=rebalancer.recent_moves,
        preview=preview,
        targets=targets,
        plan=lambda: rebalancer.plan,
        rules=lambda: rebalancer.rules,
        freeze=acting.freezing.current,
        holder=holder,
        recover=lambda by: ask_to_recover(acting.journal, by),
    )
