"""Aggregates that leave in numbers have to leave twice: nobody else knows who is in one."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from standing import Clock

from spotd.agents.aggregates import AggregatesAgent
from spotd.clouds.errors import CloudError, Failure
from spotd.fleet.readings import Source
from spotd.fleet.values import Aggregate


@dataclass
class FakeNova:
    """Answers with what it is given."""

    found: tuple[Aggregate, ...] = field(default=())

    def aggregates(self) -> tuple[Aggregate, ...]:
        return self.found


def aggregate(number: int, *hosts: str) -> Aggregate:
    return Aggregate(id=number, uuid=f"u{number}", name=f"a{number}", hosts=hosts, metadata={})


ALL = tuple(aggregate(number, f"h{number}a", f"h{number}b") for number in range(4))
HALF = ALL[:2]
EMPTIED = tuple(aggregate(number) for number in range(4))
OTHER_HALF = ALL[2:]
ONE_LESS = (*ALL[:3], aggregate(3, "h3a"))


@pytest.fixture
def nova() -> FakeNova:
    return FakeNova(ALL)


@pytest.fixture
def agent(nova: FakeNova) -> AggregatesAgent:
    wanted: Any = nova
    agent = AggregatesAgent(wanted, Clock())
    agent.collect()
    return agent


def refused(agent: AggregatesAgent) -> Failure:
    with pytest.raises(CloudError) as caught:
        agent.collect()
    return caught.value.reason


def told(agent: AggregatesAgent) -> Any:
    value: Any = agent.collect().readings[Source.AGGREGATES].value
    return value.aggregates


@pytest.mark.parametrize("found", [HALF, EMPTIED])
def test_half_that_is_gone_at_once_is_believed_when_it_is_told_again(
    found: tuple[Aggregate, ...], nova: FakeNova, agent: AggregatesAgent
) -> None:
    nova.found = found

    assert Failure.INCOMPLETE == refused(agent)
    assert found == told(agent)


def test_half_that_is_back_was_never_gone(nova: FakeNova, agent: AggregatesAgent) -> None:
    nova.found = HALF
    refused(agent)
    nova.found = ALL

    assert ALL == told(agent)
    nova.found = HALF
    assert Failure.INCOMPLETE == refused(agent)


def test_another_half_is_another_story(nova: FakeNova, agent: AggregatesAgent) -> None:
    nova.found = HALF
    refused(agent)
    nova.found = OTHER_HALF

    assert Failure.INCOMPLETE == refused(agent)


def test_a_host_that_leaves_is_believed_at_once(nova: FakeNova, agent: AggregatesAgent) -> None:
    nova.found = ONE_LESS

    assert ONE_LESS == told(agent)


def test_an_empty_list_is_never_believed_where_there_were_aggregates(
    nova: FakeNova, agent: AggregatesAgent
) -> None:
    nova.found = ()

    assert [Failure.INCOMPLETE] * 2 == [refused(agent), refused(agent)]
