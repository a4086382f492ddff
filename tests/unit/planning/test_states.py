"""`for` and `until`: when a rule begins to act, and when it stops."""

from datetime import UTC, datetime, timedelta

import pytest

from spotd.planning.states import IDLE, Condition, RuleState, Truth, step_rule

T, F, U = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN
NOW = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

STORIES = {
    "acts at once without for": (0, None, [(T, None)], [True]),
    "waits until it has held": (2, None, [(T, None)] * 4, [False, False, True, True]),
    "a false breaks the wait": (
        2, None, [(T, None), (T, None), (F, None), (T, None), (T, None)], [False, False, False, False, False],
    ),
    "an unknown breaks the wait": (
        2, None, [(T, None), (T, None), (U, None), (T, None), (T, None)], [False, False, False, False, False],
    ),
    "stops when false": (0, None, [(T, None), (F, None)], [True, False]),
    "stops when unknown": (0, None, [(T, None), (U, None)], [True, False]),
    "goes on between the thresholds": (
        0, F, [(T, F), (F, F), (F, F), (F, T), (F, F)], [True, True, True, False, False],
    ),
    "does not begin while until holds": (0, F, [(T, T), (T, F)], [False, True]),
    "an unknown until stops it": (0, F, [(T, F), (T, U)], [True, False]),
}  # fmt: skip


@pytest.mark.parametrize(("minutes", "until", "answers", "acts"), STORIES.values(), ids=STORIES)
def test_a_rule_acts(
    minutes: int, until: Truth | None, answers: list[tuple[Truth, Truth | None]], acts: list[bool]
) -> None:
    state, acted = IDLE, []

    for cycle, (when, end) in enumerate(answers):
        condition = Condition(when=when, until=end, hold=minutes * MINUTE)
        state = step_rule(state, condition, NOW + cycle * MINUTE)
        acted.append(state.is_active)

    assert acted == acts


def test_a_clock_set_back_does_not_make_it_wait_longer() -> None:
    state = RuleState(since=NOW + timedelta(hours=5))

    state = step_rule(state, Condition(when=T, hold=MINUTE), NOW)

    assert step_rule(state, Condition(when=T, hold=MINUTE), NOW + MINUTE).is_active


def test_time_in_which_nobody_looked_is_a_break() -> None:
    waits = Condition(when=T, hold=10 * MINUTE)
    state = step_rule(IDLE, waits, NOW, longest_gap=5 * MINUTE)

    state = step_rule(state, waits, NOW + 10 * MINUTE, longest_gap=5 * MINUTE)

    assert state == RuleState(since=NOW + 10 * MINUTE, seen_at=NOW + 10 * MINUTE)


def test_a_rule_that_acted_before_nobody_looked_has_to_wait_again() -> None:
    waits = Condition(when=T, hold=MINUTE)
    acts = RuleState(is_active=True, since=NOW, seen_at=NOW + MINUTE)

    assert step_rule(acts, waits, NOW + 6 * MINUTE, longest_gap=5 * MINUTE).is_active
    assert not step_rule(acts, waits, NOW + 7 * MINUTE, longest_gap=5 * MINUTE).is_active
