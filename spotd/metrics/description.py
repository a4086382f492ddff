"""What a metric is called and means; the families that the collectors fill are made from it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

# NUL ends the input for Prometheus' parser, wherever it stands.
_UNSAFE = {0: "\N{REPLACEMENT CHARACTER}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One metric: its name as it is exposed, its type, its help and its label names."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    """One or more sentences: what is counted, its unit, and the source it comes from."""
    labels: tuple[str, ...] = ()

    def family(self) -> Metric:
        """An empty family of this name."""
        if self.kind == "histogram":
            return HistogramMetricFamily(self.name, self.help, labels=self.labels)
        if self.kind == "counter":
            return CounterMetricFamily(self.name, self.help, labels=self.labels)
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)


def gauge(name: str, help_text: str, *labels: str) -> Description:
    """A value that goes up and down."""
    return Description(name=name, kind="gauge", help=help_text, labels=labels)


def counter(name: str, help_text: str, *labels: str) -> Description:
    """A value that only grows while the process lives."""
    return Description(name=name, kind="counter", help=help_text, labels=labels)


def histogram(name: str, help_text: str, *labels: str) -> Description:
    """A distribution in buckets."""
    return Description(name=name, kind="histogram", help=help_text, labels=labels)


def label_value(value: object) -> str:
    """Any text as a label value that every parser of the exposition takes; None becomes the empty label.

    Nothing is cut: two long names that differ at their end stay two series. Lone surrogates, which JSON
    may hold and UTF-8 may not, and NUL become replacement characters.
    """
    text = "" if value is None else str(value)
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").translate(_UNSAFE)


@dataclass(slots=True)
class Series:
    """The series of one family while it is filled: an unknown value is left out, a second one dropped."""

    description: Description
    duplicates: int = 0
    """How many samples were dropped because their labels were there before."""
    _samples: dict[tuple[str, ...], float] = field(default_factory=dict)

    def add(self, value: float | None, *labels: object) -> None:
        """Adds one sample; None is unknown and adds nothing."""
        if value is None:
            return
        key = tuple(map(label_value, labels))
        if key in self._samples:
            self.duplicates += 1
            return
        self._samples[key] = value

    def family(self) -> Metric:
        """The filled family."""
        family = self.description.family()
        for labels, value in self._samples.items():
            family.add_metric(labels, value)  # type: ignore[attr-defined]
        return family


def filled(description: Description, samples: Iterable[tuple[object, ...]]) -> Metric:
    """A family from rows of value and labels; rows whose value is None are left out."""
    series = Series(description)
    for value, *labels in samples:
        series.add(value, *labels)  # type: ignore[arg-type]
    return series.family()
