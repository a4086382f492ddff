"""How far the wall clock was set, so that what was promised to wait goes by the time that passed."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from spotd.clock import Clock
from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot
from spotd.planning.states import RuleState
from spotd.store.records import MoveRecord

NOISE = timedelta(milliseconds=50)
"""Less than this is not told; it adds up until it is."""
MOST_STEPS = 100
CLOCKS_DIFFER = timedelta(minutes=1)
"""How far apart the clocks of daemons that share readings may be."""
_NONE = timedelta(0)


class _Step(NamedTuple):
    before: datetime
    """The latest time that the clock had ever shown when it was set."""
    ahead: timedelta


class ClockSteps:
    """Watches the clock from its making on; what happened to it before, or on another machine, nobody knows.

    A clock that stands while the machine sleeps counts as one that was set ahead.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._furthest = clock.now()
        self._origin = self._origin_now(self._furthest)
        self._steps: tuple[_Step, ...] = ()

    def look(self, now: datetime) -> timedelta:
        """How far the clock was set ahead since the last look; less than nothing where it was set back."""
        origin = self._origin_now(now)
        step = origin - self._origin
        self._furthest = max(self._furthest, now - step)
        if abs(step) < NOISE:
            return _NONE
        self._origin = origin
        if step > _NONE:
            steps = (*self._steps, _Step(self._furthest, step))
            if len(steps) > MOST_STEPS:
                # Two as one at the later time: whatever lies between them counts as later than it was.
                steps = (_Step(steps[1].before, steps[0].ahead + steps[1].ahead), *steps[2:])
            self._steps = steps
        return step

    @property
    def ahead(self) -> timedelta:
        """How far the clock was set ahead in all, never less than nothing."""
        return sum((step.ahead for step in self._steps), _NONE)

    def steady(self, record: MoveRecord) -> MoveRecord:
        """The move with its times as a clock would have written them that had been right all along.

        What the clock was set back is not taken off: a time that it showed twice may be of before or after
        that, and a wait must not be shorter than promised.
        """
        if not self._steps:
            return record
        started, finished = record.started_at, record.finished_at
        return replace(
            record,
            asked_at=self._later(record.asked_at),
            started_at=None if started is None else self._later(started),
            finished_at=None if finished is None else self._later(finished),
        )

    def _later(self, time: datetime) -> datetime:
        return time + sum((ahead for before, ahead in self._steps if time <= before), _NONE)

    def _origin_now(self, now: datetime) -> datetime:
        """What the wall clock would show at the other clock's zero."""
        return now - timedelta(seconds=self._clock.monotonic())


def set_ahead(state: RuleState, step: timedelta) -> RuleState:
    """A rule's state after the clock was set, so that its `for` goes on by the time that passed.

    When it was last looked at moves along only where the clock was set back: a gap is the longer of what
    either clock says of it.
    """
    return RuleState(
        is_active=state.is_active,
        since=None if state.since is None else state.since + step,
        seen_at=None if state.seen_at is None else state.seen_at + min(step, _NONE),
    )


def of_the_past(snapshot: FleetSnapshot, now: datetime) -> FleetSnapshot:
    """The snapshot without readings of a time that has not come: how old they are nobody knows.

    The clock was set back since they were made, and would call them young for so long; the next one heals it.
    """
    to_come: dict[str, Any] = {
        source.value: None
        for source in Source
        if (reading := snapshot.readings.of(source)) is not None and reading.read_at - now > CLOCKS_DIFFER
    }
    return replace(snapshot, readings=replace(snapshot.readings, **to_come)) if to_come else snapshot
