"""When what runs: collections each period, stored readings, the watchdog's sign of life."""

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor as JobThreads
from apscheduler.schedulers.background import BackgroundScheduler

from spotd.clock import Clock

COLLECT = "collect"

JITTER = 0.1
"""Part of the period by which collections are shifted, so that several daemons do not ask in step."""

LATE_SECONDS = 5
"""A job that comes later than this is counted as missed and waits for its next time."""

LOOK_SECONDS = 1.0
"""How often the wall clock is held against the monotonic one."""

log = structlog.get_logger(__name__)


class ScheduleRecorder(Protocol):
    """Is told what ran and what did not; the metrics implement it."""

    def job_ran(self, job: str) -> None:
        """The job ended well."""
        ...

    def job_missed(self, job: str) -> None:
        """The job was due and did not run."""
        ...

    def collection_missed(self, reason: str) -> None:
        """`overlapped`: the one before still ran; `late`: its time was over; `failed`: it raised."""
        ...


class Schedule:
    """Runs jobs in threads of its own; one job never runs twice at a time.

    Jobs are due by the wall clock. When that is set back, they are due as much earlier: else nothing would
    run until it has caught up.
    """

    def __init__(self, recorder: ScheduleRecorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._wall_ahead = self._wall_ahead_now()
        self._stopped = threading.Event()
        self._scheduler = BackgroundScheduler(
            executors={"default": JobThreads(max_workers=8)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": LATE_SECONDS},
            timezone="UTC",
        )
        self._scheduler.add_listener(
            self._heard, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        )

    def collect_every(self, period_seconds: float, collect: Callable[[], None]) -> None:
        """Collects at once and then each period."""
        self._scheduler.add_job(
            collect, "interval", id=COLLECT, next_run_time=datetime.now(UTC), **_interval(period_seconds)
        )

    def every(self, seconds: float, name: str, job: Callable[[], None], *, at_once: bool = False) -> None:
        """Runs a job each so many seconds, first after so many, or at once."""
        first = {"next_run_time": datetime.now(UTC)} if at_once else {}
        self._scheduler.add_job(job, "interval", id=name, seconds=seconds, **first)

    def start(self) -> None:
        """Begins."""
        self._scheduler.start()
        threading.Thread(target=self._watch_clock, name="spotd clock watch", daemon=True).start()

    def change_period(self, period_seconds: float, *, at_once: bool) -> None:
        """Collects each so many seconds from now on; `at_once` also now."""
        self._scheduler.reschedule_job(COLLECT, trigger="interval", **_interval(period_seconds))
        if at_once:
            self._scheduler.modify_job(COLLECT, next_run_time=datetime.now(UTC))

    def stop(self) -> None:
        """Starts nothing more; what runs is not waited for."""
        self._stopped.set()
        self._scheduler.shutdown(wait=False)

    def follow_clock(self) -> None:
        """Moves what is due with a wall clock that was set back; a clock set ahead only makes jobs late."""
        ahead = self._wall_ahead_now()
        back = self._wall_ahead - ahead
        if back <= 0:
            self._wall_ahead = ahead
        elif back > LATE_SECONDS:
            self._wall_ahead = ahead
            log.warning("the clock was set back", seconds=round(back, 1))
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=job.next_run_time - timedelta(seconds=back))

    def _watch_clock(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.follow_clock()

    def _wall_ahead_now(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _heard(self, event: object) -> None:
        code, job = getattr(event, "code", 0), str(getattr(event, "job_id", ""))
        if code == EVENT_JOB_EXECUTED:
            self._recorder.job_ran(job)
        elif code == EVENT_JOB_ERROR:
            log.error("a job failed", job=job, exc_info=getattr(event, "exception", None))
            if job == COLLECT:
                self._recorder.collection_missed("failed")
        else:
            self._recorder.job_missed(job)
            if job == COLLECT:
                self._recorder.collection_missed("overlapped" if code == EVENT_JOB_MAX_INSTANCES else "late")


def _interval(period_seconds: float) -> dict[str, float]:
    jitter = period_seconds * JITTER * random.random()  # noqa: S311 - no secret
    return {"seconds": period_seconds, "jitter": jitter}
