"""A process that moves one host, or settles what is open, and can be killed at any of its writes.

`python -m move_driver` reads wishes, one a line, and carries out each in a child. `kill_at` and `when` of a
wish: at which write, counted from 1 over the cloud and the journal, and whether before it is sent
or after it took effect. Prints the child's exit status, its writes and the states of the journal's moves.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog

from spotd.agents.state import AgentName
from spotd.clock import SystemClock
from spotd.clouds.host_calls import HostCalls
from spotd.daemon.interpretation import interpretation_of
from spotd.daemon.region import build_region
from spotd.moves.executor import Executor
from spotd.moves.guarding import Grounds
from spotd.moves.timing import Timing
from spotd.planning.rules import Rules
from spotd.planning.surroundings import Standing
from spotd.settings import Settings
from spotd.store import open_store
from spotd.store.records import MoveOrder, MovePlace

CLOUD_WRITES = ("add_host", "remove_host", "disable_service", "enable_service")
JOURNAL_WRITES = ("begin", "step_began", "step_ended", "fenced", "finish")
TTL = timedelta(seconds=1)
SETTLE_SECONDS = 10


class Killer:
    """Counts writes, and kills this process at one of them."""

    def __init__(self, number: int | None, when: str) -> None:
        self.number = number
        self.when = when
        self.done: list[str] = []

    def around(self, name: str, called: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **named: Any) -> Any:
            self.done.append(name)
            is_it = len(self.done) == self.number
            if is_it and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = called(*args, **named)
            if is_it:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return write


class Killing:
    """Another object whose writes the killer counts."""

    def __init__(self, inner: Any, names: tuple[str, ...], killer: Killer) -> None:
        self._inner = inner
        self._names = names
        self._killer = killer

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._inner, name)
        return self._killer.around(name, called) if name in self._names else called


class Unobserved:
    """Is told of everything and keeps nothing."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_named: None


def carry_out(wish: dict[str, Any]) -> dict[str, Any]:
    """Settles what is open, until nothing is; then moves a host where the wish has an order."""
    killer = Killer(wish.get("kill_at"), wish.get("when", "before"))
    settings = Settings.model_validate(wish["settings"])
    clock = SystemClock()
    region = build_region(
        settings, clock=clock, recorder=Unobserved(), observer=lambda *_: None, wait_for_walk=True
    )
    region.collection.collect(force=frozenset(AgentName))
    snapshot = region.collection.latest()
    assert snapshot is not None
    grounds = Grounds(
        rules=Rules(),
        snapshot=snapshot,
        interpretation=interpretation_of(settings),
        standing=Standing(),
    )
    with open_store(wish["journal"]) as store:
        lease = store.lease("driver", TTL)
        while (token := lease.try_acquire()) is None:  # of the one that was killed, until it lapses
            time.sleep(0.05)
        threading.Thread(target=_keep, args=(lease,), daemon=True).start()
        journal = Killing(store.journal, JOURNAL_WRITES, killer)
        executor = Executor(
            Killing(HostCalls(region.session), CLOUD_WRITES, killer),
            journal,
            grounds=lambda: grounds,
            timing=Timing(**wish["timing"]),
            clock=clock,
            observer=Unobserved(),
            leaving=threading.Event(),
            leads=lambda token: token == lease.token,
        )
        if "order" in wish:
            record = journal.begin(_order(wish["order"]), token=token, now=clock.now())
            executor.run(record, token=token)
        else:
            give_up_at = clock.monotonic() + SETTLE_SECONDS
            while (left := store.journal.open_moves()) and clock.monotonic() < give_up_at:
                for one in left:
                    executor.settle(one, token=token)
                time.sleep(0.05)
        states = [str(one.state) for one in store.journal.moves()]
    return {"writes": killer.done, "states": states}


def _in_a_child(wish: dict[str, Any]) -> dict[str, Any]:
    """The wish in a process of its own, which nothing but the journal and the cloud outlives."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            answer = carry_out(wish)
            os.write(writing, json.dumps(answer).encode())
            code = 0
        except Exception:  # noqa: BLE001 - told by the exit code and on stderr
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), **json.loads(said or b"{}")}


def main() -> None:
    """One wish a line; it is imported once, since that takes longer than a move."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # the answers have stdout
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_in_a_child(json.loads(line))) + "\n")
        sys.stdout.flush()


def _keep(lease: Any) -> None:
    while True:
        time.sleep(TTL.total_seconds() / 5)
        lease.try_acquire()


def _order(document: dict[str, Any]) -> MoveOrder:
    places = {role: MovePlace(**document[role]) for role in ("origin", "destination")}
    return MoveOrder(
        host=document["host"],
        gpu_type=document["gpu_type"],
        rule=None,
        asked_by="cli tester",
        reason="a trial",
        drain_deadline=None,
        **places,
    )


if __name__ == "__main__":
    main()
