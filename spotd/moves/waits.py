"""What one daemon waits for with a move that it has to leave open, by a clock that nobody sets."""

from spotd.clock import Clock
from spotd.moves.timing import Timing
from spotd.store.records import StepRecord


class Waits:
    """Quiet after writes that nobody answered, and patience with clouds that cannot be looked at."""

    def __init__(self, timing: Timing, clock: Clock) -> None:
        self._timing = timing
        self._clock = clock
        self._quiet_at: dict[tuple[str, int], float] = {}
        self._shut_out_since: dict[str, float] = {}

    def is_quiet(self, step: StepRecord) -> bool:
        """Whether nothing of this write can take effect any more.

        The journal's times, which a clock that is set makes wrong, count only when it is first asked.
        """
        key = step.move_id, step.number
        if key not in self._quiet_at:
            passed = (self._clock.now() - (step.ended_at or step.began_at)).total_seconds()
            longest = self._timing.quiet_seconds
            self._quiet_at[key] = self._clock.monotonic() + min(max(0.0, longest - passed), longest)
        return self._clock.monotonic() >= self._quiet_at[key]

    def could_look(self, move_id: str) -> None:
        """The host could be looked at: patience counts anew from the next time that it cannot."""
        self._shut_out_since.pop(move_id, None)

    def shut_out_seconds(self, move_id: str) -> float:
        """For how long this daemon has tried in vain; not how long ago the move was begun or left open."""
        now = self._clock.monotonic()
        return now - self._shut_out_since.setdefault(move_id, now)

    def forget(self, move_id: str) -> None:
        """The move is over."""
        self.could_look(move_id)
        for key in [key for key in tuple(self._quiet_at) if key[0] == move_id]:
            self._quiet_at.pop(key, None)
