"""What waits goes by the time that passed, however often and however far the clock is set."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from moving import order
from standing import START, Clock

from spotd.daemon.steps import MOST_STEPS, ClockSteps, set_ahead
from spotd.planning.states import RuleState
from spotd.store.records import MoveRecord, MoveState

SECOND = timedelta(seconds=1)
RECORD = MoveRecord(
    id="1",
    number=1,
    order=order("gpu-1"),
    state=MoveState.DONE,
    asked_at=START,
    started_at=START,
    finished_at=START,
    sentence="",
    code=None,
    service_id=None,
    fenced=True,
)
seconds = st.integers(1, 400)
sets = st.integers(-90_000, 90_000)


@given(st.lists(st.tuples(seconds, sets), max_size=8), st.lists(st.tuples(seconds, sets), max_size=8))
def test_a_move_never_seems_longer_ago_than_it_is(
    earlier: list[tuple[int, int]], later: list[tuple[int, int]]
) -> None:
    clock = Clock()
    steps = ClockSteps(clock)
    for passed, step in earlier:
        clock.move(passed)
        clock.time += step * SECOND
        steps.look(clock.now())
    record = replace(RECORD, asked_at=clock.now(), started_at=clock.now(), finished_at=clock.now())
    passed_since = 0
    for passed, step in later:
        clock.move(passed)
        passed_since += passed
        clock.time += step * SECOND
        steps.look(clock.now())

    finished_at = steps.steady(record).finished_at

    assert finished_at is not None
    assert clock.now() - finished_at <= passed_since * SECOND


@given(st.lists(st.tuples(seconds, sets), min_size=1, max_size=8))
def test_a_rule_has_held_for_exactly_as_long_as_it_has(story: list[tuple[int, int]]) -> None:
    clock = Clock()
    steps, state = ClockSteps(clock), RuleState(since=START, seen_at=START)
    for passed, step in story:
        clock.move(passed)
        clock.time += step * SECOND
        state = set_ahead(state, steps.look(clock.now()))

    assert state.since is not None
    assert abs(clock.now() - state.since - sum(passed for passed, _ in story) * SECOND) < SECOND


def test_small_steps_add_up() -> None:
    clock = Clock()
    steps = ClockSteps(clock)

    for _ in range(100):
        clock.time += timedelta(milliseconds=20)
        steps.look(clock.now())

    assert timedelta(seconds=1.9) <= steps.ahead <= timedelta(seconds=2)


def test_very_many_steps_are_kept_as_few() -> None:
    clock = Clock()
    steps = ClockSteps(clock)

    for _ in range(10 * MOST_STEPS):
        clock.move(10)
        clock.time += SECOND
        steps.look(clock.now())

    assert len(steps._steps) == MOST_STEPS
    assert steps.ahead == 10 * MOST_STEPS * SECOND
    assert steps.steady(RECORD).started_at == START + steps.ahead
