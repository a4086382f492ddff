"""One holder at a time, and a late writer writes nothing."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from orders import NOW, TTL, order
from standing import Clock

from spotd.store import LeaseLost, Store
from spotd.store.records import DecisionRecord, MoveState

DECISION = DecisionRecord(
    at=NOW, rule="r", gpu_type="H100", host=None, decision="move", code="move", sentence="s"
)
Lapse = Callable[[str], None]


def test_the_first_gets_it_and_the_second_does_not(store: Store) -> None:
    first, second = store.lease("a", TTL), store.lease("b", TTL)

    assert (1, None) == (first.try_acquire(), second.try_acquire())
    holder = store.lease("c", TTL).holder()
    assert holder is not None
    assert ("a", 1, TTL) == (holder.holder, holder.token, holder.expires_at - holder.renewed_at)


def test_renewing_keeps_the_token_and_moves_the_end(store: Store, clock: Clock) -> None:
    lease = store.lease("a", TTL)
    token = lease.try_acquire()
    before = lease.holder()
    clock.move(5)

    assert token == lease.try_acquire()
    after = lease.holder()
    assert before is not None
    assert after is not None
    assert before.expires_at < after.expires_at
    assert before.acquired_at == after.acquired_at


def test_one_that_lapsed_goes_to_another_with_a_larger_token(store: Store, url: str, lapse: Lapse) -> None:
    first, second = store.lease("a", TTL), store.lease("b", TTL)
    first.try_acquire()
    lapse(url)

    assert first.holder() is None
    assert 2 == second.try_acquire()
    assert None is first.try_acquire()


def test_one_that_lapsed_has_another_token_for_its_own_holder_too(
    store: Store, url: str, lapse: Lapse
) -> None:
    lease = store.lease("a", TTL)
    lease.try_acquire()
    lapse(url)

    assert 2 == lease.try_acquire()


def test_one_that_was_given_up_is_free_at_once(store: Store) -> None:
    first, second = store.lease("a", TTL), store.lease("b", TTL)
    first.try_acquire()
    first.release()

    assert (None, None) == (first.token, first.holder())
    assert 2 == second.try_acquire()


def test_giving_up_what_another_holds_takes_nothing_from_it(store: Store, url: str, lapse: Lapse) -> None:
    first, second = store.lease("a", TTL), store.lease("b", TTL)
    first.try_acquire()
    lapse(url)
    second.try_acquire()

    first.release()
    store.lease("never held", TTL).release()

    assert 2 == second.try_acquire()


def test_a_namesake_does_not_pass_for_the_holder(store: Store) -> None:
    store.lease("a", TTL).try_acquire()

    assert None is store.lease("a", TTL).try_acquire()


def test_the_holder_knows_by_itself_when_its_time_is_over(store: Store, clock: Clock) -> None:
    lease = store.lease("a", TTL)
    token = lease.try_acquire()
    clock.move(9)
    in_time = lease.token
    clock.move(1)

    assert (token, None) == (in_time, lease.token)


def test_a_clock_that_was_set_back_keeps_a_dead_leader_no_longer_than_its_time(
    store: Store, clock: Clock
) -> None:
    dead, successor = store.lease("a", TTL), store.lease("b", TTL)
    dead.try_acquire()
    clock.time -= timedelta(hours=2)
    told = []
    for _ in range(4):
        told.append(successor.try_acquire())
        clock.move(5)

    assert [None, None, None, 2] == told


def test_a_clock_that_was_set_back_takes_nothing_from_a_leader_that_renews(
    store: Store, clock: Clock
) -> None:
    leader, other = store.lease("a", TTL), store.lease("b", TTL)
    leader.try_acquire()
    clock.time -= timedelta(hours=2)
    for _ in range(6):
        clock.move(5)
        assert (1, None) == (leader.try_acquire(), other.try_acquire())


def written(store: Store, token: int, move_id: str) -> dict[str, Callable[[], object]]:
    """Every write that takes a token."""
    journal, told = store.journal, {"token": token, "now": NOW}
    return {
        "begin": lambda: journal.begin(order("another"), **told),
        "step_began": lambda: journal.step_began(move_id, "leave", "do", **told),
        "step_ended": lambda: journal.step_ended(move_id, 1, "done", **told),
        "fenced": lambda: journal.fenced(move_id, "service", **told),
        "finish": lambda: journal.finish(move_id, MoveState.DONE, "done", **told),
        "resolve_stranded": lambda: journal.resolve_stranded(move_id, "done", **told),
        "record_decisions": lambda: journal.record_decisions([DECISION], token=token),
        "save_memory": lambda: journal.save_memory("rules", {}, token=token),
    }


@pytest.mark.parametrize("way", ["lapsed", "given up", "taken by another", "never given out"])
def test_a_late_writer_writes_nothing(store: Store, url: str, lapse: Lapse, way: str) -> None:
    lease = store.lease("a", TTL)
    token = lease.try_acquire()
    assert token is not None
    move = store.journal.begin(order(), token=token, now=NOW)
    store.journal.step_began(move.id, "fence", "do", token=token, now=NOW)
    before = store.journal.moves()
    if way == "lapsed":
        lapse(url)
    elif way == "given up":
        lease.release()
    elif way == "taken by another":
        lapse(url)
        store.lease("b", TTL).try_acquire()
    else:
        token += 1

    for write in written(store, token, move.id).values():
        with pytest.raises(LeaseLost, match=f"token {token}"):
            write()

    assert before == store.journal.moves()
    assert ((), None) == (store.journal.decisions(), store.journal.memory("rules"))


def test_every_write_goes_through_under_the_lease(store: Store, token: int) -> None:
    move = store.journal.begin(order(), token=token, now=NOW)
    store.journal.step_began(move.id, "fence", "do", token=token, now=NOW)
    writes = written(store, token, move.id)
    del writes["resolve_stranded"]  # the move is done by then

    for write in writes.values():
        write()

    assert MoveState.DONE is store.journal.moves(host="gpu-1")[0].state
