"""The aggregates agent: membership, metadata and availability zone, in one request."""

from spotd.agents.state import Outcome
from spotd.clock import Clock
from spotd.clouds.errors import incomplete
from spotd.clouds.nova import Nova
from spotd.fleet.doubts import is_at_scale
from spotd.fleet.readings import Reading, Source
from spotd.fleet.values import Aggregate, Aggregates


class AggregatesAgent:
    """Reads all host aggregates."""

    def __init__(self, nova: Nova, clock: Clock) -> None:
        self._nova = nova
        self._clock = clock
        self._before: frozenset[object] = frozenset()
        self._gone: frozenset[object] = frozenset()

    def collect(self) -> Outcome:
        """All aggregates.

        Raises:
            CloudError: No whole answer; `INCOMPLETE` where all or many vanished at once.
        """
        read_at = self._clock.now()
        aggregates = self._nova.aggregates()
        if not aggregates and self._before:
            raise incomplete("nova: no aggregate at all, where there were some before")
        self._believe(aggregates)
        reading: Reading[object] = Reading(value=Aggregates(aggregates=aggregates), read_at=read_at)
        return Outcome(readings={Source.AGGREGATES: reading}, items={"aggregates": len(aggregates)})

    def _believe(self, aggregates: tuple[Aggregate, ...]) -> None:
        """Of aggregates and their hosts many may leave at once; a list that says so has to say it twice.

        Nobody else knows who is in an aggregate, so that no other source could contradict it.
        """
        now = frozenset(aggregate.id for aggregate in aggregates) | frozenset(
            host for aggregate in aggregates for host in aggregate.hosts
        )
        gone = self._before - now
        if is_at_scale(len(gone), len(self._before)) and gone != self._gone:
            self._gone = gone
            raise incomplete(
                f"nova: of {len(self._before)} aggregates and hosts in them {len(gone)} are gone at once:"
                " it is believed when the next list says the same"
            )
        self._before, self._gone = now, frozenset()
