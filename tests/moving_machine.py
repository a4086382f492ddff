"""Everything at once: two daemons, a scheduler, an operator, crashes and faults, in any order.

The machine runs moves on the cloud in memory. While one runs, what was drawn happens at its calls: a fault,
a boot, an operator's hand, a crash before or after a write to the cloud or to the journal, or the
other daemon taking over a lease that lapsed meanwhile. What must hold is looked at in each write, after each
move and after each rule.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from moving import FAULTS, LOST, POOLS, TTL, FakeCloud, Spotd, order, store_on
from standing import Clock

from spotd.store.errors import HostClaimed, LeaseLost, StoreError
from spotd.store.records import MoveRecord, MoveState

HOSTS = ("gpu-1", "gpu-2", "gpu-3")
JOURNAL_WRITES = ("step_began", "step_ended", "fenced", "finish", "resolve_stranded")
CALLS_OF_A_MOVE = 45
LONGEST_LAG_SECONDS = 12.0
ZONES = ((), ("az-1",) * 3, ("az-1", "az-2", "az-3"), ("az-1", "az-1", None))
READ_FAULTS = tuple(f"{kind} before" for kind in LOST)


class Crash(BaseException):
    """The process is gone."""


class Counts:
    """What the searches of this process did, for a test to hold against a number."""

    rules = 0
    moves = 0
    calls = 0


hosts = st.sampled_from(HOSTS)
pools = st.sampled_from(POOLS)
lags = st.floats(0.0, LONGEST_LAG_SECONDS)
events = st.lists(
    st.tuples(
        st.integers(0, CALLS_OF_A_MOVE),
        st.one_of(
            st.tuples(st.just("fault"), st.sampled_from(FAULTS)),
            st.tuples(st.just("crash"), st.booleans()),
            st.tuples(st.just("boot"), lags),
            st.tuples(st.just("operator moves"), pools),
            st.tuples(st.just("operator disables"), st.none()),
            st.tuples(st.just("operator enables"), st.none()),
            st.tuples(st.just("opened and booted"), st.none()),
            st.tuples(st.just("store fails"), st.booleans()),
            st.tuples(st.just("taken over"), st.none()),
            st.tuples(st.just("placement goes"), st.none()),
        ),
    ),
    min_size=1,
    max_size=4,
)


class Watched:
    """A daemon's cloud and journal with everything that happens at its calls."""

    def __init__(self, machine: "MovesMachine", daemon: Spotd) -> None:
        self.machine = machine
        self.daemon = daemon

    def __getattr__(self, name: str) -> Any:
        called = getattr(self.daemon.journal, name)
        return self._write(name, called) if name in JOURNAL_WRITES else called

    def _write(self, name: str, called: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **named: Any) -> Any:
            kind, value = self.machine.journal_event()
            if kind == "crash" and not value:
                raise Crash
            if kind == "store fails" and not value:
                raise StoreError("the disk is full")
            answer = called(*args, **named)
            if kind == "crash":
                raise Crash
            if kind == "store fails":
                raise StoreError("the disk is full")
            if kind == "taken over":
                # Asleep between the journal and the cloud.
                self.machine.take_over(1 - self.machine.daemons.index(self.daemon))
            return answer

        return write


