"""Which hosts a plan moves, and in which order rules and hosts come."""

from dataclasses import replace
from datetime import timedelta

import pytest
from fleets import NOW, FleetBuilder, default_interpretation, gpu_flavor

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot, Pool
from spotd.planning.budgets import Budgets
from spotd.planning.load import parse_rules
from spotd.planning.order import in_order
from spotd.planning.plan import Plan
from spotd.planning.planner import make_plan
from spotd.planning.refusals import Code
from spotd.planning.surroundings import RecentMove, Standing, observe_empty, survey


def fleet(idle: int = 4, spot: int = 0, **fields: object) -> FleetBuilder:
    builder = FleetBuilder().aggregate("H100-n3").aggregate("H100-n3-spot").unconfigured(Source.NETBOX)
    for number in range(idle):
        builder.host(f"od{number}", "H100-n3", **fields)  # type: ignore[arg-type]
    for number in range(spot):
        builder.host(f"sp{number}", "H100-n3-spot", **fields)  # type: ignore[arg-type]
    return builder


def plan_of(text: str, snapshot: FleetSnapshot) -> Plan:
    return make_plan(parse_rules(f"rules:\n{text}"), snapshot, (), NOW, {})


def hosts_of(plan: Plan) -> list[str]:
    return [move.host for move in plan.moves]


def test_a_move_says_from_where_to_where_and_why() -> None:
    plan = plan_of("- {name: a, from: [ondemand], to: spot, when: from.free_hosts > 2}", fleet().snapshot())

    (move,) = plan.moves
    assert (move.host, move.rule, move.gpu_type) == ("od0", "a", "H100")
    assert (move.origin.name, move.origin.pool) == ("H100-n3", Pool.ONDEMAND)
    assert (move.destination.name, move.destination.uuid) == ("H100-n3-spot", "aggregate-2")
    assert move.reason == "from.free_hosts > 2 (from.free_hosts = 4)"
    assert move.drain_deadline is None


@pytest.mark.parametrize(
    ("count", "moved"),
    [
        ("count: 2", 2),
        ("count: from.free_hosts - 3", 1),
        ("count: 9", 3),
        ("count: 9, at_most: 1", 1),
        ("", 1),
    ],
)
def test_moves_as_many_as_it_should_and_stops_when_the_condition_does(count: str, moved: int) -> None:
    rule = f"- {{name: a, from: [ondemand], to: spot, when: from.free_hosts > 1, {count}}}"

    assert len(plan_of(rule, fleet().snapshot()).moves) == moved


def test_where_two_rules_want_a_host_the_first_takes_it() -> None:
    rules = (
        '- {name: a, from: [ondemand], to: spot, when: "true"}\n'
        '- {name: b, from: [ondemand], to: runpod, when: "true"}'
    )
    snapshot = fleet(1).aggregate("H100-n3-runpod").snapshot()

    plan = plan_of(rules, snapshot)

    assert [(move.host, move.rule) for move in plan.moves] == [("od0", "a")]
    refusal = plan.refusal("od0", "b")
    assert refusal is not None
    assert refusal.code is Code.TAKEN
    assert "rule a" in refusal.sentence


def test_no_move_that_another_rule_would_undo() -> None:
    rules = (
        '- {name: a, from: [ondemand], to: spot, when: "true", count: 9}\n'
        "- {name: b, from: [spot], to: ondemand, when: to.free_hosts < 3}"
    )

    plan = plan_of(rules, fleet(4).snapshot())

    assert len(plan.moves) == 1
    refusal = plan.refusal("od3", "a")
    assert refusal is not None
    assert refusal.code is Code.WOULD_BE_UNDONE


def test_a_rule_whose_window_is_closed_undoes_nothing() -> None:
    rules = (
        '- {name: a, from: [ondemand], to: spot, when: "true"}\n'
        '- {name: b, from: [spot], to: ondemand, when: "true", windows: [{cron: "0 6 * * *", for: 1h}]}'
    )

    assert len(plan_of(rules, fleet(1).snapshot()).moves) == 1


