"""What the journal keeps beside moves: decisions, audit, freezes, memory; and what it forgets."""

from dataclasses import replace
from datetime import timedelta

import pytest
from orders import LATER, NOW, order

from spotd.store import Store
from spotd.store.records import AuditRecord, DecisionRecord, Freeze, MoveState

DAY = timedelta(days=1)
REFUSED = DecisionRecord(
    at=NOW,
    rule="lend",
    gpu_type="H100",
    host="gpu-1",
    decision="refuse",
    code="servers_present",
    sentence="2 servers",
)
MOVES = replace(REFUSED, host=None, decision="move", code="move", rule="back")
ASKED = AuditRecord(
    at=NOW,
    who="api ada",
    from_where="192.0.2.1",
    what="freeze",
    target="",
    outcome="done",
    detail="because",
)


def test_decisions_come_back_the_newest_first(store: Store) -> None:
    store.journal.record_decisions([REFUSED, MOVES])
    store.journal.record_decisions([])
    store.journal.record_decisions(iter([replace(REFUSED, at=LATER)]))

    kept = store.journal.decisions()

    assert [replace(REFUSED, at=LATER), MOVES, REFUSED] == [replace(found, number=None) for found in kept]
    assert kept[1:] == store.journal.decisions(before=kept[0].number)
    assert kept[:1] == store.journal.decisions(1)
    assert (kept[0], kept[2]) == store.journal.decisions(host="gpu-1")
    assert (kept[1],) == store.journal.decisions(rule="back")


def test_all_decisions_of_a_cycle_are_kept_or_none(store: Store) -> None:
    broken = replace(REFUSED, sentence=None)  # type: ignore[arg-type]

    with pytest.raises(Exception, match="sentence"):
        store.journal.record_decisions([REFUSED, broken])

    assert store.journal.decisions() == ()


def test_audit_comes_back_the_newest_first(store: Store) -> None:
    store.journal.record_audit(ASKED)
    store.journal.record_audit(replace(ASKED, what="unfreeze"))

    kept = store.journal.audit()

    assert ["unfreeze", "freeze"] == [entry.what for entry in kept]
    assert replace(ASKED, number=kept[1].number) == kept[1]
    assert (kept[1],) == store.journal.audit(before=kept[0].number)
    assert (kept[0],) == store.journal.audit(1)


def test_a_freeze_holds_until_it_is_lifted(store: Store) -> None:
    assert store.journal.current_freeze(NOW) is None

    made = store.journal.freeze("maintenance", "cli ada", now=NOW)

    assert Freeze(reason="maintenance", by="cli ada", since=NOW, until=None) == made
    assert made == store.journal.current_freeze(NOW + 400 * DAY)
    assert (True, False) == (
        store.journal.unfreeze("cli ada", now=LATER),
        store.journal.unfreeze("cli ada", now=LATER),
    )
    assert store.journal.current_freeze(LATER) is None


def test_a_freeze_with_an_end_ends_by_itself(store: Store) -> None:
    store.journal.freeze("lunch", "cli ada", now=NOW, until=LATER)

    assert store.journal.current_freeze(LATER - timedelta(microseconds=1)) is not None
    assert store.journal.current_freeze(LATER) is None
    assert store.journal.unfreeze("cli ada", now=LATER) is False


def test_a_shorter_freeze_takes_nothing_from_a_longer_one(store: Store) -> None:
    """A person who freezes for two hours must not end the freeze of a stranded host."""
    stranded = store.journal.freeze("gpu-1 is stranded", "spotd", now=NOW)
    store.journal.freeze("lunch", "cli ada", now=LATER, until=LATER + DAY)

    assert stranded == store.journal.current_freeze(LATER)
    assert stranded == store.journal.current_freeze(LATER + 2 * DAY)
    store.journal.unfreeze("cli ada", now=LATER)
    assert store.journal.current_freeze(LATER) is None


def test_of_two_freezes_with_an_end_the_longer_counts(store: Store) -> None:
    store.journal.freeze("short", "a", now=NOW, until=NOW + DAY)
    store.journal.freeze("long", "b", now=NOW, until=NOW + 2 * DAY)

    freeze = store.journal.current_freeze(NOW)

    assert freeze is not None
    assert "long" == freeze.reason


def test_remembers_documents_by_name(store: Store) -> None:
    assert store.journal.memory("rules") is None
    store.journal.save_memory("rules", {"lend": {"since": 1.5, "held": None}})
    store.journal.save_memory("other", {})
    store.journal.save_memory("rules", {"ümlaut": [True]})

    assert ({"ümlaut": [True]}, {}) == (store.journal.memory("rules"), store.journal.memory("other"))


def test_forgets_what_ended_and_counts_it(store: Store, token: int) -> None:
    journal, told = store.journal, {"token": token, "now": NOW}
    for place, state in enumerate((MoveState.DONE, MoveState.UNDONE, MoveState.REFUSED)):
        move = journal.begin(order(f"gpu-{place}"), **told)
        journal.step_began(move.id, "fence", "do", **told)
        journal.finish(move.id, state, "", **told)
    journal.record_decisions([REFUSED])
    journal.record_audit(ASKED)
    journal.freeze("lunch", "a", now=NOW, until=NOW + timedelta(hours=1))
    journal.freeze("dinner", "a", now=NOW)
    journal.unfreeze("a", now=NOW)

    assert 0 == journal.prune(NOW)
    assert 7 == journal.prune(NOW + DAY)
    assert ((), (), ()) == (journal.moves(), journal.decisions(), journal.audit())
    assert 0 == journal.prune(NOW + DAY)


def test_never_forgets_what_is_open_or_stranded_or_waits_or_holds(store: Store, token: int) -> None:
    journal, told = store.journal, {"token": token, "now": NOW - 1000 * DAY}
    asked = journal.ask(order("asked"), now=NOW - 1000 * DAY)
    running = journal.begin(order("running"), **told)
    number = journal.step_began(running.id, "fence", "do", **told)
    stranded = journal.begin(order("stranded"), **told)
    journal.finish(stranded.id, MoveState.STRANDED, "", **told)
    journal.freeze("stranded", "spotd", now=NOW - 1000 * DAY)
    journal.save_memory("rules", {})

    assert 0 == journal.prune(NOW)
    assert {asked.id, running.id, stranded.id} == {move.id for move in journal.moves()}
    journal.step_ended(running.id, number, "done", **told)
    assert journal.current_freeze(NOW) is not None

    journal.resolve_stranded(stranded.id, "", token=token, now=NOW)
    assert 0 == journal.prune(NOW)  # a stranded move is as old as its resolution
    assert 1 == journal.prune(NOW + DAY)


def test_a_number_that_was_a_cursor_never_comes_back(store: Store) -> None:
    store.journal.record_audit(ASKED)
    (first,) = store.journal.audit()
    store.journal.prune(NOW + DAY)
    store.journal.record_audit(ASKED)

    (second,) = store.journal.audit()

    assert first.number is not None
    assert second.number is not None
    assert first.number < second.number
