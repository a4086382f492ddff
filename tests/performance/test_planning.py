"""How long a plan takes for a large fleet and many rules: it is made at every cycle."""

import time

import pytest
from fleets import NOW, FleetBuilder
from pytest_benchmark.fixture import BenchmarkFixture

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot
from spotd.planning.load import parse_rules
from spotd.planning.planner import make_plan
from spotd.planning.rules import Rules

TYPES = ("H100", "A100", "L40", "RTX-A6000")
POOLS = {"ondemand": "{}-n3", "spot": "{}-n3-spot", "runpod": "{}-n3-runpod"}
ROUTES = (("ondemand", "spot"), ("ondemand", "runpod"), ("runpod", "ondemand"), ("spot", "ondemand"))
LONGEST_SECONDS = 0.1


def large_fleet(hosts: int) -> FleetSnapshot:
    """A third of the hosts empty, over four GPU types, three pools, 20 racks and two sites."""
    builder = FleetBuilder()
    for number in range(hosts):
        gpu_type = TYPES[number % len(TYPES)]
        pool = list(POOLS)[number // len(TYPES) % len(POOLS)]
        name = f"gpu-{number:05d}"
        servers = () if number % 3 == 0 else (4, 4)
        builder.host(name, POOLS[pool].format(gpu_type), gpu_type=gpu_type, servers=servers)
        site = "fra" if number % 2 else "ams"
        builder.device(name, site=site, rack=f"r{number % 20}", nvlink=number % 5 == 0, gpu_count=8)
    return builder.snapshot()


def many_rules(rules: int, moves: int = 1000) -> Rules:
    """Every second rule acts, each for all four GPU types, until so many moves are planned."""
    text = f"limits: {{moves_per_hour: 1000, moves_per_day: 1000, moves_at_once: {moves}}}\nrules:\n"
    for number in range(rules):
        origin, to = ROUTES[number % len(ROUTES)]
        when = f"from.free_hosts > {number % 5}" if number % 4 < 2 else "from.free_hosts < 0"
        text += (
            f"- {{name: rule-{number}, from: [{origin}], to: {to}, when: {when} && to.utilization < 2.0, "
            f"until: from.free_hosts < 1, count: 2, limits: {{keep_hosts: 3, keep_free_gpus: 8}}}}\n"
        )
    return parse_rules(text)


def seconds_for(hosts: int, rules: int) -> float:
    """The processor's time of the quickest of some runs, for the same number of moves."""
    snapshot, book = large_fleet(hosts), many_rules(rules, moves=8)
    spent = []
    for _ in range(7):
        started = time.process_time()
        make_plan(book, snapshot, (), NOW, {})
        spent.append(time.process_time() - started)
    return min(spent)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize(("hosts", "rules"), [(2000, 50), (1000, 50), (2000, 25)])
def test_plans_for_a_large_fleet_in_a_tenth_of_a_second(
    benchmark: BenchmarkFixture, hosts: int, rules: int
) -> None:
    snapshot, book = large_fleet(hosts), many_rules(rules)

    plan = benchmark(make_plan, book, snapshot, (), NOW, {})

    assert len(plan.moves) > rules
    if benchmark.stats is not None:
        # The least of the rounds: what else runs on the machine only ever adds.
        assert benchmark.stats.stats.min < LONGEST_SECONDS


def test_every_refusal_of_a_large_fleet_is_listed_within_a_refresh(benchmark: BenchmarkFixture) -> None:
    plan = make_plan(many_rules(50), large_fleet(2000), (), NOW, {})

    refusals = benchmark(lambda: list(plan.refusals()))

    assert len(refusals) == 2000 * 50 - len(plan.moves)


@pytest.mark.slow
def test_the_time_grows_in_a_straight_line() -> None:
    hosts = seconds_for(4000, 25) / seconds_for(1000, 25)
    rules = seconds_for(1000, 80) / seconds_for(1000, 20)

    assert hosts < 4 * 1.6
    assert rules < 4 * 1.6


def test_a_stale_fleet_costs_next_to_nothing() -> None:
    snapshot = large_fleet(2000)
    book = many_rules(50)
    without = FleetBuilder().without(Source.SERVERS).snapshot()

    assert make_plan(book, without, (), NOW, {}).moves == ()
    assert len(make_plan(book, snapshot, (), NOW, {}).verdicts) == 50 * len(TYPES)