def test_a_rule_that_acts_until_its_other_threshold_would_undo_too() -> None:
    text = (
        'rules:\n- {name: a, from: [ondemand], to: spot, when: "true"}\n'
        "- {name: b, from: [spot], to: ondemand, when: to.free_hosts < 1, until: to.free_hosts > 5}"
    )
    rules, busy = parse_rules(text), fleet(0, spot=1).snapshot()
    before = make_plan(rules, busy, (), NOW, {})

    plan = make_plan(rules, fleet(3).snapshot(), (), NOW, before.rule_states)

    refusal = plan.refusal("od0", "a")
    assert refusal is not None
    assert refusal.code is Code.WOULD_BE_UNDONE


def test_each_gpu_type_is_decided_by_itself() -> None:
    builder = fleet(3).aggregate("A100-n3-spot")
    builder.host("a0", "A100-n3", gpu_type="A100")

    plan = plan_of("- {name: a, from: [ondemand], to: spot, when: from.free_hosts > 2}", builder.snapshot())

    assert [(verdict.gpu_type, verdict.state.is_active) for verdict in plan.verdicts] == [
        ("A100", False),
        ("H100", True),
    ]
    assert hosts_of(plan) == ["od0"]


def test_a_rule_takes_only_the_types_variants_sites_and_tenants_it_names() -> None:
    builder = FleetBuilder().aggregate("H100-n3-spot").aggregate("H100-n3-spot")
    for name, aggregate, site, tenant in (
        ("h1", "H100-n3-NVLink", "fra", "own"),
        ("h2", "H100-n3", "ams", "own"),
        ("h3", "H100-n3", "fra", "other"),
        ("h4", "H100-n3", "fra", "own"),
    ):
        builder.host(name, aggregate).device(name, site=site, tenant=tenant)
    rule = (
        "- {name: a, gpu_types: [h100, L40], variant: none, sites: [fra], tenants: [own], count: 9, "
        "from: [ondemand], to: spot, when: from.hosts > 0}"
    )

    plan = plan_of(rule, builder.snapshot())

    assert hosts_of(plan) == ["h4"]
    refusal = plan.refusal("h2", "a")
    assert refusal is not None
    assert refusal.sentence == (
        "the rule takes h100 and L40 hosts out of ondemand of variant none of sites fra of tenants own"
    )


def test_hosts_of_a_contract_go_back_only_to_that_contract() -> None:
    builder = fleet(2).aggregate("Contract-ACME-16xH100").aggregate("Contract-INITECH-16xH100")

    plan = plan_of(
        '- {name: a, from: [ondemand], to: contract, contract: INITECH, when: "true"}', builder.snapshot()
    )

    assert [move.destination.name for move in plan.moves] == ["Contract-INITECH-16xH100"]
    refusal = plan.refusal("nowhere", "a")
    assert refusal is not None
    assert refusal.sentence.endswith("of contract INITECH")


def test_a_named_variant_chooses_the_destination() -> None:
    builder = fleet(0, spot=1).aggregate("H100-n3-NVLink")
    rule = '- {name: a, from: [spot], to: ondemand, to_variant: %s, when: "true"}'

    plain, linked = plan_of(rule % "none", builder.snapshot()), plan_of(rule % "NVLink", builder.snapshot())

    assert plain.moves[0].destination.name == "H100-n3"
    assert linked.moves[0].destination.name == "H100-n3-NVLink"


def test_drains_hosts_with_servers_after_the_empty_ones() -> None:
    builder = fleet(0).host("h1", "H100-n3", servers=(1, 1)).host("h2", "H100-n3", servers=(1,))
    builder.host("h3", "H100-n3")
    rule = '- {name: a, from: [ondemand], to: spot, when: "true", count: 3, hosts: {take: drain}}'

    plan = plan_of(rule, builder.snapshot())

    assert hosts_of(plan) == ["h3", "h2", "h1"]
    assert [move.drain_deadline for move in plan.moves] == [None, timedelta(hours=2), timedelta(hours=2)]


def test_the_longest_empty_hosts_go_first_and_unknown_ones_last() -> None:
    rules = parse_rules('rules: [{name: a, from: [ondemand], to: spot, when: "true", count: 3}]')
    since = {"od2": NOW - timedelta(days=2), "od3": NOW - timedelta(days=1)}

    plan = make_plan(rules, fleet(4).snapshot(), (), NOW, {}, standing=Standing(empty_since=since))

    assert hosts_of(plan) == ["od2", "od3", "od0"]


