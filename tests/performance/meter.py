"""What an act costs this process: requests, bytes, time, CPU and memory."""

import os
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one act; memory is the whole process's."""

    requests: int
    received_bytes: int
    wall_seconds: float
    cpu_seconds: float
    """Of this process alone, all its threads."""
    peak_bytes: int
    """The most that the process ever held."""
    resident_bytes: int
    """What it holds after the act."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Meter:
    """Counts answers and measures acts; answers may come from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: list[int] = []

    def answered(self, received_bytes: int) -> None:
        with self._lock:
            self._answers.append(received_bytes)

    def observe(self, _service: str, _operation: str, _code: str, _seconds: float, received: int) -> None:
        """Takes spotd's own reports of its requests."""
        self.answered(received)

    def measure(self, act: Callable[[], object]) -> Cost:
        with self._lock:
            self._answers.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        act()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        with self._lock:
            return Cost(
                requests=len(self._answers),
                received_bytes=sum(self._answers),
                wall_seconds=wall,
                cpu_seconds=cpu,
                peak_bytes=peak_bytes(),
                resident_bytes=resident_bytes(),
            )


def median_cost(costs: Iterable[Cost]) -> Cost:
    """The median of each number."""
    known = list(costs)

    def median(name: str) -> Any:
        return statistics.median_high(getattr(cost, name) for cost in known)

    return Cost(**{name: median(name) for name in Cost.__slots__})


def peak_bytes() -> int:
    """The most memory that this process ever held; Linux tells it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes() -> int:
    """The memory that this process holds. Source: proc(5), statm."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
