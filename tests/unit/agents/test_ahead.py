"""A question asked ahead keeps the deadline of whoever asked."""

import pytest

from spotd.agents.ahead import AHEAD_SECONDS, Ahead
from spotd.clouds.transport import calling, remaining_seconds


@pytest.mark.parametrize("seconds", [20.0, 600.0])
def test_the_deadline_is_the_askers(seconds: float) -> None:
    """Shorter than its own, and longer."""
    with calling("agent", "servers", seconds):
        left = Ahead(remaining_seconds, "question").answer()

    assert left is not None
    assert seconds - 5 < left <= seconds


def test_without_a_deadline_it_has_its_own() -> None:
    left = Ahead(remaining_seconds, "question").answer()

    assert left is not None
    assert AHEAD_SECONDS - 5 < left <= AHEAD_SECONDS


def test_what_asking_raised_is_raised_where_the_answer_is_wanted() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Ahead(fail, "question").answer()
