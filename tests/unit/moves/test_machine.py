"""The search over everything at once, and the proof that it finds what is to be found."""

import os
import sys
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from moving_machine import Counts, MovesMachine

from spotd.moves.forward import Forward
from spotd.moves.hands import Hands
from spotd.moves.waits import Waits

STEPS = 10_000
RULES_OF_ONE = 50
COMMON: dict[str, Any] = {
    "stateful_step_count": RULES_OF_ONE,
    "deadline": None,
    # Not shrunk, which takes minutes: the report has the seed and the steps.
    "phases": [Phase.generate],
    "database": None,
    "report_multiple_bugs": False,
    "suppress_health_check": list(HealthCheck),
    # The same search each time, so that a red run is the change's doing; a new one where that is asked for.
    "derandomize": not os.environ.get("SPOTD_TEST_NEW_SEARCH"),
}


@pytest.fixture(autouse=True)
def _without_logs() -> Any:
    """Thousands of moves would fill the report."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_holds_over_ten_thousand_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """A step is one rule that was run and looked at; the calls within its move are not counted."""
    began = Counts.rules, Counts.moves, Counts.calls
    search = settings(max_examples=STEPS // 40, **COMMON)

    while Counts.rules - began[0] < STEPS:
        run_state_machine_as_test(MovesMachine, settings=search)

    rules, moves, calls = Counts.rules - began[0], Counts.moves - began[1], Counts.calls - began[2]
    with capsys.disabled():
        sys.stdout.write(f"\n{rules} steps, in them {moves} moves with {calls} calls\n")
    assert moves > STEPS // 50


def without_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is left open while it moves."""
    for name in ("fence", "_require_fence", "_wait_for_trait"):
        monkeypatch.setattr(Forward, name, lambda *_: None)


def without_the_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host moves after the settle time, whoever is on it."""
    monkeypatch.setattr(Forward, "prove", lambda _: None)


def without_ownership(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closed the host, spotd opens it."""
    monkeypatch.setattr(Hands, "owns", lambda _, service: service.status == "disabled")


def without_verifying(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 200 is believed."""
    monkeypatch.setattr(Forward, "verify", lambda _: None)


def without_the_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read as not done is taken for not done for ever."""
    monkeypatch.setattr(Waits, "is_quiet", lambda *_: True)


def without_a_look_at_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote the journal sends, however long it slept meanwhile."""
    monkeypatch.setattr(Hands, "_require_lease", lambda *_: None)


@pytest.mark.thorough
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "mutation",
    [
        without_the_fence,
        without_the_proofs,
        without_ownership,
        without_verifying,
        without_the_quiet,
        without_a_look_at_the_lease,
    ],
)
def test_finds_what_is_wrong_with_a_mutant(mutation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search can fail: it takes out one safeguard and sees an invariant break."""
    mutation(monkeypatch)
    search = settings(max_examples=1500, **COMMON)

    with pytest.raises(AssertionError, match=r"gpu-\d"):
        run_state_machine_as_test(MovesMachine, settings=search)
