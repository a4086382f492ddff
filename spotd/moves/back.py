"""The way back: out of the destination, into the origin, opened again; read back at each step."""

from spotd.moves.hands import Hands
from spotd.moves.outcomes import StepFailed
from spotd.moves.scribe import Scribe
from spotd.moves.sight import Sight
from spotd.store.records import MoveOrder


class Back:
    """Takes back one move, from wherever it stands; each step raises as those of `Forward` do."""

    def __init__(
        self, order: MoveOrder, *, sight: Sight, hands: Hands, scribe: Scribe, pool_ids: frozenset[int]
    ) -> None:
        self._order = order
        self._sight = sight
        self._hands = hands
        self._scribe = scribe
        self._pool_ids = pool_ids

    def home(self, *, was_in_destination: bool) -> None:
        """Puts the host where the move found it, unless somebody has put it elsewhere meanwhile.

        `was_in_destination`: the move may have put it into the destination, so that it takes it out again.
        """
        origin, destination = self._order.origin, self._order.destination
        members = self._sight.memberships()
        elsewhere = (members.keys() & self._pool_ids) - {origin.id, destination.id}
        if destination.id in members and was_in_destination:
            with self._scribe.step("leave", "undo", destination.name) as note:
                note.text = self._hands.leave(destination)
        if (
            origin.id not in members
            and not elsewhere
            and (was_in_destination or destination.id not in members)
        ):
            with self._scribe.step("join", "undo", origin.name) as note:
                note.text = self._hands.join(origin)
        with self._scribe.step("verify", "undo"):
            self._verify(was_in_destination=was_in_destination)

    def _verify(self, *, was_in_destination: bool) -> None:
        origin, destination = self._order.origin, self._order.destination
        members = self._sight.memberships()
        pools = members.keys() & self._pool_ids
        if was_in_destination and destination.id in pools and len(pools) > 1:
            raise StepFailed("it is still in the destination", is_final=False)
        if not pools:
            raise StepFailed("it is in no pool", is_final=False)
        if pools != {origin.id}:
            return  # somebody else's doing: not for us to mend
        if origin.uuid is not None and origin.uuid not in self._sight.mirror():
            self._hands.leave(origin)
            self._hands.join(origin)
            if origin.uuid not in self._sight.mirror():
                raise StepFailed("Placement's mirror does not have it in the origin", is_final=False)

    def release(self) -> str:
        """Opens the host again where this move closed it."""
        service = self._sight.service()
        if not self._hands.owns(service):
            return "the compute service is not closed by this move"
        with self._scribe.step("release", "undo") as note:
            note.text = self._hands.open(service)
        return note.text