class MovesMachine(RuleBasedStateMachine):
    """The search; `spotd_seconds` is the settle time it gives to spotd."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = store_on(self.clock)
        self.cloud = FakeCloud(self.clock, HOSTS)
        self.daemons = [Spotd(self.cloud, self.store, name) for name in "ab"]
        self.executors = [daemon.made(Watched(self, daemon)) for daemon in self.daemons]
        self.acting: int | None = None
        self.moving = HOSTS[0]
        self.token: int | None = None
        self.events: dict[int, list[tuple[str, Any]]] = {}
        self.calls = 0
        self.late: str | None = None
        """The operation whose next write is answered by nobody and takes effect a minute later."""
        self.closed_by_operator: set[str] = set()
        self.opened_by_operator: set[str] = set()
        """Hosts that a person opened last: a write that is under way may land on them all the same."""
        self.cloud.before = self.before_call
        self.cloud.after = self.after_call
        self.cloud.landed_late = self.forgive

    @initialize(zones=st.sampled_from(ZONES), trait_lag=st.sampled_from((0.0, 6.2)))
    def build(self, zones: tuple[str | None, ...], trait_lag: float) -> None:
        """Where the pools are, and how slow Nova is."""
        self.cloud.zones = dict(enumerate(zones or (None,) * 3, 1))
        self.cloud.trait_lag = trait_lag

    def teardown(self) -> None:
        try:
            self.heal_and_settle()
        finally:
            self.store.close()

    # What happens at calls

    def take(self) -> tuple[str, Any]:
        self.calls += 1
        Counts.calls += 1
        planned = self.events.get(self.calls)
        return planned.pop(0) if planned else ("", None)

    def journal_event(self) -> tuple[str, Any]:
        kind, value = self.take()
        return (kind, value) if kind in ("crash", "store fails", "taken over") else ("", None)

    def before_call(self, operation: str, host: str) -> None:
        if self.acting is None:
            return
        is_write = operation in ("add_host", "remove_host", "disable_service", "enable_service")
        if is_write:
            self.hold_to_the_rules(operation, host)
        if operation in ("disable_service", "enable_service"):
            self.opened_by_operator.discard(host)
        if is_write and operation == self.late:
            self.late = None
            self.cloud.faults.setdefault(operation, []).insert(0, "timeout late")
            return
        kind, value = self.take()
        if kind == "crash" and not value:
            raise Crash
        if kind == "crash" and is_write:
            self.events.setdefault(-self.calls, []).append(("crash", True))
        elif kind == "fault" and (is_write or value in READ_FAULTS):
            self.cloud.faults.setdefault(operation, []).insert(0, value)
        elif not is_write:
            # Between a look and its write a moment passes in which nobody can be kept from acting.
            self.happen(kind, value, host or self.moving)

    def after_call(self, operation: str, host: str) -> None:
        if self.events.pop(-self.calls, None):
            raise Crash

    def forgive(self, operation: str, host: str) -> None:
        """A service has no compare-and-set: what was sent before somebody else's hand may land after it."""
        if operation in ("disable_service", "enable_service"):
            self.closed_by_operator.discard(host)

    def happen(self, kind: str, value: Any, host: str) -> None:
        if kind == "boot":
            self.cloud.boot(host, claim=value, show=value)
        elif kind == "operator moves":
            self.cloud.operator_moves(host, value)
        elif kind == "operator disables":
            self.disable(host)
        elif kind in ("operator enables", "opened and booted"):
            self.enable(host)
            if kind == "opened and booted":
                self.cloud.boot(host)
        elif kind == "placement goes":
            self.cloud.mirror_state = "down"
        elif kind == "taken over" and self.acting is not None:
            self.take_over(1 - self.acting)

    def take_over(self, other: int) -> None:
        """The one that acts was asleep for so long that the other leads, and settles what is open."""
        self.cloud.pass_time(TTL.total_seconds() + 1)
        mine, token = self.acting, self.token
        self.settle_by(other)
        self.acting, self.token = mine, token

    # What must hold

    def hold_to_the_rules(self, operation: str, host: str) -> None:
        """Each write, just before it: only by the leader, and only what may be done."""
        holder = self.daemons[0].lease.holder()
        assert holder is not None, f"{operation} on {host} without a lease"
        assert self.token == holder.token, f"{operation} on {host} by one that does not lead any more"
        found = self.cloud.hosts[host]
        if operation == "enable_service":
            assert host not in self.closed_by_operator, f"{host} was closed by somebody else: {found.reason}"
        if operation == "disable_service":
            assert found.status == "enabled", f"{host} was closed before: {found.reason}"
        if operation == "remove_host":
            move = next(one for one in self.held() if one.order.host == host)
            if move.steps[-1].phase == "do" and move.order.origin.name in self.cloud.pools_of(host):
                assert not self.cloud.claimed(host), f"{host} leaves its origin with servers on it"

    def held(self) -> tuple[MoveRecord, ...]:
        """Moves that hold their host."""
        journal = self.daemons[0].journal
        return (*journal.open_moves(), *journal.stranded_moves())

    def hold_to_its_word(self, record: MoveRecord) -> None:
        """The end of a move: it is as it says."""
        host = record.order.host
        if record.state is MoveState.DONE:
            found = self.cloud.pools_of(host)
            assert [record.order.destination.name] == found, f"said done, and {host} is in {found}"
            assert self.cloud.mirror_agrees(host), f"said done, and the mirror of {host} is wrong"
        if record.state in (MoveState.DONE, MoveState.UNDONE, MoveState.REFUSED):
            reason = self.cloud.hosts[host].reason or ""
            assert record.id not in reason, f"said {record.state}, and {host} stays closed by it"

    @invariant()
    def every_host_is_in_one_pool_or_closed_and_told_of(self) -> None:
        Counts.rules += 1
        names = [record.order.host for record in self.held()]
        assert len(set(names)) == len(names), "two open moves of one host"
        for host, found in self.cloud.hosts.items():
            where = self.cloud.pools_of(host)
            if len(where) != 1:
                by_spotd = host not in self.opened_by_operator
                assert found.status == "disabled" or not by_spotd, f"{host} is open and in {where}"
                assert host in names, f"{host} is in {where} and no move holds it"

    @invariant()
    def what_somebody_else_closed_is_closed(self) -> None:
        for host in self.closed_by_operator:
            found = self.cloud.hosts[host]
            assert ("disabled", "maintenance") == (found.status, found.reason), f"{host} is {found}"

    # Who acts

    @rule(host=hosts, to=pools, who=st.integers(0, 1), events=events)
    def move(self, host: str, to: str, who: int, events: list[tuple[int, tuple[str, Any]]]) -> None:
        where = self.cloud.pools_of(host)
        origin = where[0] if where else POOLS[0]
        if origin == to:
            to = POOLS[(POOLS.index(to) + 1) % len(POOLS)]
        wanted = order(host, origin, to)

        def begin_and_run(daemon: int, token: int) -> None:
            spotd = self.daemons[daemon]
            record = spotd.journal.begin(wanted, token=token, now=self.clock.now())
            Counts.moves += 1
            self.hold_to_its_word(self.executors[daemon].run(record, token=token))

        self.act(who, host, events, begin_and_run)

    @rule(host=hosts, to=pools, who=st.integers(0, 1), events=events)
    def move_a_host_that_may_move(
        self, host: str, to: str, who: int, events: list[tuple[int, tuple[str, Any]]]
    ) -> None:
        """As is most often so."""
        self.heal()
        self.enable(host)
        self.cloud.empty(host)
        self.move(host, to, who, events)

    @rule(host=hosts, to=pools, who=st.integers(0, 1), late=st.sampled_from(("add_host", "remove_host")))
    def move_whose_write_lands_late(self, host: str, to: str, who: int, late: str) -> None:
        """It is settled meanwhile, since nothing of it is to be seen."""
        self.late = late
        self.move_a_host_that_may_move(host, to, who, [])
        self.late = None
        self.settle(1 - who, [])

    @rule(who=st.integers(0, 1), events=events)
    def settle(self, who: int, events: list[tuple[int, tuple[str, Any]]]) -> None:
        self.act(who, HOSTS[0], events, self.settle_all)

    def settle_all(self, daemon: int, token: int) -> None:
        for record in self.held():
            self.moving = record.order.host
            self.hold_to_its_word(self.executors[daemon].settle(record, token=token))

    def settle_by(self, daemon: int) -> None:
        token = self.daemons[daemon].lease.try_acquire()
        if token is not None:
            planned, self.events = self.events, {}
            self.acting, self.token = daemon, token
            self.settle_all(daemon, token)
            self.events = planned

    def act(
        self,
        who: int,
        host: str,
        events: list[tuple[int, tuple[str, Any]]],
        what: Callable[[int, int], None],
    ) -> None:
        """One daemon acts, if it leads; whatever is to happen meanwhile happens."""
        token = self.daemons[who].lease.try_acquire()
        if token is None:
            who = 1 - who
            token = self.daemons[who].lease.try_acquire()
        if token is None:
            return
        self.acting, self.token, self.moving, self.calls = who, token, host, 0
        self.events = {}
        for number, event in events:
            self.events.setdefault(number, []).append(event)
        try:
            what(who, token)
        except HostClaimed:
            pass
        except (Crash, LeaseLost, StoreError):
            pass  # the next leader settles it
        finally:
            self.acting, self.events = None, {}
            self.cloud.faults.clear()

    @rule(host=hosts, claim=lags, show=lags)
    def boot(self, host: str, claim: float, show: float) -> None:
        self.cloud.boot(host, claim=claim, show=show)

    @rule(host=hosts)
    def delete_servers(self, host: str) -> None:
        self.cloud.empty(host)

    @rule(host=hosts, to=pools)
    def operator_moves(self, host: str, to: str) -> None:
        self.cloud.operator_moves(host, to)

    @rule(host=hosts)
    def disable(self, host: str) -> None:
        self.cloud.operator_disables(host)
        self.closed_by_operator.add(host)

    @rule(host=hosts)
    def enable(self, host: str) -> None:
        if self.cloud.hosts[host].status == "disabled" and len(self.cloud.pools_of(host)) == 1:
            self.cloud.operator_enables(host)
            self.closed_by_operator.discard(host)
            self.opened_by_operator.add(host)

    @rule(seconds=st.sampled_from((1.0, 30.0, 200.0, 700.0)))
    def time_passes(self, seconds: float) -> None:
        self.cloud.pass_time(seconds)

    @rule(kind=st.sampled_from((*READ_FAULTS, "401")))
    def outage(self, kind: str) -> None:
        self.cloud.outage = kind

    @rule(state=st.sampled_from(("silent", "down")))
    def placement_fails(self, state: str) -> None:
        self.cloud.mirror_state = state

    @precondition(lambda self: self.cloud.outage is not None or self.cloud.mirror_state != "ok")
    @rule()
    def heal(self) -> None:
        self.cloud.outage, self.cloud.mirror_state = None, "ok"

    def heal_and_settle(self) -> None:
        """When all is well again and servers have left, everything that is open comes to an end.

        With servers on it Nova lets no host out of its zone: it is stranded until they leave. Who opened a
        host in the middle of its move sees to its mirror too: out and in again would show it to everybody.
        """
        self.heal()
        for host in self.opened_by_operator:
            self.cloud.operator_syncs_mirror(host)
        for host in HOSTS:
            self.cloud.empty(host)
        for _ in range(3):
            self.cloud.pass_time(max(TTL.total_seconds(), self.daemons[0].timing.quiet_seconds) + 1)
            self.settle_by(0)
            self.acting = None
        journal = self.daemons[0].journal
        assert () == journal.open_moves(), "a move stays open for ever"
        left = [(one.order.host, one.sentence) for one in journal.stranded_moves()]
        assert [] == left, f"a stranded host is not put right: {left}"
        self.every_host_is_in_one_pool_or_closed_and_told_of()
        for host, found in self.cloud.hosts.items():
            by_others = host in self.closed_by_operator
            assert by_others or found.status == "enabled", f"{host} stays closed: {found.reason}"
