"""The aggregates agent: membership, metadata and availability zone, in one request."""

from spotd.agents.state import Outcome
from spotd.clock import Clock
from spotd.clouds.errors import incomplete
from spotd.clouds.nova import Nova
from spotd.fleet.readings import Reading, Source
from spotd.fleet.values import Aggregates


class AggregatesAgent:
    """Reads all host aggregates."""

    def __init__(self, nova: Nova, clock: Clock) -> None:
        self._nova = nova
        self._clock = clock
        self._had_some = False

    def collect(self) -> Outcome:
        """All aggregates.

        Raises:
            CloudError: No whole answer; `INCOMPLETE` where all vanished at once.
        """
        read_at = self._clock.now()
        aggregates = self._nova.aggregates()
        if not aggregates and self._had_some:
            raise incomplete("nova: no aggregate at all, where there were some before")
        self._had_some = self._had_some or bool(aggregates)
        reading: Reading[object] = Reading(value=Aggregates(aggregates=aggregates), read_at=read_at)
        return Outcome(readings={Source.AGGREGATES: reading}, items={"aggregates": len(aggregates)})
