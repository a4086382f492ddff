"""Placement's copy of the aggregates, which Nova keeps and sometimes fails to: looked at, and repaired."""

from spotd.clock import Clock
from spotd.moves.hands import Hands
from spotd.moves.outcomes import StepFailed
from spotd.moves.scribe import Scribe
from spotd.moves.sight import Sight
from spotd.moves.timing import Timing
from spotd.store.records import MovePlace, StepPhase


class Mirror:
    """The mirror of one host; only Nova writes it, when a host comes or goes."""

    def __init__(
        self,
        *,
        sight: Sight,
        hands: Hands,
        scribe: Scribe,
        timing: Timing,
        clock: Clock,
        pool_ids: frozenset[int],
        phase: StepPhase,
    ) -> None:
        self._sight = sight
        self._hands = hands
        self._scribe = scribe
        self._timing = timing
        self._clock = clock
        self._pool_ids = pool_ids
        self._phase: StepPhase = phase

    def agrees(self, there: MovePlace, gone: MovePlace | None) -> bool:
        """Whether it has the host in `there` and not in `gone`; asked again for a while, since it may lag."""
        give_up_at = self._clock.monotonic() + self._timing.mirror_seconds
        while True:
            missing, left = self._wrong(there, gone)
            if not (missing or left):
                return True
            if self._clock.monotonic() >= give_up_at:
                return False
            self._hands.wait(self._timing.poll_seconds)

    def repair(self, there: MovePlace, gone: MovePlace | None) -> None:
        """Has Nova write it anew, by leaving and joining; each raises as any other step does.

        Nova clears the mirror also where its own list does not have the host (it then answers 404), and does
        not write it where its own list has the host already: hence out and in again.
        """
        missing, left = self._wrong(there, gone)
        if left and gone is not None:
            self._require(there)
            with self._scribe.step("leave", self._phase, f"{gone.name} in the mirror") as note:
                note.text = self._hands.leave(gone)
        if missing:
            self._require(there)
            with self._scribe.step("leave", self._phase, f"{there.name} for the mirror") as note:
                note.text = self._hands.leave(there)
            self._require()
            with self._scribe.step("join", self._phase, f"{there.name} for the mirror") as note:
                note.text = self._hands.join(there)

    def _require(self, *expected: MovePlace) -> None:
        """Nobody has moved or opened the host: one that is open must not be in no pool even for a moment."""
        pools = self._sight.memberships().keys() & self._pool_ids
        if pools != {place.id for place in expected}:
            raise StepFailed("somebody moved the host while its mirror was wrong", is_final=False)
        if not self._hands.owns(self._sight.service()):
            raise StepFailed("Placement's mirror is wrong and the host is not closed", is_final=False)

    def require(self, there: MovePlace, gone: MovePlace | None) -> None:
        """It agrees.

        Raises:
            StepFailed: It does not.
        """
        if not self.agrees(there, gone):
            raise StepFailed("Placement's mirror of the aggregates stays wrong", is_final=False)

    def _wrong(self, there: MovePlace, gone: MovePlace | None) -> tuple[bool, bool]:
        mirror = self._sight.mirror()
        missing = there.uuid is not None and there.uuid not in mirror
        left = gone is not None and gone.uuid is not None and gone.uuid in mirror
        return missing, left
