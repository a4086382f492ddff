"""What holds for every plan, whatever the rules and the fleet."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from fleets import NOW, FleetBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from spotd.fleet.readings import Source
from spotd.planning.load import parse_rules
from spotd.planning.plan import Plan
from spotd.planning.planner import make_plan
from spotd.planning.rules import Rules
from spotd.planning.surroundings import RecentMove

AGGREGATES = {"ondemand": "H100-n3", "spot": "H100-n3-spot", "runpod": "H100-n3-runpod"}
Hosts = dict[str, tuple[str, int]]
"""Pool and used GPUs by host."""

pools = st.sampled_from(["ondemand", "spot"])
hosts = st.dictionaries(
    st.integers(0, 40).map("h{:02}".format), st.tuples(pools, st.sampled_from([0, 0, 0, 4, 8])), max_size=9
)
facts = st.sampled_from([f"{view}.{name}" for view in ("from", "to") for name in ("hosts", "free_hosts")])


@st.composite
def rule_texts(draw: st.DrawFn, name: str) -> str:
    origin = draw(pools)
    to = "spot" if origin == "ondemand" else "ondemand"
    clauses = [
        f"{draw(facts)} {draw(st.sampled_from(['<', '>']))} {draw(st.integers(0, 6))}"
        for _ in range(draw(st.integers(1, 2)))
    ]
    keep = f"keep_hosts: {draw(st.integers(0, 3))}, keep_free_gpus: {draw(st.integers(0, 24))}"
    return (
        f"- {{name: {name}, from: [{origin}], to: {to}, when: {' && '.join(clauses)}, "
        f"count: {draw(st.integers(1, 5))}, limits: {{{keep}, moves_per_hour: {draw(st.integers(1, 6))}}}}}"
    )


@st.composite
def rulebooks(draw: st.DrawFn) -> Rules:
    texts = [draw(rule_texts(f"r{number}")) for number in range(draw(st.integers(1, 4)))]
    return parse_rules(f"limits: {{moves_at_once: {draw(st.integers(1, 9))}}}\nrules:\n" + "\n".join(texts))


def build(fleet: Hosts) -> FleetBuilder:
    builder = FleetBuilder().unconfigured(Source.NETBOX)
    for aggregate in AGGREGATES.values():
        builder.aggregate(aggregate)
    for name, (pool, used) in sorted(fleet.items()):
        builder.host(name, AGGREGATES[pool], servers=(used,) if used else ())
    return builder


def after(plan: Plan, fleet: Hosts) -> Hosts:
    return fleet | {move.host: (move.destination.pool.value, fleet[move.host][1]) for move in plan.moves}


@given(rulebooks(), hosts)
def test_the_same_arguments_give_the_same_plan(rules: Rules, fleet: Hosts) -> None:
    one, two = (make_plan(rules, build(fleet).snapshot(), (), NOW, {}) for _ in range(2))

    assert one.moves == two.moves
    assert list(one.refusals()) == list(two.refusals())


@given(rulebooks(), hosts)
def test_a_host_moves_once_and_only_while_nobody_is_on_it(rules: Rules, fleet: Hosts) -> None:
    plan = make_plan(rules, build(fleet).snapshot(), (), NOW, {})

    moved = Counter(move.host for move in plan.moves)
    assert all(count == 1 for count in moved.values())
    assert all(fleet[host][1] == 0 for host in moved)


@given(rulebooks(), hosts)
def test_every_pair_is_a_move_or_a_refusal(rules: Rules, fleet: Hosts) -> None:
    plan = make_plan(rules, build(fleet).snapshot(), (), NOW, {})

    pairs = [(found.host, found.rule) for found in plan.refusals()]
    pairs += [(move.host, move.rule) for move in plan.moves]
    assert sorted(pairs) == sorted((host, rule.name) for host in fleet for rule in rules.rules)


@given(rulebooks(), hosts)
def test_limits_are_respected(rules: Rules, fleet: Hosts) -> None:
    plan = make_plan(rules, build(fleet).snapshot(), (), NOW, {})

    by_rule = Counter(move.rule for move in plan.moves)
    assert len(plan.moves) <= rules.limits.moves_at_once
    for rule in rules.rules:
        assert isinstance(rule.count, int)
        assert by_rule[rule.name] <= min(rule.count, rule.limits.moves_per_hour or 99)
        if by_rule[rule.name] and len(by_rule) == 1:
            left = [used for pool, used in after(plan, fleet).values() if pool in rule.from_pools]
            assert len(left) >= rule.limits.keep_hosts
            assert sum(8 - used for used in left) >= rule.limits.keep_free_gpus


@settings(deadline=None)
@given(rulebooks(), hosts)
def test_under_constant_demand_the_fleet_comes_to_rest_and_no_host_returns(
    rules: Rules, fleet: Hosts
) -> None:
    rules = replace(rules, limits=rules.limits.model_copy(update={"cooldown": timedelta(0)}))
    seen: dict[str, set[str]] = {name: {pool} for name, (pool, _) in fleet.items()}
    states: dict[tuple[str, str], object] = {}
    for _ in range(len(fleet) + 2):
        plan = make_plan(rules, build(fleet).snapshot(), (), NOW, states)  # type: ignore[arg-type]
        states = dict(plan.rule_states)
        for move in plan.moves:
            assert move.destination.pool.value not in seen[move.host], f"{move.host} returns"
            seen[move.host].add(move.destination.pool.value)
        fleet = after(plan, fleet)

    assert plan.moves == ()


@given(rulebooks(), hosts, st.sampled_from([Source.SERVERS, Source.SERVICES, Source.GPUS, Source.AGGREGATES]))
def test_nothing_moves_while_a_reading_is_missing(rules: Rules, fleet: Hosts, source: Source) -> None:
    snapshot = build(fleet).without(source).snapshot()

    assert make_plan(rules, snapshot, (), NOW, {}).moves == ()


@given(rulebooks(), hosts.filter(bool), st.data())
def test_nothing_moves_on_a_fact_that_one_host_makes_unknown(
    rules: Rules, fleet: Hosts, data: st.DataObject
) -> None:
    dark = data.draw(st.sampled_from(sorted(fleet)))
    snapshot = build(fleet).unread(dark).snapshot()

    plan = make_plan(rules, snapshot, (), NOW, {})

    pool = fleet[dark][0]
    named = {rule.name: rule for rule in rules.rules}
    for move in plan.moves:
        rule = named[move.rule]
        free = {
            f"{view}.free_hosts" for view, of in (("from", rule.from_pools[0]), ("to", rule.to)) if of == pool
        }
        assert move.host != dark
        # A host with servers is known not to be free, whatever is unknown of its GPUs.
        assert fleet[dark][1] or not rule.when.mentions & free


@given(rulebooks(), hosts, st.sets(st.integers(0, 40).map("h{:02}".format)))
def test_hosts_that_moved_lately_stay(rules: Rules, fleet: Hosts, moved: set[str]) -> None:
    recent = [
        RecentMove(host=host, rule=None, started_at=NOW - timedelta(days=2), finished_at=NOW)
        for host in moved
    ]

    plan = make_plan(rules, build(fleet).snapshot(), recent, NOW, {})

    assert not {move.host for move in plan.moves} & moved
