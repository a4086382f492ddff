"""The way back: out of the destination, into the origin, opened again; read back at each step."""

from spotd.moves.hands import Hands
from spotd.moves.mirror import Mirror
from spotd.moves.outcomes import StepFailed
from spotd.moves.scribe import Scribe
from spotd.moves.sight import Sight, in_one_zone, is_in
from spotd.store.records import MoveOrder


class Back:
    """Takes back one move, from wherever it stands; each step raises as those of `Forward` do."""

    def __init__(
        self,
        order: MoveOrder,
        *,
        sight: Sight,
        hands: Hands,
        scribe: Scribe,
        mirror: Mirror,
        pool_ids: frozenset[int],
    ) -> None:
        self._order = order
        self._sight = sight
        self._hands = hands
        self._scribe = scribe
        self._mirror = mirror
        self._pool_ids = pool_ids

    def home(self, *, was_in_destination: bool, was_touched: bool) -> None:
        """Puts the host where the move found it, unless somebody has put it elsewhere meanwhile.

        `was_in_destination`: the move may have put it into the destination, so that it takes it out again.
        `was_touched`: the move may have taken it out of anything or put it into anything.
        """
        origin, destination = self._order.origin, self._order.destination
        aggregates = self._sight.aggregates()
        members = self._sight.memberships_in(aggregates)
        is_at_origin, is_at_destination = is_in(origin, members), is_in(destination, members)
        mine = {place.id for place in (origin, destination) if is_in(place, members)}
        elsewhere = (members.keys() & self._pool_ids) - mine
        leaves = is_at_destination and was_in_destination
        joins = not is_at_origin and not elsewhere and (leaves or not is_at_destination)
        if joins and not is_in(origin, {found.id: found for found in aggregates}):
            raise StepFailed(f"{origin.name} is gone, or was made anew")
        # As on the way forward: who landed meanwhile would keep it from leaving its zone for a moment.
        join_first = joins and leaves and in_one_zone(aggregates, origin.id, destination.id)
        if join_first:
            self._join()
        if leaves:
            with self._scribe.step("leave", "undo", destination.name) as note:
                note.text = self._hands.leave(destination)
        if joins and not join_first:
            self._join()
        self._verify(was_in_destination=was_in_destination, was_touched=was_touched or joins)

    def _join(self) -> None:
        with self._scribe.step("join", "undo", self._order.origin.name) as note:
            note.text = self._hands.join(self._order.origin)

    def _verify(self, *, was_in_destination: bool, was_touched: bool) -> None:
        origin = self._order.origin
        gone = self._order.destination if was_in_destination else None
        with self._scribe.step("verify", "undo"):
            if not self._is_home():
                return  # somebody else's doing: not for us to mend
            if not was_touched:
                return  # nor is a mirror that was wrong before
            agrees = self._mirror.agrees(origin, gone)
        if agrees:
            return
        self._mirror.repair(origin, gone)
        with self._scribe.step("verify", "undo"):
            if self._is_home():
                self._mirror.require(origin, gone)

    def _is_home(self) -> bool:
        """Whether it is in its origin, or in some other one pool where somebody else put it.

        Raises:
            StepFailed: It is in no pool or in several: whoever is at work on it may not be done.
        """
        members = self._sight.memberships()
        pools = members.keys() & self._pool_ids
        if len(pools) != 1:
            where = ", ".join(sorted(members[id_].name for id_ in pools))
            raise StepFailed(f"it is in {where or 'no pool'}", is_final=False)
        return is_in(self._order.origin, members)

    def release(self) -> str:
        """Opens the host again where this move closed it."""
        service = self._sight.service()
        if not self._hands.owns(service):
            return "the compute service is not closed by this move"
        with self._scribe.step("release", "undo") as note:
            note.text = self._hands.open(service)
        return note.text
