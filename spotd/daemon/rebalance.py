"""The rebalance cycle: one step closer to the rules, or the word why not."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from spotd.clock import Clock
from spotd.daemon.freezing import Freezing
from spotd.daemon.leadership import Leadership
from spotd.daemon.orders import planned_order, recent, seen_live
from spotd.daemon.steps import ClockSteps, of_the_past, set_ahead
from spotd.fleet.snapshot import FleetSnapshot
from spotd.moves.executor import Executor
from spotd.planning.budgets import Budgets
from spotd.planning.plan import Plan, RuleKey
from spotd.planning.planner import make_plan
from spotd.planning.refusals import Code
from spotd.planning.rules import Rules
from spotd.planning.surroundings import RecentMove, Standing, observe_empty
from spotd.store.errors import HostClaimed, LeaseLost, StoreError, WrongState
from spotd.store.journal import Journal
from spotd.store.records import DecisionRecord, MoveOrder, MoveRecord, MoveState

MEMORY = timedelta(days=1)
"""How far back budgets look; longer cooldowns look further."""

ORDER_LASTS = timedelta(minutes=10)
"""A person's order that nobody took up for so long is refused: the world has changed."""
MOST_MOVES = 1_100
"""Moves that have a thread: those that rules may begin at once, and room for those of people."""
RECOVER = "recover"
"""Name of the journal's memory by which a person asks the leader to settle stranded hosts too."""

log = structlog.get_logger(__name__)


def ask_to_recover(journal: Journal, by: str) -> None:
    """Has the leader settle stranded hosts within seconds.

    Raises:
        StoreError: The journal failed.
    """
    journal.save_memory(RECOVER, {"by": by})


def is_recovering(journal: Journal) -> bool:
    """Whether the leader has not taken up the last such wish yet.

    Raises:
        StoreError: The journal failed.
    """
    return bool(journal.memory(RECOVER))


def look_back(rules: Rules) -> timedelta:
    """How far back moves matter to the rules."""
    cooldowns = [rule.limits.cooldown or timedelta(0) for rule in rules.rules]
    return max((MEMORY, rules.limits.cooldown, *cooldowns))


class CycleRecorder(Protocol):
    """Is told of plans and decisions; the metrics implement it."""

    def planned(self, plan: Plan, budgets: Mapping[str, int]) -> None:
        """A plan was made; `budgets` has the moves that are left, by rule."""
        ...

    def decided(self, rule: str, decision: str, reason: str, count: int = 1) -> None:
        """A decision was made or changed."""
        ...


