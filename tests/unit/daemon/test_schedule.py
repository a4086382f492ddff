"""Jobs run when they are due, also on a machine whose clock is set back."""

import threading
from collections.abc import Iterator

import pytest
from standing import Clock

from spotd.daemon.schedule import LATE_SECONDS, Schedule

PATIENCE_SECONDS = 10.0
HOUR_SECONDS = 3600.0


class NoRecorder:
    """Looks away."""

    def job_ran(self, job: str) -> None: ...

    def job_missed(self, job: str) -> None: ...

    def collection_missed(self, reason: str) -> None: ...


class Runs:
    """Counts the runs of a job."""

    def __init__(self) -> None:
        self._ran = threading.Semaphore(0)

    def __call__(self) -> None:
        self._ran.release()

    def one_came(self, seconds: float = PATIENCE_SECONDS) -> bool:
        return self._ran.acquire(timeout=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def schedule(clock: Clock) -> Iterator[Schedule]:
    schedule = Schedule(NoRecorder(), clock)
    yield schedule
    schedule.stop()


@pytest.fixture
def runs(schedule: Schedule) -> Runs:
    """Of a job that ran just now and is due again in an hour."""
    runs = Runs()
    schedule.every(HOUR_SECONDS, "job", runs, at_once=True)
    schedule.start()
    assert runs.one_came()
    return runs


def test_a_job_does_not_wait_for_a_clock_that_was_set_back(
    schedule: Schedule, clock: Clock, runs: Runs
) -> None:
    clock.move(-HOUR_SECONDS)
    clock.seconds += HOUR_SECONDS

    schedule.follow_clock()

    assert runs.one_came()


@pytest.mark.parametrize(
    "wall_seconds",
    [
        pytest.param(HOUR_SECONDS, id="as much as the monotonic clock"),
        pytest.param(2 * HOUR_SECONDS, id="set ahead"),
        pytest.param(HOUR_SECONDS - LATE_SECONDS, id="set back by what counts as in time"),
    ],
)
def test_another_move_of_the_clock_calls_no_job(
    schedule: Schedule, clock: Clock, runs: Runs, wall_seconds: float
) -> None:
    clock.move(wall_seconds)
    clock.seconds += HOUR_SECONDS - wall_seconds

    schedule.follow_clock()

    assert not runs.one_came(0.3)


def test_small_steps_back_add_up(schedule: Schedule, clock: Clock, runs: Runs) -> None:
    for _ in range(900):
        clock.seconds += HOUR_SECONDS / 900
        schedule.follow_clock()

    assert runs.one_came()


def test_the_clock_is_watched_while_jobs_run(clock: Clock, runs: Runs) -> None:
    clock.seconds += HOUR_SECONDS

    assert runs.one_came()
