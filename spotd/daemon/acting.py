"""Everything that decides and acts, wired in one straight line; started and stopped by the daemon."""

import os
import socket
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, cast

import structlog

from spotd.clock import Clock
from spotd.daemon.forsaken import Forsaken
from spotd.daemon.freezing import Freezing
from spotd.daemon.leadership import RENEWALS, Leadership
from spotd.daemon.rebalance import CycleRecorder, Rebalancer
from spotd.fleet.interpretation import Interpretation
from spotd.fleet.snapshot import FleetSnapshot
from spotd.metrics.acting_own import ActingState
from spotd.moves.cloud import HostCloud
from spotd.moves.executor import Executor
from spotd.moves.guarding import Grounds
from spotd.moves.scribe import MoveObserver
from spotd.moves.timing import Timing
from spotd.planning.plan import Plan
from spotd.planning.rules import Rules
from spotd.settings import Settings
from spotd.store.errors import LeaseLost, StoreError
from spotd.store.records import Freeze, MoveOrder
from spotd.store.store import Store

ORDERS_SECONDS = 2.0
"""How long a person's order waits at most before the leader sees it."""
PRUNE_SECONDS = 3600.0
STOP_SECONDS = 8.0
"""How long a stop waits for moves to be taken back; what is not over by then is settled at the next start."""

log = structlog.get_logger(__name__)


