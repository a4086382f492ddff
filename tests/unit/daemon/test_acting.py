"""One cycle at a time, and nothing told of a journal that failed."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleets import default_interpretation
from structlog.testing import capture_logs

from spotd.clock import SystemClock
from spotd.daemon.acting import Acting, Surrounding, timing_of
from spotd.planning.rules import Rules
from spotd.settings import Settings
from spotd.store.errors import LeaseLost, StoreError
from spotd.store.store import Store, open_store


class Silent:
    """Takes whatever it is told."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_keywords: None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'journal.sqlite'}") as opened:
        yield opened


def acting(store: Store, snapshot: Callable[[], None]) -> Acting:
    around = Surrounding(
        cloud=Silent,  # type: ignore[arg-type]
        snapshot=snapshot,
        interpretation=default_interpretation,
        moved=lambda _order: None,
        planned=lambda _plan: None,
    )
    silent: Any = Silent()
    return Acting(
        Settings(), Rules(), store, clock=SystemClock(), around=around, recorder=silent, observer=silent
    )


def test_a_cycle_waits_for_the_one_that_runs(store: Store) -> None:
    """That of a lease just won and the scheduled one would settle one move twice."""
    inside, most, go = [0], [0], threading.Event()

    def snapshot() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        go.wait(0.2)
        inside[0] -= 1

    made = acting(store, snapshot)
    threads = [threading.Thread(target=made.cycle) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1]


def test_before_the_journal_was_asked_nobody_says_that_it_answers(store: Store) -> None:
    made = acting(store, lambda: None)

    before = made.state()
    made.renew()

    assert (before.journal_up, before.is_frozen, before.stranded) == (None, None, None)
    assert made.state().journal_up is True


def test_what_a_failed_journal_said_is_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = acting(store, lambda: None)
    made.cycle()
    known = made.state()

    def fail(*_: object) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(made.freezing, "current", fail)
    made.cycle()
    after = made.state()

    assert (known.is_frozen, known.stranded) == (False, 0)
    assert (after.is_frozen, after.stranded) == (None, None)


def test_a_cycle_that_the_stop_interrupts_is_no_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is given up under it."""
    made = acting(store, lambda: None)
    cycle = made.rebalancer.cycle

    def stopped_within() -> str:
        made.leadership.give_up()
        made._leaving.set()
        raise LeaseLost("the lease with token 1 was given up")

    with capture_logs() as told:
        monkeypatch.setattr(made.rebalancer, "cycle", stopped_within)
        made.cycle()
        made._leaving.clear()
        monkeypatch.setattr(made.rebalancer, "cycle", cycle)
        made.cycle()

    assert [line["log_level"] for line in told if line["event"] == "no cycle"] == ["info"]


@pytest.mark.parametrize(
    "name",
    ["settle_seconds", "proof_gap_seconds", "trait_seconds", "quiet_seconds", "patience_seconds"],
)
def test_a_move_waits_as_long_as_the_configuration_says(name: str) -> None:
    """None of the settings is lost on the way."""
    settings = Settings.model_validate({"moves": {name: 77.0}})

    assert 77.0 == getattr(timing_of(settings), name)
