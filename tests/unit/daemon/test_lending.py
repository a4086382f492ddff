"""A session that is lent is closed by whoever ends the last call."""

import pytest

from spotd.daemon.lending import Lending


@pytest.fixture
def closed() -> list[str]:
    return []


@pytest.fixture
def lending(closed: list[str]) -> Lending:
    return Lending(lambda: closed.append("closed"))


def test_nobody_in_a_call_lets_it_close_at_once(lending: Lending, closed: list[str]) -> None:
    lending.borrow()
    lending.give_back()

    before = list(closed)
    lending.retire()

    assert (before, closed) == ([], ["closed"])


def test_the_last_call_closes_it(lending: Lending, closed: list[str]) -> None:
    lending.borrow()
    lending.borrow()

    lending.retire()
    lending.give_back()
    after_the_first = list(closed)
    lending.give_back()

    assert (after_the_first, closed) == ([], ["closed"])


def test_it_is_over_when_the_last_call_is(lending: Lending) -> None:
    lending.borrow()
    lent = lending.is_over
    lending.retire()
    in_a_call = lending.is_over
    lending.give_back()

    assert (lent, in_a_call, lending.is_over) == (False, False, True)


def test_nothing_is_lent_once_it_is_retired(lending: Lending, closed: list[str]) -> None:
    lending.borrow()
    lending.retire()

    assert lending.borrow() is False
    lending.give_back()
    assert closed == ["closed"]