class Rebalancer:
    """Plans, decides and starts moves; `cycle` is called by one thread at a time."""

    def __init__(
        self,
        *,
        rules: Rules,
        journal: Journal,
        executor: Executor,
        leadership: Leadership,
        freezing: Freezing,
        snapshot: Callable[[], FleetSnapshot | None],
        clock: Clock,
        recorder: CycleRecorder,
        planned: Callable[[Plan], None] = lambda _plan: None,
    ) -> None:
        """`planned` is told of every plan, also of those that move nothing."""
        self.rules = rules
        self.plan: Plan | None = None
        """The latest."""
        self._journal = journal
        self._executor = executor
        self._leadership = leadership
        self._freezing = freezing
        self._snapshot = snapshot
        self._clock = clock
        self._recorder = recorder
        self._planned = planned
        self._states: Mapping[RuleKey, Any] = {}
        self._empty_since: Mapping[str, datetime] = {}
        self._said: dict[tuple[str, str, str | None], str] = {}
        self._failing: dict[RuleKey, str] = {}
        self._steps = ClockSteps(clock)
        self._threads = ThreadPoolExecutor(max_workers=MOST_MOVES, thread_name_prefix="spotd move")
        self._running: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def cycle(self) -> str:
        """One cycle; says what it did, as `spotd_rebalance_cycles_total` counts it.

        Raises:
            StoreError: The journal failed; nothing more is begun.
            LeaseLost: Somebody else leads.
        """
        token = self._leadership.token
        open_moves = self._orphans() if token is not None else []
        if token is not None:
            # What an outage, or a daemon that died, left half done comes first. It holds its host and counts
            # as a move under way; the other hosts need not wait for it.
            self._settle(open_moves, token)
            self._start_asked(token)
        outcome = self._decide(token)
        return "settled" if open_moves and outcome != "moved" else outcome

    def _decide(self, token: int | None) -> str:
        snapshot = self._snapshot()
        if snapshot is None:
            return "blocked"
        plan = self._make_plan(snapshot)
        if self.rules.mode == "observe":
            return "observing"
        if token is None:
            return "not_leader"
        self._write_down(plan, token)
        if self._freezing.current() is not None:
            return "frozen"
        if self.rules.mode != "active" or not plan.moves:
            return "planned"
        for move in plan.moves:
            self._start(planned_order(move), token)
        return "moved"

    def start_asked(self) -> None:
        """Begins moves that people asked for since the last cycle, so that they need not wait for the next.

        Raises:
            StoreError: The journal failed.
            LeaseLost: Somebody else leads.
        """
        token = self._leadership.token
        if token is None:
            return
        if is_recovering(self._journal):
            self._settle([*self._journal.stranded_moves(), *self._orphans()], token)
            self._journal.save_memory(RECOVER, {}, token=token)
        self._start_asked(token)

    def standing(self, *, is_leader: bool) -> Standing:
        """What the planner is told beside the snapshot.

        Raises:
            StoreError: The journal cannot be read.
        """
        freeze = self._freezing.current()
        reason = None if freeze is None else f"{freeze.reason} ({freeze.by})"
        return Standing(is_leader=is_leader, frozen=reason, empty_since=self._empty_since)

    def recent_moves(self, *, but: str | None = None) -> tuple[RecentMove, ...]:
        """Moves that budgets and cooldowns count.

        Raises:
            StoreError: The journal cannot be read.
        """
        return recent(self._recent_records(self._clock.now()), but=but)

    def _recent_records(self, now: datetime) -> list[MoveRecord]:
        since = now - look_back(self.rules) - self._steps.ahead
        return [self._steps.steady(record) for record in self._journal.recent_moves(since)]

    @property
    def moves_in_progress(self) -> int:
        """Moves that this process carries out now."""
        with self._lock:
            return sum(not future.done() for future in self._running.values())

    def close(self, seconds: float) -> None:
        """Waits so long for moves to be taken back; the `leaving` event of the executor is set before."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            futures = list(self._running.values())
        ends_at = self._clock.monotonic() + seconds
        for future in futures:
            try:
                future.exception(timeout=max(0.0, ends_at - self._clock.monotonic()))
            except Exception:  # noqa: BLE001 - a move that is not over in time is settled at the next start
                log.warning("a move is left open")

    def _make_plan(self, snapshot: FleetSnapshot) -> Plan:
        now = self._clock.now()
        self._follow_clock(now)
        self._empty_since = observe_empty(self._empty_since, snapshot, now)
        records = self._recent_records(now)
        moves = recent(records)
        standing = self.standing(is_leader=self._leadership.token is not None)
        standing = replace(standing, seen_live=seen_live(records, now))
        believed = of_the_past(snapshot, now)
        plan = make_plan(self.rules, believed, moves, now, self._states, standing=standing)
        self._states = plan.rule_states
        budgets = Budgets(self.rules.limits, moves, now)
        self._recorder.planned(plan, {rule.name: budgets.remaining(rule) for rule in self.rules.rules})
        self.plan = plan
        self._planned(plan)
        self._tell_failures(plan)
        return plan

    def _follow_clock(self, now: datetime) -> None:
        """What waits goes on by the time that passed, whatever was done to the clock."""
        step = self._steps.look(now)
        if step:
            self._states = {key: set_ahead(state, step) for key, state in self._states.items()}
            self._empty_since = {host: since + step for host, since in self._empty_since.items()}
            log.warning("the clock was set", seconds=round(step.total_seconds(), 3))

    def _tell_failures(self, plan: Plan) -> None:
        """Names each rule that cannot be worked out, once for as long as it says the same."""
        failing = {(v.rule, v.gpu_type): v.failure for v in plan.verdicts if v.failure is not None}
        for key, failure in failing.items():
            if self._failing.get(key) != failure:
                log.error("rule failed", rule=key[0], gpu_type=key[1], reason=failure)
        self._failing = failing

    def _orphans(self) -> list[MoveRecord]:
        """Open moves that no thread of this process carries out."""
        records = self._journal.open_moves()
        with self._lock:
            self._running = {id_: future for id_, future in self._running.items() if not future.done()}
            return [record for record in records if record.id not in self._running]

    def _settle(self, records: list[MoveRecord], token: int) -> None:
        for record in records:
            if self._is_running(record.id):
                continue
            log.info("settling an open move", host=record.order.host, move_id=record.id)
            self._hand_over(record, token, self._executor.settle)

    def _is_running(self, move_id: str) -> bool:
        with self._lock:
            future = self._running.get(move_id)
        return future is not None and not future.done()

    def _start_asked(self, token: int) -> None:
        now = self._clock.now()
        for record in self._journal.asked_moves():
            if now - record.asked_at <= ORDER_LASTS:
                self._start(record.id, token)
                continue
            waited = f"it was asked for at {record.asked_at.isoformat()} and nobody began it for too long"
            self._journal.finish(
                record.id, MoveState.REFUSED, waited, token=token, now=now, code=Code.READING_STALE
            )

    def _start(self, order: MoveOrder | str, token: int) -> None:
        """Claims the host and hands the move to a thread."""
        try:
            record = self._journal.begin(order, token=token, now=self._clock.now())
        except (HostClaimed, WrongState) as error:
            # A move that a person asked for waits in the journal; a rule's comes again with the next plan.
            log.info("move not begun", reason=str(error))
            return
        log.info(
            "move begun",
            host=record.order.host,
            origin=record.order.origin.name,
            destination=record.order.destination.name,
            rule=record.order.rule,
            asked_by=record.order.asked_by,
            move_id=record.id,
            reason=record.order.reason,
        )
        self._hand_over(record, token, self._executor.run)

    def _hand_over(self, record: MoveRecord, token: int, carry_out: Callable[..., MoveRecord]) -> None:
        with self._lock:
            self._running[record.id] = self._threads.submit(self._carry_out, record, token, carry_out)

    def _carry_out(self, record: MoveRecord, token: int, carry_out: Callable[..., MoveRecord]) -> None:
        try:
            ended = carry_out(record, token=token)
            if ended.state is not MoveState.RUNNING:
                self._freezing.ended(ended, token=token)
        except (LeaseLost, StoreError) as error:
            log.error("stopped acting", move_id=record.id, reason=str(error))  # noqa: TRY400 - one sentence
        except Exception:  # the edge of a move: it stays open and is settled by the next cycle
            log.exception("move interrupted", move_id=record.id, host=record.order.host)

    def _write_down(self, plan: Plan, token: int) -> None:
        """Keeps moves, and refusals whose code changed; a rule's own reason stands once for all its hosts."""
        said: dict[tuple[str, str, str | None], tuple[str, str]] = {}
        for verdict in plan.verdicts:
            key = (verdict.rule, verdict.gpu_type)
            if verdict.blocked is not None:
                said[*key, None] = verdict.blocked.code, verdict.blocked.sentence
            for host, refusal in verdict.by_host.items():
                said[*key, host] = refusal.code, refusal.sentence
        at = plan.made_at
        records = [
            DecisionRecord(
                at=at, rule=rule, gpu_type=kind, host=host, decision="refuse", code=code, sentence=sentence
            )
            for (rule, kind, host), (code, sentence) in said.items()
            if self._said.get((rule, kind, host)) != code
        ]
        records += [
            DecisionRecord(
                at=at,
                rule=move.rule,
                gpu_type=move.gpu_type,
                host=move.host,
                decision="move",
                code="move",
                sentence=f"{move.origin.name} to {move.destination.name}: {move.reason}",
            )
            for move in plan.moves
            if self._said.get((move.rule, move.gpu_type, move.host)) != "move"
        ]
        if records:
            self._journal.record_decisions(records, token=token)
        for record in records:
            self._recorder.decided(record.rule, record.decision, record.code)
        self._said = {key: code for key, (code, _) in said.items()} | {
            (move.rule, move.gpu_type, move.host): "move" for move in plan.moves
        }
