"""Several threads and processes on one database; each has connections of its own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from orders import NOW, order

from spotd.store import HostClaimed, KeyReused, LeaseLost, Store, open_store

T = TypeVar("T")
RACERS = 4
LONG = timedelta(minutes=5)
TESTS = Path(__file__).parents[2]


@pytest.fixture
def stores(shared_url: str) -> Iterator[list[Store]]:
    """Opened at once, so that who makes the tables is a race too."""
    with ExitStack() as stack:
        opened = at_once(lambda _: open_store(shared_url))
        for store in opened:
            stack.enter_context(store)
        yield opened


def at_once(act: Callable[[int], T]) -> list[T]:
    ready = threading.Barrier(RACERS)

    def wait_and_act(racer: int) -> T:
        ready.wait()
        return act(racer)

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(wait_and_act, range(RACERS)))


def test_of_many_that_reach_for_the_lease_one_gets_it(stores: list[Store]) -> None:
    leases = [store.lease(f"daemon {place}", LONG) for place, store in enumerate(stores)]

    for round_ in range(1, 6):
        tokens = at_once(lambda racer: leases[racer].try_acquire())

        assert [round_] == [token for token in tokens if token is not None]
        for lease in leases:
            lease.release()


def test_of_many_that_begin_a_move_of_a_host_one_does(stores: list[Store]) -> None:
    token = stores[0].lease("leader", LONG).try_acquire()
    assert token is not None

    def begin(racer: int, host: str) -> str:
        try:
            return stores[racer].journal.begin(order(host), token=token, now=NOW).id
        except HostClaimed:
            return "claimed"

    for host in ("gpu-1", "gpu-2", "gpu-3"):
        told = at_once(lambda racer, host=host: begin(racer, host))

        assert RACERS - 1 == told.count("claimed")
    assert 3 == len(stores[0].journal.open_moves())


def test_of_many_that_begin_an_asked_move_one_does(stores: list[Store]) -> None:
    token = stores[0].lease("leader", LONG).try_acquire()
    assert token is not None
    asked = stores[0].journal.ask(order(), now=NOW)

    def begin(racer: int) -> bool:
        try:
            stores[racer].journal.begin(asked.id, token=token, now=NOW)
        except Exception:  # noqa: BLE001 - not asked any more, or the host is held: both are a no
            return False
        return True

    assert 1 == sum(at_once(begin))


def test_many_that_ask_with_one_key_ask_for_one_move(stores: list[Store]) -> None:
    told = at_once(lambda racer: stores[racer].journal.ask(order(), now=NOW, idempotency_key="k").id)

    assert 1 == len(set(told)) == len(stores[0].journal.moves())


def test_many_that_ask_for_different_moves_with_one_key_get_one(stores: list[Store]) -> None:
    def ask(racer: int) -> bool:
        try:
            stores[racer].journal.ask(order(f"gpu-{racer}"), now=NOW, idempotency_key="k")
        except KeyReused:
            return False
        return True

    assert 1 == sum(at_once(ask))


def test_a_leader_and_its_successor_never_write_at_the_same_time(stores: list[Store]) -> None:
    """The lease goes from hand to hand while all write: tokens in the order of the journal never fall."""

    def lead(racer: int) -> int:
        lease, written = stores[racer].lease(f"daemon {racer}", LONG), 0
        for attempt in range(30):
            token = lease.try_acquire()
            if token is None:
                continue
            try:
                made = order(f"gpu-{racer}-{attempt}", reason=str(token))
                stores[racer].journal.begin(made, token=token, now=NOW)
                written += 1
            except LeaseLost:  # pragma: no cover - nobody takes a lease that holds
                pytest.fail("the lease was lost while it held")
            lease.release()
        return written

    written = sum(at_once(lead))

    tokens = [int(record.order.reason) for record in reversed(stores[0].journal.moves(1000))]
    assert written == len(tokens) > 0
    assert sorted(set(tokens)) == tokens


def test_a_successor_waits_for_the_write_of_a_leader_whose_time_runs_out(shared_url: str) -> None:
    """Else the late write would be there after the successor has looked."""
    with open_store(shared_url) as mine, open_store(shared_url) as other, ThreadPoolExecutor(1) as pool:
        token = mine.lease("slow", timedelta(seconds=2)).try_acquire()
        assert token is not None
        with mine.journal._leading(token):
            threading.Event().wait(2.2)
            taken = pool.submit(other.lease("next", LONG).try_acquire)
            with pytest.raises(TimeoutError):
                taken.result(timeout=0.3)

        assert token + 1 == taken.result()


DYING = """
import os, signal, sys
from datetime import timedelta
from orders import NOW, order
from spotd.store import open_store
store = open_store(sys.argv[1])
token = store.lease("the one that dies", timedelta(milliseconds=1500)).try_acquire()
move = store.journal.begin(order(), token=token, now=NOW)
store.journal.step_began(move.id, "leave", "do", token=token, now=NOW)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_written_is_there_after_a_kill(shared_url: str) -> None:
    paths = os.pathsep.join([str(TESTS), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", DYING, shared_url],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr

    with open_store(shared_url) as store:
        (move,) = store.journal.open_moves()
        assert [("leave", "began", None)] == [(s.step, s.outcome, s.ended_at) for s in move.steps]
        with pytest.raises(HostClaimed):
            acquire_and_begin(store)
        with pytest.raises(LeaseLost):
            store.journal.begin(order("gpu-2"), token=1, now=NOW)


def acquire_and_begin(store: Store) -> None:
    """The dead one's lease lapses by itself; then its host is still held by its move."""
    lease, deadline = store.lease("its successor", LONG), datetime.now(UTC) + timedelta(seconds=10)
    while (token := lease.try_acquire()) is None:
        assert datetime.now(UTC) < deadline
        threading.Event().wait(0.05)
    assert token == 2
    store.journal.begin(order(), token=token, now=NOW)
