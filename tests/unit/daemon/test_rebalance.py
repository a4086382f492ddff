"""A cycle settles what is open, begins what people asked for and what the rules want, within their limits."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fleets import FleetBuilder
from moving import ONDEMAND, SPOT, order, store_on
from standing import Clock
from structlog.testing import capture_logs

from spotd.daemon.freezing import Freezing
from spotd.daemon.leadership import Leadership
from spotd.daemon.orders import REFUSAL_LASTS
from spotd.daemon.rebalance import Rebalancer, ask_to_recover
from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot
from spotd.planning.load import parse_rules
from spotd.planning.refusals import Code
from spotd.store import Store
from spotd.store.records import MoveRecord, MoveState

LEND = """
mode: active
limits: {{cooldown: 0s, moves_at_once: {at_once}}}
rules: [{{name: lend, from: [ondemand], to: spot, when: from.free_hosts > 0, count: 1}}]
"""


class Silent:
    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_keywords: None


class Carrying:
    """An executor whose moves stay open, as those that drain do, or that wait for an outage to end."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.settled: list[str] = []
        self.refused: dict[str, Code] = {}
        self.journal: Any = None
        self.clock = Clock()

    def run(self, record: MoveRecord, *, token: int) -> MoveRecord:
        self.begun.append(record.order.host)
        code = self.refused.get(record.order.host)
        if code is None:
            return record
        now = self.clock.now()
        ended: MoveRecord = self.journal.finish(
            record.id, MoveState.REFUSED, "seen live", token=token, now=now, code=code
        )
        return ended

    def settle(self, record: MoveRecord, *, token: int) -> MoveRecord:
        self.settled.append(record.order.host)
        return record


class Cycles:
    """A daemon that leads, on a fleet of three idle on-demand hosts."""

    def __init__(self, store: Store, clock: Clock, *, at_once: int = 4) -> None:
        self.clock, self.journal, self.carrying = clock, store.journal, Carrying()
        self.closed: set[str] = set()
        self.carrying.journal, self.carrying.clock = store.journal, clock
        leadership = Leadership(store.lease("a", timedelta(seconds=600)))
        leadership.renew()
        assert leadership.token is not None
        self.token: int = leadership.token
        carrying: Any = self.carrying
        self.rebalancer = Rebalancer(
            rules=parse_rules(LEND.format(at_once=at_once)),
            journal=store.journal,
            executor=carrying,
            leadership=leadership,
            freezing=Freezing(store.journal, clock, file=None, after_failures=3),
            snapshot=self.snapshot,
            clock=clock,
            recorder=Silent(),
        )

    def snapshot(self) -> FleetSnapshot:
        """Moves stay open, so that their hosts are closed where they were."""
        builder = FleetBuilder().aggregate(ONDEMAND).aggregate(SPOT).unconfigured(Source.NETBOX)
        busy = self.closed | {record.order.host for record in self.journal.open_moves()}
        for name in ("gpu-1", "gpu-2", "gpu-3"):
            builder.host(name, ONDEMAND, status="disabled" if name in busy else "enabled")
        for source in Source:
            builder.read(source, self.clock.now())
        return builder.snapshot()

    def leave_open(self, host: str) -> MoveRecord:
        """A move that no thread carries out."""
        return self.journal.begin(order(host), token=self.token, now=self.clock.now())

    def cycle(self) -> str:
        outcome = self.rebalancer.cycle()
        self.wait()
        return outcome

    def after(self, seconds: float) -> str:
        """A cycle so much later, with a lease that was kept meanwhile."""
        self.clock.move(seconds)
        self.rebalancer._leadership.renew()
        return self.cycle()

    def wait(self) -> None:
        """Until the threads of the moves are done."""
        for future in tuple(self.rebalancer._running.values()):
            future.result(timeout=5)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Iterator[Store]:
    with store_on(clock) as opened:
        yield opened


def test_a_move_that_stays_open_keeps_no_other_host_from_moving(store: Store, clock: Clock) -> None:
    """It is settled first, each time."""
    cycles = Cycles(store, clock)
    cycles.leave_open("gpu-1")

    outcomes = [cycles.cycle(), cycles.cycle()]

    assert ["moved", "moved"] == outcomes
    assert ["gpu-2", "gpu-3"] == cycles.carrying.begun
    assert "gpu-1" == cycles.carrying.settled[0]


