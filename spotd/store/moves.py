"""Moves in the journal: asked, begun, each step before and after, and the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from spotd.store.database import Database
from spotd.store.errors import HostClaimed, KeyReused, WrongState
from spotd.store.lease import require_lease
from spotd.store.records import EndedOutcome, EndState, MoveOrder, MoveRecord, MoveState, StepPhase
from spotd.store.rows import order_values, read_moves
from spotd.store.tables import freezes, moves, steps

LONGEST_REASON = 200
"""Characters of a freeze that spotd gives the reason for."""
_STRANDED = and_(moves.c.state == MoveState.STRANDED, moves.c.resolved_at.is_(None))
_OPEN = or_(moves.c.state == MoveState.RUNNING, _STRANDED)


class MoveJournal:
    """What was to be moved, how far it came and how it ended; every write is on the disk when it returns.

    Every method raises `StoreError` when the database fails, and every write that takes a token `LeaseLost`
    when the lease no longer has it: then nothing of the write is there.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, order: MoveOrder, *, now: datetime, idempotency_key: str | None = None) -> MoveRecord:
        """Write down that somebody wants the move; the leader picks it up. Anyone may ask.

        The same key with the same order is the same wish: its earlier record is the answer.

        Raises:
            KeyReused: The key stands for another order.
        """
        values = {"state": MoveState.ASKED, "asked_at": now, "idempotency_key": idempotency_key}
        with self._database.write() as connection:
            record = _by_key(connection, idempotency_key)
            if record is None:
                try:
                    with connection.begin_nested():
                        record = _inserted(connection, order, values)
                except IntegrityError:
                    record = _by_key(connection, idempotency_key)  # asked a moment ago by somebody else
                    if record is None:
                        raise
        if record.order != order:
            raise KeyReused(f"the idempotency key {idempotency_key!r} stands for another order")
        return record

    def begin(self, order_or_asked_id: MoveOrder | str, *, token: int, now: datetime) -> MoveRecord:
        """Begin a move of a rule, or one that was asked for: from now on it holds its host.

        Raises:
            HostClaimed: Another move holds the host.
            WrongState: There is no such asked move.
        """
        with self._leading(token) as connection:
            if isinstance(order_or_asked_id, str):
                host = _asked(connection, order_or_asked_id).order.host
            else:
                host = order_or_asked_id.host
            _refuse_claimed(connection, host)
            running = {"state": MoveState.RUNNING, "started_at": now}
            try:
                with connection.begin_nested():
                    if isinstance(order_or_asked_id, MoveOrder):
                        return _inserted(connection, order_or_asked_id, {"asked_at": now, **running})
                    return _updated(connection, order_or_asked_id, running)
            except IntegrityError:
                _refuse_claimed(connection, host)  # begun a moment ago by somebody else
                raise

    def step_began(
        self, move_id: str, step: str, phase: StepPhase, *, token: int, now: datetime, detail: str = ""
    ) -> int:
        """Write down what is about to be done; its number within the move.

        Raises:
            WrongState: The move is not open.
        """
        with self._leading(token) as connection:
            _require(connection, move_id, _OPEN, "open")
            highest = select(func.max(steps.c.number)).where(steps.c.move_id == move_id)
            number: int = (connection.execute(highest).scalar_one() or 0) + 1
            values = {"move_id": move_id, "number": number, "step": step, "phase": phase, "began_at": now}
            connection.execute(insert(steps).values(**values, outcome="began", detail=detail))
        return number

    def step_ended(
        self, move_id: str, number: int, outcome: EndedOutcome, *, token: int, now: datetime, detail: str = ""
    ) -> None:
        """Write down what became of a step; a detail takes the place of the one that it began with.

        Raises:
            WrongState: There is no such step, or its end is written already.
        """
        one = and_(steps.c.move_id == move_id, steps.c.number == number, steps.c.ended_at.is_(None))
        values: dict[str, Any] = {"outcome": outcome, "ended_at": now}
        if detail:
            values["detail"] = detail
        with self._leading(token) as connection:
            if connection.execute(update(steps).where(one).values(**values)).rowcount != 1:
                raise WrongState(f"move {move_id} has no step {number} that began and did not end")

    def fenced(self, move_id: str, service_id: str, *, token: int, now: datetime) -> None:
        """Write down that the move, and nobody else, disabled this compute service.

        Raises:
            WrongState: The move is not open.
        """
        with self._leading(token) as connection:
            _require(connection, move_id, _OPEN, "open")
            _updated(connection, move_id, {"service_id": service_id, "fenced_at": now})

    def finish(
        self,
        move_id: str,
        state: EndState,
        sentence: str,
        *,
        token: int,
        now: datetime,
        code: str | None = None,
    ) -> MoveRecord:
        """Write down how a running move ended, or that an asked one is refused.

        A stranded host stays held, and freezes all moves in the same write.

        Raises:
            WrongState: The move does not run, or one that was only asked for is not being refused.
        """
        allowed = moves.c.state == MoveState.RUNNING
        if state is MoveState.REFUSED:
            allowed = or_(allowed, moves.c.state == MoveState.ASKED)
        values = {"state": state, "sentence": sentence, "finished_at": now, "code": code}
        with self._leading(token) as connection:
            _require(connection, move_id, allowed, "running")
            record = _updated(connection, move_id, values)
            if state is MoveState.STRANDED:
                # Not afterwards: whoever dies in between would leave the next leader free to go on.
                reason = f"host {record.order.host} is stranded: {sentence}"[:LONGEST_REASON]
                connection.execute(insert(freezes).values(reason=reason, by="spotd", since=now))
            return record

    def resolve_stranded(self, move_id: str, sentence: str, *, token: int, now: datetime) -> MoveRecord:
        """Write down that a stranded host was put right, and how; its host is free again.

        Raises:
            WrongState: The move did not strand its host, or that is resolved already.
        """
        with self._leading(token) as connection:
            _require(connection, move_id, _STRANDED, "stranded")
            return _updated(connection, move_id, {"resolved_at": now, "resolution": sentence})

    def asked_with(self, idempotency_key: str) -> MoveRecord | None:
        """The move that was asked for with this key."""
        with self._database.read() as connection:
            return _by_key(connection, idempotency_key)

    def asked_moves(self) -> tuple[MoveRecord, ...]:
        """Moves that wait to be picked up, the oldest first."""
        return self._oldest_first(moves.c.state == MoveState.ASKED)

    def open_moves(self) -> tuple[MoveRecord, ...]:
        """Moves that were begun and have not ended, the oldest first."""
        return self._oldest_first(moves.c.state == MoveState.RUNNING)

    def stranded_moves(self) -> tuple[MoveRecord, ...]:
        """Moves that stranded their host, as long as nobody resolved that, the oldest first."""
        return self._oldest_first(_STRANDED)

    def recent_moves(self, since: datetime) -> tuple[MoveRecord, ...]:
        """Moves that were begun or ended since then, and all that run, the oldest first."""
        recent = or_(moves.c.started_at >= since, moves.c.finished_at >= since)
        begun = moves.c.started_at.is_not(None)
        return self._oldest_first(or_(and_(begun, recent), moves.c.state == MoveState.RUNNING))

    def move(self, move_id: str) -> MoveRecord | None:
        """The move of this id."""
        with self._database.read() as connection:
            return _one(connection, moves.c.id == move_id)

    def moves(
        self,
        limit: int = 100,
        *,
        before: int | None = None,
        host: str | None = None,
        state: MoveState | None = None,
    ) -> tuple[MoveRecord, ...]:
        """At most so many moves, the newest first; the next page is `before` the last one's `number`."""
        statement = select(moves).order_by(moves.c.number.desc()).limit(limit)
        if before is not None:
            statement = statement.where(moves.c.number < before)
        if host is not None:
            statement = statement.where(moves.c.host == host)
        if state is not None:
            statement = statement.where(moves.c.state == state)
        with self._database.read() as connection:
            return read_moves(connection, statement)

    def _oldest_first(self, condition: ColumnElement[bool]) -> tuple[MoveRecord, ...]:
        with self._database.read() as connection:
            return read_moves(connection, select(moves).where(condition).order_by(moves.c.number))

    @contextmanager
    def _leading(self, token: int) -> Iterator[Connection]:
        with self._database.write() as connection:
            require_lease(self._database, connection, token)
            yield connection


