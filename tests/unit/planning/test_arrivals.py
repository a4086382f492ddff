"""A host that a move is bringing counts where it goes: nobody is sent for it a second time."""

from datetime import timedelta

import pytest
from fleets import NOW, FleetBuilder

from spotd.fleet.readings import Source
from spotd.planning.load import parse_rules
from spotd.planning.plan import Plan
from spotd.planning.planner import make_plan
from spotd.planning.surroundings import RecentMove

A_MINUTE = timedelta(minutes=1)
FILL_SPOT = "- {name: fill, from: [ondemand], to: spot, when: to.free_hosts < 1}"
SPOT_ID = 2


def fleet(*, closed: tuple[str, ...] = ()) -> FleetBuilder:
    """Three idle hosts in on-demand, of which some are closed as a move closes them; none in spot."""
    builder = FleetBuilder().aggregate("H100-n3").aggregate("H100-n3-spot").unconfigured(Source.NETBOX)
    for name in ("a", "b", "c"):
        builder.host(name, "H100-n3", status="disabled" if name in closed else "enabled")
    return builder


def moving(
    host: str, *, to: int | None = SPOT_ID, began: timedelta = A_MINUTE, ended: timedelta | None = None
) -> RecentMove:
    return RecentMove(
        host=host,
        rule="fill",
        started_at=NOW - began,
        finished_at=None if ended is None else NOW - ended,
        destination_id=to,
    )


def plan_of(builder: FleetBuilder, *moves: RecentMove, rules: str = FILL_SPOT) -> Plan:
    snapshot = builder.snapshot()
    return make_plan(parse_rules(f"limits: {{cooldown: 0s}}\nrules:\n{rules}"), snapshot, moves, NOW, {})


def hosts_of(plan: Plan) -> list[str]:
    return [move.host for move in plan.moves]


def test_sends_one_host_where_nobody_is_under_way() -> None:
    """What the other tests are held against."""
    assert ["a"] == hosts_of(plan_of(fleet()))


def test_sends_nobody_where_one_is_under_way() -> None:
    """It is closed for its move, so that no pool counts it for sale."""
    plan = plan_of(fleet(closed=("a",)), moving("a"))

    assert [] == hosts_of(plan)
    assert {"to.free_hosts": 1} == plan.verdicts[0].facts


def test_sends_nobody_where_one_was_begun_after_the_snapshot() -> None:
    """The snapshot still has it for sale in its origin."""
    plan = plan_of(fleet(), moving("a"))

    assert [] == hosts_of(plan)


def test_sends_nobody_before_the_services_are_read_anew() -> None:
    """The move is over, and the reading from before it shows the host closed."""
    closed = fleet(closed=("a",)).read(Source.SERVICES, NOW - A_MINUTE)

    plan = plan_of(closed, moving("a", began=2 * A_MINUTE, ended=A_MINUTE / 2))

    assert [] == hosts_of(plan)


@pytest.mark.parametrize(
    ("closed", "move"),
    [
        pytest.param(("a",), moving("a", to=None), id="stranded, or going back"),
        pytest.param(("a",), moving("a", ended=A_MINUTE / 2), id="somebody closed it since"),
        pytest.param((), moving("gone"), id="a host that nobody knows any more"),
        pytest.param(("a",), moving("a", to=99), id="an aggregate that is gone"),
    ],
)
def test_counts_nobody_who_does_not_come(closed: tuple[str, ...], move: RecentMove) -> None:
    """What is read after the end of a move is believed."""
    plan = plan_of(fleet(closed=closed), move)

    assert 1 == len(plan.moves)


def test_counts_no_host_twice_that_is_in_its_destination() -> None:
    """The snapshot was corrected."""
    there = fleet(closed=("a",)).host("d", "H100-n3-spot")

    plan = plan_of(there, moving("d"), rules=FILL_SPOT.replace("< 1", "< 2"))

    assert {"to.free_hosts": 1} == plan.verdicts[0].facts


def test_keeps_hosts_that_are_there_not_those_that_are_to_come() -> None:
    """A move that is under way may be taken back."""
    rule = '- {name: out, from: [spot], to: runpod, when: "true", limits: {keep_hosts: 1}}'
    with_one = fleet(closed=("a",)).host("d", "H100-n3-spot").aggregate("H100-n3-runpod")

    assert [] == hosts_of(plan_of(with_one, moving("a"), rules=rule))
