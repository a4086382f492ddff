"""The thread-safe counters and histograms under the recorders, without what the exposition does not need."""

from collections.abc import Iterator, Sequence

from prometheus_client import Counter, Histogram
from prometheus_client.core import Metric

from spotd.metrics.description import Description


def counter_of(description: Description) -> Counter:
    """A counter that is in no registry: the recorder that owns it collects it."""
    return Counter(description.name, description.help, description.labels, registry=None)


def histogram_of(description: Description, buckets_seconds: Sequence[float]) -> Histogram:
    """A histogram that is in no registry: the recorder that owns it collects it."""
    return Histogram(
        description.name, description.help, description.labels, registry=None, buckets=buckets_seconds
    )


def collected(*instruments: Counter | Histogram) -> Iterator[Metric]:
    """The instruments' families without `_created`, which doubles the series and which Prometheus ignores."""
    for instrument in instruments:
        for family in instrument.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            if family.samples:
                yield family


def one_of(word: str, closed: frozenset[str]) -> str:
    """The word itself when it is in the closed set, else `other`: no label takes free text."""
    return word if word in closed else "other"
