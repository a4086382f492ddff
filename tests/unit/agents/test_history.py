"""Failures are remembered longer than successes, and neither without bound."""

from datetime import UTC, datetime, timedelta

from spotd.agents.history import FAILURES_KEPT, SUCCESSES_KEPT, History, PastRun
from spotd.agents.state import AgentName

START = datetime(2030, 1, 1, tzinfo=UTC)


def run(number: int, reason: str | None = None) -> PastRun:
    return PastRun(ended_at=START + timedelta(seconds=number), seconds=1.0, reason=reason, message=reason)


def test_a_failure_stays_while_successes_come_and_go() -> None:
    history = History()
    history.ended(AgentName.NETBOX, run(0, "timeout"))
    for number in range(1, 1000):
        history.ended(AgentName.NETBOX, run(number))

    assert [past.reason for past in history.failures(AgentName.NETBOX)] == ["timeout"]
    assert len(history.successes(AgentName.NETBOX)) == SUCCESSES_KEPT
    assert history.successes(AgentName.NETBOX)[0].ended_at == START + timedelta(seconds=999)


def test_failures_are_bounded_too_and_agents_do_not_share_them() -> None:
    history = History()
    for number in range(1000):
        history.ended(AgentName.NETBOX, run(number, "timeout"))

    assert len(history.failures(AgentName.NETBOX)) == FAILURES_KEPT
    assert history.failures(AgentName.GPUS) == ()