def test_a_move_that_stays_open_counts_as_one_under_way(store: Store, clock: Clock) -> None:
    """`moves_at_once` is of all moves that hold a host."""
    cycles = Cycles(store, clock, at_once=1)
    cycles.leave_open("gpu-1")

    outcome = cycles.cycle()

    assert ("settled", []) == (outcome, cycles.carrying.begun)


def test_what_a_person_asks_for_begins_while_another_move_stays_open(store: Store, clock: Clock) -> None:
    """Else it would be refused after ten minutes of somebody else's outage."""
    cycles = Cycles(store, clock)
    cycles.leave_open("gpu-1")
    asked = cycles.journal.ask(order("gpu-2"), now=clock.now())

    cycles.rebalancer.start_asked()
    cycles.wait()

    record = cycles.journal.move(asked.id)
    assert record is not None
    assert (MoveState.RUNNING, ["gpu-2"]) == (record.state, cycles.carrying.begun)


def test_a_person_who_asks_to_recover_has_open_moves_settled_at_once(store: Store, clock: Clock) -> None:
    """And what was asked for meanwhile begins."""
    cycles = Cycles(store, clock)
    cycles.leave_open("gpu-1")
    cycles.journal.ask(order("gpu-2"), now=clock.now())
    ask_to_recover(cycles.journal, "cli tester")

    cycles.rebalancer.start_asked()
    cycles.wait()

    assert (["gpu-1"], ["gpu-2"]) == (cycles.carrying.settled, cycles.carrying.begun)


def test_two_moves_of_one_host_are_never_begun(store: Store, clock: Clock) -> None:
    """The order waits for the move that holds the host."""
    cycles = Cycles(store, clock)
    cycles.leave_open("gpu-1")
    asked = cycles.journal.ask(order("gpu-1"), now=clock.now())

    cycles.rebalancer.start_asked()
    cycles.wait()

    record = cycles.journal.move(asked.id)
    assert record is not None
    assert (MoveState.ASKED, []) == (record.state, cycles.carrying.begun)


@pytest.mark.parametrize(
    "code",
    [
        Code.MIGRATION_IN_FLIGHT,
        Code.GPUS_ALLOCATED,
        Code.SERVERS_PRESENT,
        Code.READING_MISSING,
        Code.NO_POOL,  # the aggregates may have been read an hour ago
    ],
)
def test_takes_another_host_where_the_live_look_refused_the_first(
    code: Code, store: Store, clock: Clock
) -> None:
    """The snapshot does not show it, so that the same host would be tried in each cycle, and no other."""
    cycles = Cycles(store, clock)
    cycles.carrying.refused = {"gpu-1": code}

    cycles.cycle()
    clock.move(15)
    cycles.cycle()

    assert ["gpu-1", "gpu-2"] == cycles.carrying.begun
    plan = cycles.rebalancer.plan
    assert plan is not None
    refusal = plan.refusal("gpu-1", "lend")
    assert refusal is not None
    assert (code, True) == (refusal.code, "seen live" in refusal.sentence)


def test_looks_at_a_refused_host_again_after_a_while(store: Store, clock: Clock) -> None:
    """A migration ends, and nobody tells."""
    cycles = Cycles(store, clock, at_once=1)
    cycles.carrying.refused = dict.fromkeys(("gpu-1", "gpu-2", "gpu-3"), Code.MIGRATION_IN_FLIGHT)

    for _ in range(4):
        cycles.cycle()
        clock.move(15)
    clock.move(REFUSAL_LASTS.total_seconds())
    cycles.cycle()

    assert ["gpu-1", "gpu-2", "gpu-3", "gpu-1"] == cycles.carrying.begun


def test_what_refused_everything_is_held_against_no_host(store: Store, clock: Clock) -> None:
    """A freeze, or a lease that was lost a moment ago."""
    cycles = Cycles(store, clock)
    cycles.carrying.refused = {"gpu-1": Code.NOT_LEADER}

    cycles.cycle()
    clock.move(15)
    cycles.cycle()

    assert ["gpu-1", "gpu-1"] == cycles.carrying.begun


def test_a_rule_that_fails_is_named_once_and_the_others_move_hosts(store: Store, clock: Clock) -> None:
    cycles = Cycles(store, clock)
    bad = "rules: [{name: bad, from: [ondemand], to: spot, when: 1 / (from.free_hosts * 0) > 0}, "
    cycles.rebalancer.rules = parse_rules(LEND.format(at_once=4).replace("rules: [", bad))

    with capture_logs() as told:
        outcomes = [cycles.cycle(), cycles.cycle()]

    assert outcomes[0] == "moved"
    assert [entry for entry in told if entry["event"] == "rule failed"] == [
        {
            "event": "rule failed",
            "log_level": "error",
            "rule": "bad",
            "gpu_type": "H100",
            "reason": "the condition is unknown: it cannot be worked out (divide by zero)",
        }
    ]


