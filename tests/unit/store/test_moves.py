"""What the journal keeps of moves, the same on every database."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from orders import LATER, NOW, order, place

from spotd.store import HostClaimed, KeyReused, Store, WrongState
from spotd.store.records import EndState, MoveOrder, MoveState, StepRecord

MANUAL = order(rule=None, asked_by="cli ada", drain_deadline=timedelta(minutes=90, microseconds=5))
HOUR = timedelta(hours=1)
END_STATES: tuple[EndState, ...] = (
    MoveState.DONE,
    MoveState.UNDONE,
    MoveState.REFUSED,
    MoveState.STRANDED,
)


def test_keeps_an_order_as_it_was_asked_for(store: Store) -> None:
    record = store.journal.ask(MANUAL, now=NOW)

    assert (MANUAL, MoveState.ASKED, NOW, None) == (
        record.order,
        record.state,
        record.asked_at,
        record.started_at,
    )
    assert store.journal.move(record.id) == record
    assert store.journal.asked_moves() == (record,)


def test_the_same_key_with_the_same_order_is_the_same_wish(store: Store) -> None:
    first = store.journal.ask(MANUAL, now=NOW, idempotency_key="k")
    again = store.journal.ask(MANUAL, now=LATER, idempotency_key="k")

    assert first == again
    assert store.journal.moves() == (first,)


@pytest.mark.parametrize(
    "other",
    [
        replace(MANUAL, host="gpu-2"),
        replace(MANUAL, destination=place("elsewhere")),
        replace(MANUAL, drain_deadline=None),
        replace(MANUAL, asked_by="api eve"),
    ],
    ids=["host", "destination", "deadline", "asker"],
)
def test_the_same_key_with_another_order_is_refused(store: Store, other: MoveOrder) -> None:
    store.journal.ask(MANUAL, now=NOW, idempotency_key="k")

    with pytest.raises(KeyReused, match="'k' stands for another order"):
        store.journal.ask(other, now=NOW, idempotency_key="k")
    assert len(store.journal.moves()) == 1


def test_without_a_key_each_wish_is_its_own(store: Store) -> None:
    assert store.journal.ask(MANUAL, now=NOW).id != store.journal.ask(MANUAL, now=NOW).id


def test_a_rule_begins_a_move_at_once(store: Store, token: int) -> None:
    record = store.journal.begin(order(), token=token, now=NOW)

    assert (order(), MoveState.RUNNING, NOW, NOW) == (
        record.order,
        record.state,
        record.asked_at,
        record.started_at,
    )
    assert store.journal.open_moves() == (record,)


def test_an_asked_move_is_begun_once(store: Store, token: int) -> None:
    asked = store.journal.ask(MANUAL, now=NOW)

    begun = store.journal.begin(asked.id, token=token, now=LATER)

    assert begun == replace(asked, state=MoveState.RUNNING, started_at=LATER)
    assert store.journal.asked_moves() == ()
    with pytest.raises(WrongState, match=f"move {asked.id} is running, not asked"):
        store.journal.begin(asked.id, token=token, now=LATER)


def test_what_nobody_asked_for_is_not_begun(store: Store, token: int) -> None:
    with pytest.raises(WrongState, match="there is no move nowhere"):
        store.journal.begin("nowhere", token=token, now=NOW)


def test_a_host_is_held_by_one_move(store: Store, token: int) -> None:
    asked = store.journal.ask(order(), now=NOW)
    first = store.journal.begin(order(), token=token, now=NOW)

    for second in (order(rule="other"), asked.id):
        with pytest.raises(HostClaimed, match=f"host gpu-1 is held by move {first.id}, which is running"):
            store.journal.begin(second, token=token, now=NOW)
    store.journal.begin(order("gpu-2"), token=token, now=NOW)


@pytest.mark.parametrize("state", END_STATES)
def test_a_host_is_free_again_unless_it_is_stranded(store: Store, token: int, state: EndState) -> None:
    first = store.journal.begin(order(), token=token, now=NOW)
    ended = store.journal.finish(first.id, state, "so it ended", token=token, now=LATER, code="a_code")

    expected = replace(first, state=state, sentence="so it ended", finished_at=LATER, code="a_code")
    assert expected == ended == store.journal.move(first.id)
    if state is MoveState.STRANDED:
        with pytest.raises(HostClaimed, match="which is stranded"):
            store.journal.begin(order(), token=token, now=LATER)
    else:
        store.journal.begin(order(), token=token, now=LATER)


@pytest.mark.parametrize("state", END_STATES)
def test_a_stranded_host_freezes_all_moves_in_the_same_write(
    store: Store, token: int, state: EndState
) -> None:
    """A daemon that dies right after it must not leave a stranded host and go on with others."""
    first = store.journal.begin(order(), token=token, now=NOW)

    store.journal.finish(first.id, state, "no way back", token=token, now=LATER)

    freeze = store.journal.current_freeze(LATER)
    assert (state is MoveState.STRANDED) == (freeze is not None)
    if freeze is not None:
        assert (freeze.by, freeze.since, freeze.until) == ("spotd", LATER, None)
        assert freeze.reason == f"host {order().host} is stranded: no way back"


def test_a_stranded_host_is_free_when_somebody_resolved_it(store: Store, token: int) -> None:
    first = store.journal.begin(order(), token=token, now=NOW)
    stranded = store.journal.finish(first.id, MoveState.STRANDED, "oh", token=token, now=NOW)
    assert store.journal.stranded_moves() == (stranded,)

    resolved = store.journal.resolve_stranded(first.id, "put back by ada", token=token, now=LATER)

    assert resolved == replace(stranded, resolved_at=LATER, resolution="put back by ada")
    assert (stranded.is_open, resolved.is_open, store.journal.stranded_moves()) == (True, False, ())
    store.journal.begin(order(), token=token, now=LATER)
    with pytest.raises(WrongState, match="is stranded and resolved, not stranded"):
        store.journal.resolve_stranded(first.id, "again", token=token, now=LATER)


@pytest.mark.parametrize("state", END_STATES)
def test_an_asked_move_can_only_be_refused(store: Store, token: int, state: EndState) -> None:
    asked = store.journal.ask(order(), now=NOW)

    if state is MoveState.REFUSED:
        assert store.journal.finish(asked.id, state, "no", token=token, now=NOW).state is state
    else:
        with pytest.raises(WrongState, match="is asked, not running"):
            store.journal.finish(asked.id, state, "yes", token=token, now=NOW)


def test_what_ended_does_not_end_again(store: Store, token: int) -> None:
    move = store.journal.begin(order(), token=token, now=NOW)
    store.journal.finish(move.id, MoveState.DONE, "good", token=token, now=NOW)

    with pytest.raises(WrongState, match="is done, not running"):
        store.journal.finish(move.id, MoveState.UNDONE, "bad", token=token, now=LATER)
    with pytest.raises(WrongState, match="is done, not open"):
        store.journal.step_began(move.id, "leave", "do", token=token, now=LATER)
    with pytest.raises(WrongState, match="is done, not open"):
        store.journal.fenced(move.id, "service", token=token, now=LATER)


def test_each_step_is_there_before_it_is_done_and_after(store: Store, token: int) -> None:
    move = store.journal.begin(order(), token=token, now=NOW)

    fence = store.journal.step_began(move.id, "fence", "do", token=token, now=NOW, detail="service 7")
    begun = StepRecord(
        move_id=move.id,
        number=1,
        step="fence",
        phase="do",
        began_at=NOW,
        ended_at=None,
        outcome="began",
        detail="service 7",
    )
    assert store.journal.open_moves()[0].steps == (begun,)

    store.journal.step_ended(move.id, fence, "unknown", token=token, now=LATER)
    release = store.journal.step_began(move.id, "release", "undo", token=token, now=LATER)
    store.journal.step_ended(move.id, release, "failed", token=token, now=LATER, detail="HTTP 500")

    unknown = replace(begun, outcome="unknown", ended_at=LATER)
    failed = replace(
        unknown,
        number=2,
        step="release",
        phase="undo",
        began_at=LATER,
        outcome="failed",
        detail="HTTP 500",
    )
    assert (unknown, failed) == store.journal.open_moves()[0].steps


def test_a_step_ends_once(store: Store, token: int) -> None:
    move = store.journal.begin(order(), token=token, now=NOW)
    number = store.journal.step_began(move.id, "fence", "do", token=token, now=NOW)
    store.journal.step_ended(move.id, number, "done", token=token, now=NOW)

    for wrong in (number, number + 1):
        with pytest.raises(WrongState, match=f"has no step {wrong} that began and did not end"):
            store.journal.step_ended(move.id, wrong, "failed", token=token, now=LATER)


def test_says_which_compute_service_the_move_disabled(store: Store, token: int) -> None:
    move = store.journal.begin(order(), token=token, now=NOW)
    store.journal.fenced(move.id, "service-7", token=token, now=NOW)

    (kept,) = store.journal.open_moves()
    assert ("service-7", True, False) == (kept.service_id, kept.fenced, move.fenced)


def test_recent_moves_are_those_begun_or_ended_since_and_all_that_run(store: Store, token: int) -> None:
    begin, finish = store.journal.begin, store.journal.finish
    long_ago = begin(order("over"), token=token, now=NOW - 3 * HOUR)
    finish(long_ago.id, MoveState.DONE, "", token=token, now=NOW - 2 * HOUR)
    ended_lately = begin(order("ended"), token=token, now=NOW - 3 * HOUR)
    finish(ended_lately.id, MoveState.DONE, "", token=token, now=NOW)
    begin(order("runs"), token=token, now=NOW - 3 * HOUR)
    begin(order("begun"), token=token, now=NOW - HOUR)
    store.journal.ask(order("asked"), now=NOW)
    refused = store.journal.ask(order("refused"), now=NOW)
    finish(refused.id, MoveState.REFUSED, "never began", token=token, now=NOW)

    recent = store.journal.recent_moves(NOW - HOUR)

    assert ["ended", "runs", "begun"] == [record.order.host for record in recent]


def test_pages_hold_every_move_once_the_newest_first(store: Store, token: int) -> None:
    made = [store.journal.ask(order(f"gpu-{place}"), now=NOW) for place in range(7)]
    begun = store.journal.begin(made[3].id, token=token, now=NOW)
    store.journal.step_began(begun.id, "fence", "do", token=token, now=NOW)

    pages, before = [], None
    while page := store.journal.moves(3, before=before):
        pages.append(page)
        before = page[-1].number
        store.journal.ask(order(), now=LATER)  # what comes meanwhile shifts nothing

    assert [3, 3, 1] == [len(page) for page in pages]
    assert [move.id for move in reversed(made)] == [move.id for page in pages for move in page]
    assert [1] == [len(move.steps) for page in pages for move in page if move.steps]


def test_moves_are_found_by_host_and_by_state(store: Store, token: int) -> None:
    first = store.journal.begin(order("a"), token=token, now=NOW)
    first = store.journal.finish(first.id, MoveState.DONE, "", token=token, now=NOW)
    second = store.journal.begin(order("a"), token=token, now=NOW)
    other = store.journal.begin(order("b"), token=token, now=NOW)

    assert store.journal.moves(host="a") == (second, first)
    assert store.journal.moves(state=MoveState.RUNNING) == (other, second)
    assert store.journal.moves(host="a", state=MoveState.DONE) == (first,)
    assert store.journal.move("none of these") is None


def test_times_come_back_in_utc_whatever_zone_they_were_told_in(store: Store) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))

    record = store.journal.ask(order(), now=there)

    assert (NOW, timedelta(0)) == (record.asked_at, record.asked_at.utcoffset())


def test_times_without_a_zone_are_refused(store: Store) -> None:
    with pytest.raises(Exception, match="has no time zone"):
        store.journal.ask(order(), now=datetime(2026, 3, 4))  # noqa: DTZ001
    assert store.journal.moves() == ()
