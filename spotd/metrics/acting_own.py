"""What is told of deciding and acting: rules, plans, moves, lease and freeze."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import Metric

from spotd.clock import Clock
from spotd.metrics import acting_names as names
from spotd.metrics.counting import collected, counter_of, histogram_of
from spotd.metrics.description import filled
from spotd.planning.plan import Plan
from spotd.planning.refusals import Code
from spotd.planning.states import Truth
from spotd.store.records import MoveOrder, MoveRecord

BY_HAND = "(manual)"
OUTCOMES = ("done", "undone", "refused", "stranded")
STEPS = ("claim", "fence", "drain", "settle", "prove", "leave", "join", "verify", "release", "undo")
CYCLE_OUTCOMES = ("observing", "not_leader", "frozen", "blocked", "settled", "planned", "moved", "failed")
MOVE_BUCKETS_SECONDS = (5, 10, 30, 45, 60, 90, 120, 300, 900, 3600, 7200)
"""A move waits 35 s by itself; drains may take hours."""
DECISIONS = (
    ("move", "move"),
    *(("refuse", str(code)) for code in Code if code is not Code.OUT_OF_SCOPE),
)
"""Decision and reason; that a host is out of a rule's scope is no decision about it."""
STEP_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActingState:
    """How it stands at the moment of a scrape; None is unknown and left out."""

    is_leader: bool
    is_frozen: bool | None
    frozen_since: datetime | None
    moves_in_progress: int | None
    stranded: int | None
    journal_up: bool | None


class ActingMetrics:
    """Counts moves and decisions, keeps what gauges need of the last plan; safe to call from threads."""

    def __init__(self, clock: Clock, state: Callable[[], ActingState | None]) -> None:
        self._clock = clock
        self._state = state
        self._lock = threading.Lock()
        self._decisions = counter_of(names.DECISIONS)
        self._errors = counter_of(names.RULE_ERRORS)
        self._moves = counter_of(names.MOVES)
        self._cycles = counter_of(names.CYCLES)
        self._durations = histogram_of(names.MOVE_DURATION, MOVE_BUCKETS_SECONDS)
        self._steps = histogram_of(names.STEP_DURATION, STEP_BUCKETS_SECONDS)
        self._rules_counted: frozenset[str] = frozenset()
        self._routes: set[tuple[str, str, str]] = set()
        self._plan: Plan | None = None
        self._budgets: Mapping[str, int] = {}
        self._rules: tuple[bool | None, str | None, float | None] = (None, None, None)
        self._cycle_seconds: float | None = None
        for outcome in OUTCOMES:
            self._durations.labels(outcome)
        for step in STEPS:
            self._steps.labels(step)
        for outcome in CYCLE_OUTCOMES:
            self._cycles.labels(outcome)

    def move_stepped(self, record: MoveRecord, step: str, phase: str, seconds: float) -> None:
        """A step ended."""
        self._begin_at_zero(_route(record.order))
        self._steps.labels("undo" if phase == "undo" else step).observe(seconds)

    def move_ended(self, record: MoveRecord) -> None:
        """A move ended."""
        route, outcome = _route(record.order), str(record.state)
        self._begin_at_zero(route)
        self._moves.labels(*route, outcome).inc()
        if record.started_at is not None and record.finished_at is not None:
            seconds = max(0.0, (record.finished_at - record.started_at).total_seconds())
            self._durations.labels(outcome).observe(seconds, exemplar={"move_id": record.id})

    def rules_loaded(self, *, ok: bool, mode: str | None) -> None:
        """The rules were read, or refused and the old ones kept."""
        with self._lock:
            _, old_mode, old_at = self._rules
            now = self._clock.now().timestamp()
            self._rules = (ok, mode if ok else old_mode, now if ok else old_at)

    def planned(self, plan: Plan, budgets: Mapping[str, int]) -> None:
        """A plan was made; the counters of its rules begin, those of rules that left the file end."""
        rules = frozenset(plan.rules)
        with self._lock:
            self._plan, self._budgets = plan, dict(budgets)
            known, self._rules_counted = self._rules_counted, rules
            gone = {route for route in self._routes if route[0] not in {*rules, BY_HAND}}
            self._routes -= gone
            for route in gone:
                for outcome in OUTCOMES:
                    self._moves.remove(*route, outcome)
            for rule in known - rules:
                self._errors.remove(rule)
                for decision in DECISIONS:
                    self._decisions.remove(rule, *decision)
            for rule in rules - known:
                self._errors.labels(rule)
                for decision in DECISIONS:
                    self._decisions.labels(rule, *decision)
        for verdict in plan.verdicts:
            if verdict.failure is not None:
                self._errors.labels(verdict.rule).inc()
        for move in plan.moves:
            self._begin_at_zero((move.rule, str(move.origin.pool), str(move.destination.pool)))

    def decided(self, rule: str, decision: str, reason: str, count: int) -> None:
        """A decision was made or changed."""
        self._decisions.labels(rule, decision, reason).inc(count)

    def _begin_at_zero(self, route: tuple[str, str, str]) -> None:
        """Every outcome of such moves, before one ends: a counter that begins at 1 shows no increase."""
        with self._lock:
            if route in self._routes:
                return
            for outcome in OUTCOMES:
                self._moves.labels(*route, outcome)
            self._routes.add(route)

    def cycle_ended(self, outcome: str, seconds: float) -> None:
        """A cycle ended."""
        self._cycles.labels(outcome).inc()
        with self._lock:
            self._cycle_seconds = seconds

    def collect(self) -> Iterator[Metric]:
        """The families; none where this daemon has no journal and so never acts."""
        state = self._state()
        if state is None:
            return
        with self._lock:
            plan, budgets, (ok, mode, at) = self._plan, self._budgets, self._rules
            cycle_seconds = self._cycle_seconds
        yield filled(names.RULES_INFO, [(1, mode)] if mode is not None else [])
        yield filled(names.RULES_RELOAD_SUCCESSFUL, [(ok,)])
        yield filled(names.RULES_RELOAD_TIMESTAMP, [(at,)])
        if plan is not None:
            yield from _of_plan(plan, budgets)
        yield from collected(
            self._errors, self._decisions, self._moves, self._durations, self._steps, self._cycles
        )
        yield filled(names.CYCLE_DURATION, [(cycle_seconds,)])
        yield from _of_state(state)


