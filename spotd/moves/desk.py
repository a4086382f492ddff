"""Everything that one move works with, on one desk."""

from dataclasses import dataclass

from spotd.moves.back import Back
from spotd.moves.forward import Forward
from spotd.moves.hands import Hands
from spotd.moves.scribe import Scribe
from spotd.moves.sight import Sight
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
        is_in = place is not None and place.id in self.sight.memberships()
        return place is not None and is_in == (step.step == "join")
