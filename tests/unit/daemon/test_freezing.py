"""When spotd freezes itself, and what a freeze file says."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fleets import NOW
from odd_files import ODD, make_huge

from spotd.clock import SystemClock
from spotd.daemon.freezing import Freezing
from spotd.store.records import MoveOrder, MovePlace, MoveRecord, MoveState
from spotd.store.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path / 'journal.sqlite'}")


@pytest.fixture
def token(store: Store) -> int:
    found = store.lease("me", timedelta(minutes=5)).try_acquire()
    assert found is not None
    return found


def freezing(store: Store, file: Path | None = None) -> Freezing:
    return Freezing(store.journal, SystemClock(), file=file, after_failures=3)


def ended(state: MoveState, *, code: str | None = None) -> MoveRecord:
    place = MovePlace(id=1, uuid="u", name="H100-n3", pool="ondemand")
    order = MoveOrder(
        host="gpu-1",
        origin=place,
        destination=replace(place, id=2, name="H100-n3-spot", pool="spot"),
        gpu_type="H100",
        rule="lend",
        asked_by="rule lend",
        reason="",
        drain_deadline=None,
    )
    times = {"asked_at": NOW, "started_at": NOW, "finished_at": NOW}
    return MoveRecord(
        id="m",
        number=1,
        order=order,
        state=state,
        sentence="why",
        code=code,
        service_id=None,
        fenced=True,
        **times,
    )


@pytest.mark.parametrize(("make", "why"), ODD.values(), ids=ODD)
def test_whatever_stands_in_a_freeze_files_place_freezes_and_is_not_waited_for(
    make: Callable[[Path], None], why: str, store: Store, tmp_path: Path
) -> None:
    make(tmp_path / "freeze")

    found = freezing(store, tmp_path / "freeze").current()

    assert found is not None
    assert found.reason.lower() == f"{tmp_path / 'freeze'}: cannot be read: {why}".lower()


def test_a_freeze_file_without_end_says_what_it_says_first(store: Store, tmp_path: Path) -> None:
    make_huge(tmp_path / "freeze")

    found = freezing(store, tmp_path / "freeze").current()

    assert found is not None
    assert len(found.reason) < 400


def test_three_failures_in_a_row_freeze(store: Store, token: int) -> None:
    guard = freezing(store)

    for _ in range(2):
        guard.ended(ended(MoveState.UNDONE), token=token)
    before = guard.current()
    guard.ended(ended(MoveState.UNDONE), token=token)

    freeze = guard.current()
    assert before is None
    assert freeze is not None
    assert (freeze.by, freeze.reason.startswith("3 moves in a row")) == ("spotd", True)


def test_a_move_that_is_done_begins_the_count_anew(store: Store, token: int) -> None:
    guard = freezing(store)

    for state in (MoveState.UNDONE, MoveState.UNDONE, MoveState.DONE, MoveState.UNDONE, MoveState.UNDONE):
        guard.ended(ended(state), token=token)

    assert guard.current() is None


@pytest.mark.parametrize("code", ["servers_present", "interrupted"])
def test_giving_way_is_no_failure(store: Store, token: int, code: str) -> None:
    guard = freezing(store)

    for _ in range(5):
        guard.ended(ended(MoveState.UNDONE, code=code), token=token)

    assert guard.current() is None


def test_a_stranded_host_is_frozen_by_the_journal_once(store: Store, token: int) -> None:
    """With its own end; a second freeze would outlive the first one's reason."""
    guard = freezing(store)
    record = store.journal.begin(ended(MoveState.STRANDED).order, token=token, now=NOW)
    stranded = store.journal.finish(record.id, MoveState.STRANDED, "why", token=token, now=NOW)

    guard.ended(stranded, token=token)

    freeze = guard.current()
    assert freeze is not None
    assert "gpu-1 is stranded" in freeze.reason
    assert store.journal.unfreeze("ada", now=NOW)
    assert guard.current() is None


def test_a_freeze_file_freezes_while_it_is_there(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "freeze"
    guard = freezing(store, file)
    before = guard.current()
    file.write_text("network works\nmore\n")
    during = guard.current()
    file.unlink()

    assert (before, guard.current()) == (None, None)
    assert during is not None
    assert during.reason == f"{file}: network works"


def test_a_freeze_file_that_cannot_be_read_freezes_too(store: Store, tmp_path: Path) -> None:
    """A folder in its place stands for any file that is there and cannot be read."""
    file = tmp_path / "freeze"
    file.mkdir()

    freeze = freezing(store, file).current()

    assert freeze is not None
    assert "cannot be read" in freeze.reason
