"""What is told of requests: those that spotd sends to clouds and those that it answers."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from spotd.metrics import own_names as names
from spotd.metrics.agents_own import FAILURE_REASONS
from spotd.metrics.counting import collected, counter_of, histogram_of, one_of

CLOUD_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""A small list takes 50 ms, a page of 1,000 servers 5 to 30 s, and timeouts end at 30 and 90 s."""
HTTP_BUCKETS_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""A page takes some ms, a scrape of a large fleet tens of them."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"})
"""HTTP methods that get a label of their own."""
REFUSED_REASONS = frozenset(
    {"address", "connections", "descriptors", "error", "malformed", "slow", "tls", "other"}
)
"""Why a connection or a request ended before it was handled."""
SHORTEST_STATUS, LONGEST_STATUS = 100, 599


def status_or_failure(code: str) -> str:
    """An HTTP status or a word of the closed set; anything else is `other`."""
    if code.isascii() and code.isdigit() and SHORTEST_STATUS <= int(code) <= LONGEST_STATUS:
        return code
    return one_of(code, FAILURE_REASONS)


class CloudMetrics:
    """Counts requests to clouds; services and operations are words of the code, never of an answer."""

    def __init__(self) -> None:
        self._seconds = histogram_of(names.CLOUD_DURATION, CLOUD_BUCKETS_SECONDS)
        self._requests = counter_of(names.CLOUD_REQUESTS)
        self._bytes = counter_of(names.CLOUD_BYTES)

    def answered(self, service: str, operation: str, code: str, seconds: float, received_bytes: int) -> None:
        """A request ended, with an HTTP status or with a failure."""
        self._seconds.labels(service, operation).observe(seconds)
        self._requests.labels(service, operation, status_or_failure(code)).inc()
        self._bytes.labels(service, operation).inc(received_bytes)

    def collect(self) -> Iterator[Metric]:
        """The families; none before the first request."""
        yield from collected(self._seconds, self._requests, self._bytes)


class HttpMetrics:
    """Counts requests that spotd answered; routes are templates, never paths."""

    def __init__(self) -> None:
        self._requests = counter_of(names.HTTP_REQUESTS)
        self._refused = counter_of(names.HTTP_REFUSED)
        for reason in REFUSED_REASONS:
            self._refused.labels(reason)
        self._seconds = histogram_of(names.HTTP_DURATION, HTTP_BUCKETS_SECONDS)

    def answered(self, route: str, method: str, code: int, seconds: float) -> None:
        """An answer was sent."""
        method = one_of(method, METHODS)
        self._requests.labels(route, method, status_or_failure(str(code))).inc()
        self._seconds.labels(route, method).observe(seconds)

    def refused(self, reason: str) -> None:
        """A connection or a request ended before it was handled."""
        self._refused.labels(one_of(reason, REFUSED_REASONS)).inc()

    def collect(self) -> Iterator[Metric]:
        """The families; no request before the first."""
        yield from collected(self._requests, self._refused, self._seconds)