class ActingRecorder(CycleRecorder, Protocol):
    """Is told of cycles; the metrics implement it."""

    def cycle_ended(self, outcome: str, seconds: float) -> None:
        """A cycle ended."""
        ...

    def rules_loaded(self, ok: bool, mode: str | None) -> None:  # noqa: FBT001 - the metric's own value
        """The rules were read, or refused and the old ones kept."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrounding:
    """What acting is given of the daemon; asked for anew each time, since reloads swap it."""

    cloud: Callable[[], AbstractContextManager[HostCloud]]
    """Lends the calls for the length of one."""
    snapshot: Callable[[], FleetSnapshot | None]
    interpretation: Callable[[], Interpretation]
    moved: Callable[[MoveOrder], None]
    """Corrects the snapshot after a move."""
    planned: Callable[[Plan], None]


class Acting:
    """The store, the lease, the executor and the cycle of one daemon."""

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
        store: Store,
        *,
        clock: Clock,
        around: Surrounding,
        recorder: ActingRecorder,
        observer: MoveObserver,
    ) -> None:
        self._clock = clock
        self._around = around
        self._recorder = recorder
        self._leaving = threading.Event()
        self._retention = timedelta(days=settings.journal.retention_days)
        self._last_freeze: tuple[bool, Freeze | None] = (False, None)
        self._stranded: int | None = None
        self._forsaken = Forsaken()
        self._deciding = threading.Lock()
        self.lease_seconds = settings.journal.lease_seconds
        self.store = store
        self.journal = store.journal
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.leadership = Leadership(store.lease(self.holder, timedelta(seconds=self.lease_seconds)))
        self.freezing = Freezing(
            store.journal,
            clock,
            file=settings.rules.freeze_file,
            after_failures=settings.moves.freeze_after_failures,
        )
        self.executor = Executor(
            cast("HostCloud", _Live(around.cloud)),
            store.journal,
            grounds=self._grounds,
            timing=timing_of(settings),
            clock=clock,
            observer=observer,
            leaving=self._leaving,
            leads=lambda token: token == self.leadership.token,
            moved=around.moved,
        )
        self.rebalancer = Rebalancer(
            rules=rules,
            journal=store.journal,
            executor=self.executor,
            leadership=self.leadership,
            freezing=self.freezing,
            snapshot=around.snapshot,
            clock=clock,
            recorder=recorder,
            planned=around.planned,
        )
        recorder.rules_loaded(True, rules.mode)

    def take_up(self, rules: Rules) -> None:
        """Uses these rules from the next cycle on."""
        self.rebalancer.rules = rules
        self._recorder.rules_loaded(True, rules.mode)

    def renew(self) -> None:
        """The lease's job; a lease just won begins with a cycle at once."""
        if self.leadership.renew():
            # In a thread of its own: a cycle that runs already must not keep the lease from its next renewal.
            threading.Thread(target=self.cycle, name="spotd first cycle", daemon=True).start()

    def cycle(self) -> None:
        """The cycle's job: whatever happens, the next one starts anew; one runs at a time."""
        with self._deciding:
            self._cycle()

    def _cycle(self) -> None:
        started = self._clock.monotonic()
        try:
            outcome = self.rebalancer.cycle()
            self._look()
        except (StoreError, LeaseLost) as error:
            outcome = "failed"
            # What the journal said before it failed is no word about now.
            self._last_freeze, self._stranded = (False, None), None
            # A stop gives up the lease under a cycle that runs.
            tell = log.info if self._leaving.is_set() else log.error
            tell("no cycle", reason=str(error))
        except Exception:  # the edge of a job
            outcome = "failed"
            log.exception("cycle failed")
        self._recorder.cycle_ended(outcome, self._clock.monotonic() - started)

    def orders(self) -> None:
        """The job that looks for what people asked."""
        try:
            with self._deciding:
                self.rebalancer.start_asked()
        except (StoreError, LeaseLost) as error:
            log.warning("no orders taken", reason=str(error))

    def prune(self) -> None:
        """The job that forgets what is older than the retention."""
        if self.leadership.token is not None:
            try:
                self.journal.prune(self._clock.now() - self._retention)
            except StoreError as error:
                log.warning("journal not pruned", reason=str(error))

    @property
    def renew_seconds(self) -> float:
        """How often the lease is renewed."""
        return self.lease_seconds / (RENEWALS + 0.5)

    def state(self) -> ActingState:
        """What the metrics show; asks nobody."""
        is_known, freeze = self._last_freeze
        return ActingState(
            is_leader=self.leadership.token is not None,
            is_frozen=freeze is not None if is_known else None,
            frozen_since=freeze.since if freeze is not None else None,
            moves_in_progress=self.rebalancer.moves_in_progress,
            stranded=self._stranded,
            journal_up=self.leadership.store_answered,
        )

    def stop(self) -> None:
        """Takes back what runs, gives up the lease and closes the journal."""
        self._leaving.set()
        self.rebalancer.close(STOP_SECONDS)
        self.leadership.give_up()
        self.store.close()

    def _look(self) -> None:
        self._last_freeze = (True, self.freezing.current())
        stranded = self.journal.stranded_moves()
        hosts = {record.order.host for record in stranded}
        snapshot = self._around.snapshot()
        if snapshot is not None:
            known = {record.id for record in (*self.journal.open_moves(), *stranded)}
            hosts.update(self._forsaken.look(snapshot, known))
        self._stranded = len(hosts)

    def _grounds(self) -> Grounds | None:
        snapshot = self._around.snapshot()
        if snapshot is None:
            return None
        return Grounds(
            rules=self.rebalancer.rules,
            snapshot=snapshot,
            interpretation=self._around.interpretation(),
            standing=self.rebalancer.standing(is_leader=self.leadership.token is not None),
        )


class _Live:
    """The cloud's calls, each of whichever region is the daemon's when it begins."""

    def __init__(self, cloud: Callable[[], AbstractContextManager[HostCloud]]) -> None:
        self._cloud = cloud

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            with self._cloud() as cloud:
                answer: object = getattr(cloud, name)(*arguments)
                return answer

        return call


def timing_of(settings: Settings) -> Timing:
    """The waits of this configuration."""
    moves = settings.moves
    return Timing(
        settle_seconds=moves.settle_seconds,
        proof_gap_seconds=moves.proof_gap_seconds,
        trait_seconds=moves.trait_seconds,
        quiet_seconds=moves.quiet_seconds,
        patience_seconds=moves.patience_seconds,
    )
