"""Which readings are believed: for one that is doubted the last stands in that nobody contradicts."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from spotd.fleet.doubts import Doubt, doubts
from spotd.fleet.readings import Reading, Source
from spotd.fleet.snapshot import Contradiction, ContradictionKind, Readings


class Belief:
    """Remembers the last believed reading of each source; one thread at a time may call `of`."""

    def __init__(self) -> None:
        self.doubts: tuple[Doubt, ...] = ()
        """What is doubted now; replaced as a whole."""
        self.sure: frozenset[Source] = frozenset()
        """Sources that were surely doubted, until nothing contradicts them any more."""
        self._believed: dict[Source, Reading[object]] = {}

    def of(self, readings: Readings, now: datetime, max_ages: Mapping[Source, float]) -> Readings:
        """The readings, each doubted one replaced by the last that was believed and is not too old."""
        found = doubts(readings)
        doubted = {doubt.source for doubt in found}
        self.sure = (self.sure & doubted) | {doubt.source for doubt in found if doubt.is_sure}
        for source in max_ages:
            reading = readings.of(source)
            if reading is not None and source not in doubted:
                self._believed[source] = reading
        self.doubts = found
        for source in doubted:
            last = self._last(source, now, max_ages[source])
            readings = _with(readings, source, last)
            # What was believed for want of anybody who could contradict it is no better.
            if any(doubt.source is source for doubt in doubts(readings)):
                readings = _with(readings, source, None)
        return readings

    def contradictions(self) -> tuple[Contradiction, ...]:
        """What is surely doubted, as the snapshot shows it."""
        return tuple(
            Contradiction(kind=ContradictionKind.PARTIAL_READING, host="", detail=doubt.sentence)
            for doubt in self.doubts
            if doubt.source in self.sure
        )

    def _last(self, source: Source, now: datetime, max_age: float) -> Reading[object] | None:
        reading = self._believed.get(source)
        return reading if reading is not None and reading.age_seconds(now) <= max_age else None


def _with(readings: Readings, source: Source, reading: Reading[object] | None) -> Readings:
    changes: dict[str, Any] = {source.value: reading}
    return replace(readings, **changes)