@pytest.mark.parametrize(
    ("criteria", "names"),
    [
        (("name",), ["h1", "h2", "h3", "h4"]),
        (("nvlink-last",), ["h2", "h4", "h1", "h3"]),
        (("rack-spread",), ["h1", "h3", "h2", "h4"]),
        (("site", "name"), ["h4", "h1", "h2", "h3"]),
    ],
)
def test_hosts_come_in_the_order_of_the_rule(criteria: tuple[str, ...], names: list[str]) -> None:
    builder = FleetBuilder()
    for name, nvlink, site, rack in (
        ("h1", True, "fra", "r1"),
        ("h2", False, "fra", "r1"),
        ("h3", None, None, "r2"),
        ("h4", False, "ams", "r1"),
    ):
        site = site if criteria[0] == "site" else "fra"  # noqa: PLW2901 - racks are spread within a site
        builder.host(name, "H100-n3").device(name, nvlink=nvlink, site=site, rack=rack)
    hosts = list(builder.snapshot().hosts.values())

    assert [host.name for host in in_order(hosts, criteria, {})] == names  # type: ignore[arg-type]


def test_remembers_since_when_hosts_are_empty() -> None:
    before = {"od0": NOW - timedelta(days=1), "gone": NOW}
    snapshot = fleet(2).host("busy", "H100-n3", servers=(1,)).host("dark", "H100-n3", gpus=None).snapshot()

    seen = observe_empty(before, snapshot, NOW)

    assert seen == {"od0": NOW - timedelta(days=1), "od1": NOW, "dark": NOW}
    assert observe_empty(before, fleet(1, gpus=None).without(Source.SERVERS).snapshot(), NOW) == {}


def test_a_host_with_only_processors_allocated_is_neither_seen_empty_nor_taken_as_such() -> None:
    """A leak, or a migration: no server is on it and no GPU of it is used."""
    held = fleet(1).tree("od0", CUSTOM_GPU_H100=(8, 0), VCPU=(64, 4)).snapshot()
    unknown = fleet(1, gpus=None).tree("stranger", VCPU=(64, 4))
    counted = unknown.snapshot(default_interpretation(gpus_per_host={"H100": 8}))
    rule = '- {name: a, from: [ondemand], to: spot, when: "true"}'

    plans = [plan_of(rule, snapshot) for snapshot in (held, counted)]

    assert [observe_empty({}, snapshot, NOW) for snapshot in (held, counted)] == [{}, {}]
    assert [found.refusal.code for plan in plans for found in plan.refusals()] == [
        Code.GPUS_ALLOCATED,
        Code.GPUS_UNKNOWN,
    ]


def test_every_pair_of_host_and_rule_that_is_no_move_has_a_refusal() -> None:
    rules = (
        '- {name: a, from: [ondemand], to: spot, when: "true"}\n'
        "- {name: b, from: [spot], to: ondemand, when: to.hosts > 100}"
    )

    plan = plan_of(rules, fleet(3, spot=2).snapshot())

    refusals = {(found.host, found.rule): found.refusal for found in plan.refusals()}
    moves = {(move.host, move.rule) for move in plan.moves}
    assert len(refusals) + len(moves) == 10
    assert all(plan.refusal(host, rule) == refusal for (host, rule), refusal in refusals.items())
    assert all(plan.refusal(host, rule) is None for host, rule in moves)


