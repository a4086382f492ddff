"""What a command needs to act by itself: one collection, the journal, and the lease while it lasts."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from spotd.cli.options import EXIT_FAILED, EXIT_USAGE, exit_for, fail, leave_for
from spotd.cli.planning import Unrecorded
from spotd.cli.printing import say
from spotd.cli.signals import Signals
from spotd.clock import Clock, SystemClock
from spotd.clouds.errors import CloudError
from spotd.daemon.acting import timing_of
from spotd.daemon.freezing import Freezing
from spotd.daemon.interpretation import interpretation_of
from spotd.daemon.orders import recent
from spotd.daemon.region import Region, build_region
from spotd.moves.executor import Executor
from spotd.moves.guarding import Grounds
from spotd.planning.refusals import Code
from spotd.planning.rules import Rules
from spotd.planning.surroundings import Standing
from spotd.settings import Settings, journal_url, state_directory
from spotd.store.errors import HostClaimed, StoreError
from spotd.store.records import MoveRecord, MoveState
from spotd.store.store import Store, open_store

Result = TypeVar("Result")
SIGNAL_SECONDS = 0.2
"""How long a command that is done waits at most for the thread that watches for signals."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The fleet as it was a moment ago, and the journal."""

    settings: Settings
    clock: Clock
    region: Region
    store: Store
    freezing: Freezing

    @property
    def lease_ttl(self) -> timedelta:
        """Of the configuration, which all daemons share."""
        return timedelta(seconds=self.settings.journal.lease_seconds)

    def grounds(self) -> Grounds:
        """The snapshot and what holds moves back now."""
        snapshot = self.region.collection.latest()
        assert snapshot is not None  # noqa: S101 - a collection always joins one
        freeze = self.freezing.current()
        frozen = None if freeze is None else f"{freeze.reason} ({freeze.by})"
        recent_moves = recent(self.store.journal.recent_moves(self.clock.now() - timedelta(days=1)))
        return Grounds(
            rules=Rules(),
            snapshot=snapshot,
            interpretation=interpretation_of(self.settings),
            standing=Standing(frozen=frozen),
            recent_moves=tuple(move for move in recent_moves if move.finished_at is not None),
        )


@dataclass(frozen=True, slots=True)
class Lead:
    """The executor of a command that holds the lease."""

    desk: Desk
    executor: Executor
    token: int

    def begin_and_run(self, move_id: str) -> MoveRecord:
        """Carries out a move that was asked for; where another move holds the host it is refused for good."""
        journal, now = self.desk.store.journal, self.desk.clock.now()
        try:
            record = journal.begin(move_id, token=self.token, now=now)
        except HostClaimed as error:
            # Left as asked, a daemon that comes up later would do what this command said is not done.
            code = Code.MOVE_IN_PROGRESS
            return journal.finish(
                move_id, MoveState.REFUSED, str(error), token=self.token, now=now, code=code
            )
        return self._ended(self.executor.run(record, token=self.token))

    def settle(self, record: MoveRecord) -> MoveRecord:
        """Settles an open or stranded move."""
        return self._ended(self.executor.settle(record, token=self.token))

    def _ended(self, record: MoveRecord) -> MoveRecord:
        if record.state is not MoveState.RUNNING:
            self.desk.freezing.ended(record, token=self.token)
        return record


class _Telling:
    """Tells each step on standard output."""

    def move_stepped(self, record: MoveRecord, step: str, phase: str, outcome: str, seconds: float) -> None:  # noqa: ARG002
        say(f"  {phase} {step}: {outcome} ({seconds:.1f} s)")

    def move_ended(self, record: MoveRecord) -> None:
        """The command itself tells the end."""


@contextmanager
def desk_for(settings: Settings) -> Iterator[Desk]:
    """Collects once and opens the journal, or leaves with the reason."""
    url = journal_url(settings.journal, state_directory(settings, os.environ))
    if url is None:
        fail("there is no journal: set collection.state_directory or journal.url", EXIT_USAGE)
    clock = SystemClock()
    try:
        store = open_store(url)
        region = build_region(
            settings, clock=clock, recorder=Unrecorded(), observer=lambda *_: None, wait_for_walk=True
        )
    except StoreError as error:
        leave_for(error)
    except CloudError as error:
        exit_for(error)
    freezing = Freezing(
        store.journal,
        clock,
        file=settings.rules.freeze_file,
        after_failures=settings.moves.freeze_after_failures,
    )
    try:
        result = region.collection.collect()
        if result.failures:
            told = "; ".join(f"{agent} failed: {why}" for agent, why in sorted(result.failures.items()))
            say(f"spotd: warning: {told}", err=True)
        yield Desk(settings, clock, region, store, freezing)
    finally:
        region.close()
        store.close()


def run_leading(desk: Desk, do: Callable[[Lead], Result]) -> Result | None:
    """Does it while holding the lease; None where a daemon holds it.

    Raises:
        StoreError: The journal failed.
        LeaseLost: Another took the lease meanwhile.
    """
    lease = desk.store.lease(f"cli {socket.gethostname()} {os.getpid()}", desk.lease_ttl)
    token = lease.try_acquire()
    if token is None:
        return None
    done = threading.Event()
    renewing = threading.Thread(
        target=_renew, args=(lease, done, desk.lease_ttl.total_seconds() / 3), daemon=True
    )
    renewing.start()
    leaving = threading.Event()
    executor = Executor(
        desk.region.host_calls(write_timeout_seconds=desk.settings.moves.write_timeout_seconds),
        desk.store.journal,
        grounds=desk.grounds,
        timing=timing_of(desk.settings),
        clock=desk.clock,
        observer=_Telling(),
        leaving=leaving,
        leads=lambda token: token == lease.token,
    )
    try:
        with interruptible(leaving):
            return do(Lead(desk, executor, token))
    finally:
        done.set()
        renewing.join()
        lease.release()


@contextmanager
def interruptible(leaving: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM have the move taken back; a second one leaves it open."""
    if threading.current_thread() is not threading.main_thread():
        yield  # nobody but the main thread may ask for signals
        return
    over = threading.Event()
    with Signals() as signals:
        watching = threading.Thread(target=_watch, args=(signals, leaving, over), daemon=True)
        watching.start()
        try:
            yield
        finally:
            over.set()
            watching.join()


def _watch(signals: Signals, leaving: threading.Event, over: threading.Event) -> None:
    while not over.is_set():
        if signals.wait(time.monotonic() + SIGNAL_SECONDS) is None:
            continue
        if leaving.is_set():
            say("spotd: left open; a daemon that leads, or spotd recover, settles it", err=True)
            os._exit(EXIT_FAILED)
        leaving.set()
        say("spotd: taking the move back; once more, and it is left open", err=True)


def _renew(lease: Any, done: threading.Event, seconds: float) -> None:
    while not done.wait(seconds):
        try:
            lease.try_acquire()
        except StoreError:
            continue  # the lease lapses by itself, and the next write into the journal says so