def _inserted(connection: Connection, order: MoveOrder, values: dict[str, Any]) -> MoveRecord:
    move_id = str(uuid4())
    connection.execute(insert(moves).values(id=move_id, **order_values(order), **values))
    return _known(connection, move_id)


def _updated(connection: Connection, move_id: str, values: dict[str, Any]) -> MoveRecord:
    connection.execute(update(moves).where(moves.c.id == move_id).values(**values))
    return _known(connection, move_id)


def _one(connection: Connection, condition: ColumnElement[bool]) -> MoveRecord | None:
    return next(iter(read_moves(connection, select(moves).where(condition))), None)


def _known(connection: Connection, move_id: str) -> MoveRecord:
    record = _one(connection, moves.c.id == move_id)
    if record is None:
        raise WrongState(f"there is no move {move_id}")
    return record


def _by_key(connection: Connection, idempotency_key: str | None) -> MoveRecord | None:
    if idempotency_key is None:
        return None
    return _one(connection, moves.c.idempotency_key == idempotency_key)


def _asked(connection: Connection, move_id: str) -> MoveRecord:
    _require(connection, move_id, moves.c.state == MoveState.ASKED, "asked")
    return _known(connection, move_id)


def _require(connection: Connection, move_id: str, condition: ColumnElement[bool], wanted: str) -> None:
    """Hold the move still until the transaction ends, or say in which state it is instead."""
    held = select(moves.c.state, moves.c.resolved_at, condition).where(moves.c.id == move_id)
    found = connection.execute(held.with_for_update()).one_or_none()
    if found is None:
        raise WrongState(f"there is no move {move_id}")
    state, resolved_at, is_wanted = found
    if not is_wanted:
        resolved = " and resolved" if resolved_at is not None else ""
        raise WrongState(f"move {move_id} is {state}{resolved}, not {wanted}")


def _refuse_claimed(connection: Connection, host: str) -> None:
    claiming = connection.execute(select(moves.c.id, moves.c.state).where(and_(moves.c.host == host, _OPEN)))
    if claim := claiming.first():
        raise HostClaimed(f"host {host} is held by move {claim.id}, which is {claim.state}")
