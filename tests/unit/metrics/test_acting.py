"""What spotd tells of deciding and acting."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from fleets import FleetBuilder
from prometheus_client import CollectorRegistry

from spotd.fleet.readings import Source
from spotd.metrics.acting_own import ActingState
from spotd.metrics.own import Metrics
from spotd.planning.load import parse_rules
from spotd.planning.plan import Plan
from spotd.planning.planner import make_plan
from spotd.planning.refusals import Code
from spotd.store.records import MoveOrder, MovePlace, MoveRecord, MoveState
from spotd.web.scrape import Scrape

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
LEND = "rules: [{name: lend, from: [ondemand], to: spot, when: from.free_hosts > 0}]"
WAITS = LEND.replace("when:", "for: 10m, when:")
ROUTE = {"origin_pool": "ondemand", "destination_pool": "spot"}
STATE = ActingState(
    is_leader=True, is_frozen=False, frozen_since=None, moves_in_progress=0, stranded=0, journal_up=True
)


@dataclass
class FixedClock:
    wall: datetime = NOW

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return 0.0


def make_metrics(state: ActingState | None = STATE) -> Metrics:
    return Metrics(CollectorRegistry(), lambda: None, FixedClock(), acting_state=lambda: state)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def exposed(metrics: Metrics) -> str:
    return Scrape(metrics).answer().body.decode()


def two_hosts() -> FleetBuilder:
    """A busy host and a free one."""
    return (
        FleetBuilder()
        .host("busy", "H100-n3", servers=(8,), netbox="active")
        .host("free", "H100-n3", netbox="active")
        .host("lent", "H100-n3-spot", netbox="active")
    )


def plan_of(rules: str, fleet: FleetBuilder | None = None, *, after: Plan | None = None) -> Plan:
    states = {} if after is None else after.rule_states
    now = NOW if after is None else after.made_at + timedelta(minutes=2)
    return make_plan(parse_rules(rules), (fleet or two_hosts()).snapshot(), (), now, states)


def ended(state: MoveState = MoveState.DONE, *, rule: str | None = "lend", seconds: int = 40) -> MoveRecord:
    order = MoveOrder(
        host="free",
        origin=MovePlace(id=1, uuid="u", name="H100-n3", pool="ondemand"),
        destination=MovePlace(id=2, uuid="v", name="H100-n3-spot", pool="spot"),
        gpu_type="H100",
        rule=rule,
        asked_by="rule lend" if rule else "cli root",
        reason="",
        drain_deadline=None,
    )
    return MoveRecord(
        id="0b5f4b5c-6e54-4a52-9c1f-6c4b5f0f3a11",
        number=1,
        order=order,
        state=state,
        asked_at=NOW,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=seconds),
        sentence="",
        code=None,
        service_id=None,
        fenced=True,
    )


def moves(metrics: Metrics, outcome: str, rule: str = "lend") -> float | None:
    return value(metrics, "spotd_moves_total", rule=rule, outcome=outcome, **ROUTE)


def test_without_a_journal_nothing_is_told_of_acting() -> None:
    metrics = make_metrics(state=None)
    metrics.rules_loaded(True, "active")
    metrics.planned(plan_of(LEND), {"lend": 3})

    text = exposed(metrics)

    assert not [name for name in ("spotd_rule", "spotd_plan", "spotd_move", "spotd_leader") if name in text]


def test_without_rules_there_are_no_series_of_rules() -> None:
    text = exposed(make_metrics())

    assert "spotd_leader 1.0" in text
    assert 'rule="' not in text
    assert "spotd_rules_info{" not in text


def test_what_is_unknown_of_the_standing_is_left_out() -> None:
    unknown = replace(
        STATE, is_leader=False, is_frozen=None, moves_in_progress=None, stranded=None, journal_up=False
    )

    metrics = make_metrics(unknown)

    assert value(metrics, "spotd_leader") == 0
    assert value(metrics, "spotd_journal_up") == 0
    for name in ("spotd_frozen", "spotd_moves_in_progress", "spotd_hosts_stranded"):
        assert value(metrics, name) is None


def test_a_freeze_tells_since_when() -> None:
    metrics = make_metrics(replace(STATE, is_frozen=True, frozen_since=NOW))

    assert value(metrics, "spotd_frozen") == 1
    assert value(metrics, "spotd_frozen_since_timestamp_seconds") == NOW.timestamp()


def test_a_move_that_ends_is_counted_and_timed() -> None:
    metrics = make_metrics()

    metrics.move_ended(ended())

    assert moves(metrics, "done") == 1
    assert [moves(metrics, other) for other in ("undone", "refused", "stranded")] == [0, 0, 0]
    assert value(metrics, "spotd_move_duration_seconds_sum", outcome="done") == 40


def test_a_move_that_a_person_asked_for_has_no_rule() -> None:
    metrics = make_metrics()

    metrics.move_ended(ended(rule=None))

    assert moves(metrics, "done", rule="(manual)") == 1


def test_a_move_refused_before_it_began_has_no_duration() -> None:
    metrics = make_metrics()

    metrics.move_ended(replace(ended(MoveState.REFUSED), started_at=None))

    assert moves(metrics, "refused") == 1
    assert value(metrics, "spotd_move_duration_seconds_count", outcome="refused") == 0


def test_the_counters_of_a_move_stand_at_zero_before_it_ends() -> None:
    metrics = make_metrics()

    metrics.move_stepped(ended(MoveState.RUNNING), "claim", "do", "done", 0.1)

    assert moves(metrics, "done") == 0
    assert moves(metrics, "stranded") == 0


def test_a_planned_move_has_its_counters_at_zero() -> None:
    metrics = make_metrics()

    metrics.planned(plan_of(LEND), {"lend": 3})

    assert moves(metrics, "done") == 0


@pytest.mark.parametrize(("phase", "label"), [("do", "leave"), ("undo", "undo")])
def test_a_step_is_timed_and_every_step_back_is_undo(phase: str, label: str) -> None:
    metrics = make_metrics()

    metrics.move_stepped(ended(), "leave", phase, "done", 0.2)

    assert value(metrics, "spotd_move_step_duration_seconds_count", step=label) == 1
    assert value(metrics, "spotd_move_step_duration_seconds_sum", step=label) == 0.2


def test_the_last_moves_of_a_bucket_are_named_in_openmetrics_only() -> None:
    metrics = make_metrics()
    metrics.move_ended(ended())
    scrape = Scrape(metrics)

    lines = scrape.answer("application/openmetrics-text; version=1.0.0").body.decode().splitlines()

    named = [line for line in lines if "# {" in line]
    assert len(named) == 1
    assert named[0].startswith('spotd_move_duration_seconds_bucket{le="45.0",outcome="done"} 1.0 # ')
    assert '{move_id="0b5f4b5c-6e54-4a52-9c1f-6c4b5f0f3a11"} 40.0' in named[0]
    assert lines[-1] == "# EOF"
    assert "move_id" not in exposed(metrics)


FAILS = "rules: [{name: lend, from: [ondemand], to: spot, when: 1 / (from.free_hosts - 1) > 0}]"


def test_the_errors_of_a_rule_are_counted_from_zero_on() -> None:
    metrics = make_metrics()

    metrics.planned(plan_of(LEND), {"lend": 3})
    before = value(metrics, "spotd_rule_errors_total", rule="lend")
    for _ in range(2):
        metrics.planned(plan_of(FAILS), {"lend": 3})

    assert (before, value(metrics, "spotd_rule_errors_total", rule="lend")) == (0, 2)
    assert value(metrics, "spotd_plan_refusals", rule="lend", reason="rule_failed") == 2


def test_a_rule_that_left_the_file_takes_its_errors_along() -> None:
    metrics = make_metrics()
    metrics.planned(plan_of(FAILS), {"lend": 3})

    metrics.planned(plan_of(FAILS.replace("lend", "other")), {"other": 3})

    assert value(metrics, "spotd_rule_errors_total", rule="lend") is None


def test_rules_that_are_refused_leave_the_mode_and_the_time_of_the_old_ones() -> None:
    metrics = make_metrics()

    metrics.rules_loaded(True, "active")
    metrics.rules_loaded(False, None)

    assert value(metrics, "spotd_rules_last_reload_successful") == 0
    assert value(metrics, "spotd_rules_info", mode="active") == 1
    assert value(metrics, "spotd_rules_last_reload_success_timestamp_seconds") == NOW.timestamp()


def test_a_new_mode_takes_the_place_of_the_old_one() -> None:
    metrics = make_metrics()

    metrics.rules_loaded(True, "dry-run")
    metrics.rules_loaded(True, "active")

    assert value(metrics, "spotd_rules_info", mode="active") == 1
    assert value(metrics, "spotd_rules_info", mode="dry-run") is None


def test_a_plan_tells_its_moves_its_refusals_and_what_is_left() -> None:
    metrics = make_metrics()

    metrics.planned(plan_of(LEND), {"lend": 3})

    assert value(metrics, "spotd_plan_moves", rule="lend") == 1
    assert value(metrics, "spotd_plan_refusals", rule="lend", reason="servers_present") == 1
    assert value(metrics, "spotd_plan_refusals", rule="lend", reason="out_of_scope") is None
    assert value(metrics, "spotd_plan_timestamp_seconds") == NOW.timestamp()
    assert value(metrics, "spotd_budget_remaining", rule="lend") == 3


def test_what_stops_a_rule_is_told_for_each_host_in_its_scope() -> None:
    metrics = make_metrics()

    metrics.planned(plan_of(WAITS), {"lend": 3})

    assert value(metrics, "spotd_plan_moves", rule="lend") == 0
    assert value(metrics, "spotd_plan_refusals", rule="lend", reason="condition_pending") == 2


def test_a_rule_that_waits_tells_for_how_long() -> None:
    metrics, labels = make_metrics(), {"rule": "lend", "gpu_type": "H100"}
    first = plan_of(WAITS)

    metrics.planned(plan_of(WAITS, after=first), {"lend": 3})

    assert value(metrics, "spotd_rule_condition", **labels) == 1
    assert value(metrics, "spotd_rule_acting", **labels) == 0
    assert value(metrics, "spotd_rule_pending_seconds", **labels) == 120


def test_a_rule_that_acts_waits_no_more() -> None:
    metrics, labels = make_metrics(), {"rule": "lend", "gpu_type": "H100"}
    first = plan_of(LEND)

    metrics.planned(plan_of(LEND, after=first), {"lend": 3})

    assert value(metrics, "spotd_rule_acting", **labels) == 1
    assert value(metrics, "spotd_rule_pending_seconds", **labels) == 0


@pytest.mark.parametrize(
    ("fleet", "condition"),
    [(FleetBuilder().host("b", "H100-n3", servers=(8,), netbox="active"), 0), (two_hosts(), 1)],
)
def test_a_condition_is_zero_or_one(fleet: FleetBuilder, condition: float) -> None:
    metrics = make_metrics()

    metrics.planned(plan_of(LEND, fleet), {"lend": 3})

    assert value(metrics, "spotd_rule_condition", rule="lend", gpu_type="H100") == condition


def test_an_unknown_condition_has_no_series() -> None:
    metrics = make_metrics()

    metrics.planned(plan_of(LEND, two_hosts().without(Source.SERVERS)), {"lend": 3})

    assert value(metrics, "spotd_rule_condition", rule="lend", gpu_type="H100") is None
    assert value(metrics, "spotd_rule_acting", rule="lend", gpu_type="H100") == 0


def test_decisions_of_a_rule_stand_at_zero_before_the_first() -> None:
    metrics = make_metrics()

    metrics.planned(plan_of(LEND), {"lend": 3})
    metrics.decided("lend", "refuse", "cooldown", 2)

    assert decisions(metrics, "cooldown") == 2
    assert {decisions(metrics, code) for code in _codes() - {"cooldown"}} == {0}
    assert value(metrics, "spotd_decisions_total", rule="lend", decision="move", reason="move") == 0


def test_a_rule_that_left_the_file_leaves_no_series() -> None:
    metrics = make_metrics()
    metrics.planned(plan_of(LEND), {"lend": 3})
    metrics.decided("lend", "move", "move")
    metrics.move_ended(ended())
    metrics.move_ended(ended(rule=None))

    metrics.planned(plan_of(LEND.replace("lend", "share")), {"share": 3})

    text = exposed(metrics)
    assert 'rule="lend"' not in text
    assert 'rule="share"' in text
    assert moves(metrics, "done", rule="(manual)") == 1


def test_a_rule_that_comes_back_counts_from_zero() -> None:
    metrics = make_metrics()
    metrics.planned(plan_of(LEND), {"lend": 3})
    metrics.move_ended(ended())
    metrics.planned(plan_of("rules: []"), {})

    metrics.planned(plan_of(LEND), {"lend": 3})

    assert moves(metrics, "done") == 0


def test_a_cycle_is_counted_by_what_it_came_to() -> None:
    metrics = make_metrics()

    metrics.cycle_ended("moved", 0.25)

    assert value(metrics, "spotd_rebalance_cycles_total", outcome="moved") == 1
    assert value(metrics, "spotd_rebalance_cycles_total", outcome="failed") == 0
    assert value(metrics, "spotd_rebalance_duration_seconds") == 0.25


def decisions(metrics: Metrics, code: str) -> float | None:
    return value(metrics, "spotd_decisions_total", rule="lend", decision="refuse", reason=code)


def _codes() -> set[str]:
    return {str(code) for code in Code} - {"out_of_scope"}