def _route(order: MoveOrder) -> tuple[str, str, str]:
    """The rule, and the pools from and to which the host goes."""
    return order.rule or BY_HAND, order.origin.pool, order.destination.pool


def _of_plan(plan: Plan, budgets: Mapping[str, int]) -> Iterator[Metric]:
    truths = {Truth.TRUE: 1.0, Truth.FALSE: 0.0, Truth.UNKNOWN: None}
    verdicts = plan.verdicts
    yield filled(names.RULE_CONDITION, ((truths[v.condition.when], v.rule, v.gpu_type) for v in verdicts))
    yield filled(names.RULE_ACTING, ((v.state.is_active, v.rule, v.gpu_type) for v in verdicts))
    yield filled(
        names.RULE_PENDING,
        (
            (
                (plan.made_at - v.state.since).total_seconds()
                if v.state.since is not None and not v.state.is_active
                else 0.0,
                v.rule,
                v.gpu_type,
            )
            for v in verdicts
        ),
    )
    wanted = Counter(move.rule for move in plan.moves)
    yield filled(names.PLAN_MOVES, ((wanted[rule], rule) for rule in plan.rules))
    refused: Counter[tuple[str, str]] = Counter()
    for verdict in verdicts:
        if verdict.blocked is not None:
            refused[verdict.rule, verdict.blocked.code] += len(verdict.scope)
            continue
        for refusal in verdict.by_host.values():
            refused[verdict.rule, refusal.code] += 1
    yield filled(names.PLAN_REFUSALS, ((count, *key) for key, count in refused.items() if count))
    yield filled(names.PLAN_TIMESTAMP, [(plan.made_at.timestamp(),)])
    yield filled(names.BUDGET_REMAINING, ((left, rule) for rule, left in budgets.items()))


def _of_state(state: ActingState) -> Iterator[Metric]:
    since = state.frozen_since
    yield filled(names.MOVES_IN_PROGRESS, [(state.moves_in_progress,)])
    yield filled(names.STRANDED, [(state.stranded,)])
    yield filled(names.FROZEN, [(state.is_frozen,)])
    yield filled(names.FROZEN_SINCE, [(None if since is None else since.timestamp(),)])
    yield filled(names.LEADER, [(state.is_leader,)])
    yield filled(names.JOURNAL_UP, [(state.journal_up,)])
