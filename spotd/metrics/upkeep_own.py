"""What is told of the parts that keep spotd going: cache, threads, scheduler, configuration, build."""

import platform
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import Metric

from spotd import __version__
from spotd.clock import Clock
from spotd.metrics import own_names as names
from spotd.metrics.counting import collected, counter_of
from spotd.metrics.description import filled

CacheState = Mapping[str, tuple[float | None, int | None]]
"""By layer: the age of its answer in seconds and the number of things in it; None where it is empty."""
PoolState = tuple[int, int, int]
"""Threads at most, threads at work, runs that wait for a thread."""


class CacheMetrics:
    """Counts requests to the layers and asks `state` for their ages and sizes."""

    def __init__(self, state: Callable[[], CacheState]) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()

    def requested(self, layer: str, *, hit: bool) -> None:
        """A layer was asked."""
        with self._lock:
            self._requests[layer] += 1
            self._hits[layer] += hit

    def counts(self, layer: str) -> tuple[int, int]:
        """Requests to the layer and hits in it since the start."""
        with self._lock:
            return self._requests[layer], self._hits[layer]

    def collect(self) -> Iterator[Metric]:
        """The families; the ratio is of the same moment as the two counters."""
        with self._lock:
            requests, hits = dict(self._requests), dict(self._hits)
        yield filled(names.CACHE_REQUESTS, ((number, layer) for layer, number in requests.items()))
        yield filled(names.CACHE_HITS, ((number, layer) for layer, number in hits.items()))
        ratios = ((hits[layer] / number, layer) for layer, number in requests.items())
        yield filled(names.CACHE_HIT_RATIO, ratios)
        state = self._state()
        yield filled(names.CACHE_AGE, ((age, layer) for layer, (age, _) in state.items()))
        yield filled(names.CACHE_ENTRIES, ((entries, layer) for layer, (_, entries) in state.items()))


class PoolMetrics:
    """Asks for the state of the thread pool; None is unknown."""

    def __init__(self, state: Callable[[], PoolState | None], abandoned: Callable[[], int | None]) -> None:
        self._state = state
        self._abandoned = abandoned

    def collect(self) -> Iterator[Metric]:
        """The families."""
        if (state := self._state()) is not None:
            described = (names.THREADS_MAX, names.THREADS_BUSY, names.THREADS_QUEUE)
            for description, value in zip(described, state, strict=True):
                yield filled(description, [(value,)])
        yield filled(names.ABANDONED_CALLS, [(self._abandoned(),)])


class UpkeepMetrics:
    """Counts scheduled jobs and remembers the last reload."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._runs = counter_of(names.JOB_RUNS)
        self._missed = counter_of(names.JOBS_MISSED)
        self._last_runs: dict[str, float] = {}
        self._reload: tuple[bool | None, float | None] = (None, None)
        self._build = filled(names.BUILD_INFO, [(1, __version__, platform.python_version())])

    def job_ran(self, job: str) -> None:
        """A scheduled job ended."""
        self._runs.labels(job).inc()
        self._missed.labels(job)
        with self._lock:
            self._last_runs[job] = self._clock.now().timestamp()

    def job_missed(self, job: str) -> None:
        """A job was due and not run."""
        self._missed.labels(job).inc()

    def reloaded(self, *, ok: bool) -> None:
        """The configuration was read, or refused and the old one kept."""
        with self._lock:
            self._reload = (ok, self._clock.now().timestamp() if ok else self._reload[1])

    def collect(self) -> Iterator[Metric]:
        """The families."""
        with self._lock:
            last_runs, (ok, ok_at) = dict(self._last_runs), self._reload
        yield from collected(self._runs, self._missed)
        yield filled(names.JOB_LAST_RUN, ((at, job) for job, at in last_runs.items()))
        yield filled(names.RELOAD_SUCCESSFUL, [(ok,)])
        yield filled(names.RELOAD_TIMESTAMP, [(ok_at,)])
        yield self._build