AHEAD = [
    pytest.param(3600, id="ahead"),
    pytest.param(-3600, id="back"),
    pytest.param(150, id="a little ahead"),
]


def set_clock(clock: Clock, seconds: float) -> None:
    """As a person or NTP sets it: nothing passes meanwhile."""
    clock.time += timedelta(seconds=seconds)


def slowly(limits: str, keys: str = "") -> str:
    """A rule with these limits that takes one host at each cycle."""
    return (
        f"mode: active\nlimits: {{{limits}}}\n"
        f"rules: [{{name: lend, from: [ondemand], to: spot, when: from.free_hosts > 0, count: 1{keys}}}]"
    )


@pytest.mark.parametrize("seconds", AHEAD)
def test_a_rule_waits_no_less_where_the_clock_is_set(store: Store, clock: Clock, seconds: int) -> None:
    cycles = Cycles(store, clock)
    cycles.rebalancer.rules = parse_rules(slowly("cooldown: 0s", ", for: 10m"))
    cycles.cycle()
    cycles.after(120)

    set_clock(clock, seconds)
    for _ in range(4):
        cycles.after(119)
    before = list(cycles.carrying.begun)
    for _ in range(6):
        cycles.after(120)

    assert before == []
    assert cycles.carrying.begun


@pytest.mark.parametrize("seconds", AHEAD)
def test_a_budget_is_of_an_hour_that_passed(store: Store, clock: Clock, seconds: int) -> None:
    cycles = Cycles(store, clock)
    cycles.rebalancer.rules = parse_rules(slowly("cooldown: 0s, moves_per_hour: 1"))
    cycles.cycle()

    set_clock(clock, seconds)
    for _ in range(10):
        cycles.after(359)
    within = list(cycles.carrying.begun)
    for _ in range(20):
        cycles.after(200)

    assert within == ["gpu-1"]
    assert len(cycles.carrying.begun) > 1


@pytest.mark.parametrize("seconds", AHEAD)
def test_a_host_is_left_alone_for_as_long_as_is_promised(store: Store, clock: Clock, seconds: int) -> None:
    """Which the live look refused; the others are kept busy, so that it would be the next."""
    cycles = Cycles(store, clock)
    cycles.carrying.refused = {"gpu-1": Code.MIGRATION_IN_FLIGHT}
    cycles.closed = {"gpu-2", "gpu-3"}
    cycles.cycle()

    set_clock(clock, seconds)
    for _ in range(2):
        cycles.after(REFUSAL_LASTS.total_seconds() / 2 - 1)

    assert cycles.carrying.begun == ["gpu-1"]


@pytest.mark.parametrize(("back", "outcome"), [(3600, "planned"), (61, "planned"), (59, "moved")], ids=str)
def test_nothing_moves_on_a_reading_of_a_time_to_come(
    store: Store, clock: Clock, back: int, outcome: str
) -> None:
    """Whose source has failed since the clock was set back, and which would be young for an hour."""
    cycles = Cycles(store, clock)
    kept = cycles.snapshot()
    cycles.rebalancer._snapshot = lambda: kept

    set_clock(clock, -back)
    first = cycles.cycle()
    cycles.rebalancer._snapshot = cycles.snapshot

    assert first == outcome
    assert cycles.after(5) == "moved"


def test_a_cooldown_outlasts_a_clock_that_is_set_ahead_by_days(store: Store, clock: Clock) -> None:
    cycles = Cycles(store, clock)
    cycles.rebalancer.rules = parse_rules(slowly("cooldown: 2h"))
    moved = cycles.leave_open("gpu-1")
    cycles.journal.finish(moved.id, MoveState.UNDONE, "", token=cycles.token, now=clock.now())
    cycles.closed = {"gpu-2", "gpu-3"}
    clock.move(60)

    set_clock(clock, 3 * 86_400)
    for _ in range(3):
        cycles.after(2300)
    within = list(cycles.carrying.begun)
    cycles.after(300)

    assert within == []
    assert cycles.carrying.begun == ["gpu-1"]
