"""Who leads, and whether the journal is there: told at once, and once in the log."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from standing import Clock
from structlog.testing import capture_logs
from waiting import until

from spotd.daemon.leadership import Leadership
from spotd.store import Store, open_store
from spotd.store.errors import StoreError

TTL = timedelta(seconds=10)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[Store]:
    with open_store(f"sqlite:///{path}", clock=clock) as opened:
        yield opened


def test_a_leader_whose_journal_goes_leads_no_more_and_says_so_once(store: Store, path: Path) -> None:
    leadership = Leadership(store.lease("a", TTL))
    leadership.renew()
    before = (leadership.token, leadership.store_answered)
    path.unlink()

    assert (1, True) == before
    assert (None, False) == (leadership.token, leadership.store_answered)
    with capture_logs() as told:
        leadership.renew()
        leadership.renew()
    assert [("journal lost", "error"), ("not leading any more", "warning")] == [
        (line["event"], line["log_level"]) for line in told
    ]
    assert "was removed or renamed" in told[0]["reason"]
    assert "restart" in told[0]["reason"]


def test_a_journal_that_is_put_back_is_led_again(store: Store, path: Path, clock: Clock) -> None:
    leadership = Leadership(store.lease("a", TTL))
    leadership.renew()
    path.rename(path.parent / "away")
    leadership.renew()
    (path.parent / "away").rename(path)
    clock.move(TTL.total_seconds())

    with capture_logs() as told:
        won = leadership.renew()

    assert (True, 2, True) == (won, leadership.token, leadership.store_answered)
    assert ["journal answers again", "leading"] == [line["event"] for line in told]


def test_a_renewal_that_waits_too_long_is_no_answer(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that hangs, on which nothing ends a wait."""
    lease = store.lease("a", TTL)
    leadership = Leadership(lease)
    leadership.renew()
    asked, go = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        go.wait(10)
        raise StoreError("the disk is gone")

    monkeypatch.setattr(store._database, "examine", hang)
    waiting = threading.Thread(target=leadership.renew)
    waiting.start()
    until(asked.is_set)
    at_first = leadership.store_answered
    clock.move(4)
    later = (leadership.store_answered, leadership.token)
    clock.move(6)
    at_last = (leadership.store_answered, leadership.token)
    go.set()
    waiting.join()

    assert (True, (False, 1), (False, None)) == (at_first, later, at_last)
