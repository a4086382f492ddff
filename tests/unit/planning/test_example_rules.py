"""deploy/rules.example.yml does what it says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fleets import FleetBuilder

from spotd.fleet.readings import Source
from spotd.planning.load import load_rules
from spotd.planning.plan import Plan, RuleKey
from spotd.planning.planner import make_plan
from spotd.planning.rules import Rules
from spotd.planning.search import search

if TYPE_CHECKING:
    from spotd.planning.states import RuleState

EXAMPLE = Path(__file__).parents[3] / "deploy" / "rules.example.yml"
TUESDAY_NOON = datetime(2030, 1, 8, 11, 0, tzinfo=UTC)
TUESDAY_EVENING = datetime(2030, 1, 8, 19, 0, tzinfo=UTC)
SATURDAY_NOON = datetime(2030, 1, 12, 11, 0, tzinfo=UTC)
MONDAY_MORNING = datetime(2030, 1, 14, 7, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load_rules(EXAMPLE)


def fleet(idle: int, *, busy: int = 0, spot: int = 0, spot_busy: int = 0, linked: int = 0) -> FleetBuilder:
    """Hosts by what they are; `linked` ones are idle on-demand hosts with NVLink."""
    builder = FleetBuilder().aggregate("H100-n3").aggregate("H100-n3-spot")
    places = (("od", idle, 0), ("busy", busy, 8), ("sp", spot, 0), ("sb", spot_busy, 8), ("nv", linked, 0))
    for prefix, hosts, used in places:
        aggregate = {"sp": "H100-n3-spot", "sb": "H100-n3-spot", "nv": "H100-n3-NVLink"}.get(
            prefix, "H100-n3"
        )
        for number in range(hosts):
            name = f"{prefix}{number}"
            builder.host(name, aggregate, servers=(used,) if used else ())
            builder.device(name, nvlink=prefix == "nv", rack=f"r{number % 3}")
    return builder


def plan_at(rules: Rules, builder: FleetBuilder, when: datetime) -> Plan:
    """The plan once the rules have held for a quarter of an hour."""
    states: dict[RuleKey, RuleState] = {}
    for source in Source:
        builder.read(source, when)
    for minutes in (15, 12, 9, 6, 3, 0):
        plan = make_plan(rules, builder.snapshot(), (), when - timedelta(minutes=minutes), states)
        states = dict(plan.rule_states)
    return plan


def moved(plan: Plan) -> list[tuple[str, str]]:
    return [(move.rule, move.host) for move in plan.moves]


def test_loads_as_a_dry_run_in_which_the_search_finds_nothing(rules: Rules) -> None:
    assert rules.mode == "dry-run"
    assert search(rules) == ()


def test_lends_idle_hosts_in_the_evening_and_keeps_four(rules: Rules) -> None:
    plan = plan_at(rules, fleet(7, busy=3), TUESDAY_EVENING)

    assert moved(plan) == [("lend-evenings", "od0"), ("lend-evenings", "od1"), ("lend-evenings", "od2")]


def test_lends_nothing_at_noon(rules: Rules) -> None:
    assert moved(plan_at(rules, fleet(9, busy=3), TUESDAY_NOON)) == []


def test_lends_more_at_the_weekend_while_spot_is_busy(rules: Rules) -> None:
    assert len(moved(plan_at(rules, fleet(6, busy=2, spot_busy=4), SATURDAY_NOON))) == 3


def test_lends_no_more_on_monday_morning(rules: Rules) -> None:
    assert moved(plan_at(rules, fleet(9, busy=2, spot_busy=4), MONDAY_MORNING)) == []


@pytest.mark.parametrize("when", [TUESDAY_NOON, TUESDAY_EVENING, SATURDAY_NOON])
def test_takes_empty_spot_hosts_back_before_on_demand_runs_dry(rules: Rules, when: datetime) -> None:
    plan = plan_at(rules, fleet(1, busy=9, spot=3, spot_busy=2), when)

    assert moved(plan) == [("take-back-for-ondemand", "sp0"), ("take-back-for-ondemand", "sp1")]


def test_leaves_spot_hosts_with_servers_where_they_are(rules: Rules) -> None:
    assert moved(plan_at(rules, fleet(0, busy=9, spot_busy=4), TUESDAY_NOON)) == []


@pytest.mark.parametrize("when", [TUESDAY_EVENING, SATURDAY_NOON])
def test_nvlink_hosts_stay_at_home(rules: Rules, when: datetime) -> None:
    plan = plan_at(rules, fleet(8, spot_busy=4, linked=6), when)

    assert plan.moves
    assert not [host for _, host in moved(plan) if host.startswith("nv")]


def test_nothing_moves_at_christmas(rules: Rules) -> None:
    assert moved(plan_at(rules, fleet(9), datetime(2026, 12, 24, 19, tzinfo=UTC))) == []