def test_hosts_that_are_not_for_sale_are_not_counted() -> None:
    snapshot = fleet(3).host("off", "H100-n3", status="disabled").snapshot()

    (verdict,) = plan_of(
        "- {name: a, from: [ondemand], to: spot, when: from.hosts > 2 && from.gpus > 0}", snapshot
    ).verdicts

    assert verdict.facts == {"from.hosts": 3, "from.gpus": 24}
    assert "off" in verdict.scope


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from.hosts", 2), ("from.free_hosts", 1), ("from.gpus", 16), ("from.gpus_used", 6),
        ("from.free_gpus", 10), ("from.utilization", 6 / 16), ("to.hosts", 1), ("spot.hosts", 1),
        ("ondemand.hosts", 2), ("runpod.hosts", 0), ("hour", 12), ("weekday", 2), ("age.servers", 0.0),
    ],
)  # fmt: skip
def test_a_fact_has_the_value_that_its_name_says(name: str, value: float) -> None:
    snapshot = fleet(1, spot=1).host("busy", "H100-n3", servers=(2, 4)).snapshot()
    kind = "double" if isinstance(value, float) else "int"

    (verdict,) = plan_of(
        f'- {{name: a, from: [ondemand], to: spot, when: "{kind}({name}) >= {kind}(0)"}}', snapshot
    ).verdicts

    assert verdict.facts[name] == pytest.approx(value)


def test_a_host_of_unknown_gpu_type_makes_the_sums_of_its_pool_unknown() -> None:
    builder = fleet(2).aggregate("odd", "odd1", metadata={"spotd:pool": "ondemand"}).service("odd1")

    (verdict,) = plan_of(
        "- {name: a, from: [ondemand], to: spot, when: from.hosts > 1}", builder.snapshot()
    ).verdicts

    assert verdict.blocked is not None
    assert verdict.blocked.code is Code.CONDITION_UNKNOWN


def test_a_host_with_unknown_use_makes_free_hosts_unknown_and_leaves_the_others_known() -> None:
    snapshot = fleet(2).host("dark", "H100-n3", gpus=None).server("dark", gpu_flavor(0)).snapshot()

    (verdict,) = plan_of(
        "- {name: a, from: [ondemand], to: spot, when: from.hosts > 1 || from.gpus > 1}", snapshot
    ).verdicts

    assert verdict.facts == {"from.hosts": 3}


def test_budgets_tell_what_is_left() -> None:
    rules = parse_rules(
        'rules: [{name: a, from: [ondemand], to: spot, when: "true", limits: {moves_per_hour: 3}}]'
    )
    recent = (RecentMove(host="x", rule="a", started_at=NOW, finished_at=NOW),)

    budgets = Budgets(rules.limits, recent, NOW)

    assert budgets.remaining(rules.rules[0]) == 2
    assert budgets.remaining(replace(rules.rules[0], name="b")) == 3


def test_the_survey_keeps_the_latest_move_of_a_host() -> None:
    old = RecentMove(host="h", rule=None, started_at=NOW, finished_at=NOW)
    runs = RecentMove(host="h", rule=None, started_at=NOW - timedelta(hours=9), finished_at=None)
    rules = parse_rules("")

    around = survey(rules, fleet().without(Source.GPUS).snapshot(), (runs, old), NOW, Standing())

    assert around.last_moves == {"h": runs}
    assert around.unread == frozenset()


def test_what_keeps_a_host_from_every_rule_is_told_by_each() -> None:
    rules = (
        '- {name: a, from: [ondemand], to: spot, when: "true"}\n'
        '- {name: b, from: [ondemand], to: spot, when: "true", hosts: {take: drain}}'
    )

    plan = plan_of(rules, fleet(1, status="disabled").snapshot())

    assert [found.refusal.code for found in plan.refusals()] == [Code.SERVICE_DISABLED] * 2


def test_a_reading_that_is_too_old_breaks_the_wait() -> None:
    """What held before an outage and holds after it did not hold without a break, as far as anyone knows."""
    rules = parse_rules('rules: [{name: lend, from: [ondemand], to: spot, for: 4m, when: "true"}]')
    minute = timedelta(minutes=1)

    plan, acted = None, []
    for passed, read in ((0, 0), (3, 0), (6, 0), (7, 7), (9, 9), (11, 11)):
        fleet = FleetBuilder().host("a", "H100-n3", netbox="active").host("b", "H100-n3-spot")
        for source in Source:
            fleet = fleet.read(source, NOW + read * minute)
        plan = make_plan(rules, fleet.snapshot(), (), NOW + passed * minute, plan.rule_states if plan else {})
        acted.append(plan.verdicts[0].condition.when.value + str(plan.verdicts[0].state.is_active))

    assert acted == ["trueFalse", "trueFalse", "unknownFalse", "trueFalse", "trueFalse", "trueTrue"]
