"""What else the journal keeps: decisions, audit, freezes, and what rules remember."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update

from spotd.store.database import Database
from spotd.store.lease import require_lease
from spotd.store.records import AuditRecord, DecisionRecord, Freeze, MoveState
from spotd.store.rows import audit_of, decision_of, freeze_of
from spotd.store.tables import audit, decisions, freezes, memories, moves

_ENDED = (MoveState.DONE, MoveState.UNDONE, MoveState.REFUSED)


class Chronicle:
    """Everything that happened beside the moves themselves.

    Every method raises `StoreError` when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_decisions(self, records: Iterable[DecisionRecord], *, token: int | None = None) -> None:
        """Write all of them down, or none.

        Raises:
            LeaseLost: A token is given, and the lease no longer has it.
        """
        rows = [_row(record) for record in records]
        if not rows:
            return
        with self._database.write() as connection:
            if token is not None:
                require_lease(self._database, connection, token)
            connection.execute(insert(decisions), rows)

    def decisions(
        self,
        limit: int = 100,
        *,
        before: int | None = None,
        host: str | None = None,
        rule: str | None = None,
    ) -> tuple[DecisionRecord, ...]:
        """At most so many decisions, the newest first; the next page is `before` the last one's `number`."""
        statement = select(decisions).order_by(decisions.c.number.desc()).limit(limit)
        if before is not None:
            statement = statement.where(decisions.c.number < before)
        if host is not None:
            statement = statement.where(decisions.c.host == host)
        if rule is not None:
            statement = statement.where(decisions.c.rule == rule)
        with self._database.read() as connection:
            return tuple(map(decision_of, connection.execute(statement).mappings()))

    def record_audit(self, record: AuditRecord) -> None:
        """Write down what was asked of spotd."""
        with self._database.write() as connection:
            connection.execute(insert(audit).values(**_row(record)))

    def audit(self, limit: int = 100, *, before: int | None = None) -> tuple[AuditRecord, ...]:
        """At most so many entries, the newest first; the next page is `before` the last one's `number`."""
        statement = select(audit).order_by(audit.c.number.desc()).limit(limit)
        if before is not None:
            statement = statement.where(audit.c.number < before)
        with self._database.read() as connection:
            return tuple(map(audit_of, connection.execute(statement).mappings()))

    def freeze(self, reason: str, by: str, *, now: datetime, until: datetime | None = None) -> Freeze:
        """Freeze all moves; a freeze that holds already goes on, and the longest of them counts."""
        made = Freeze(reason=reason, by=by, since=now, until=until)
        with self._database.write() as connection:
            connection.execute(insert(freezes).values(**asdict(made)))
        return made

    def unfreeze(self, by: str, *, now: datetime) -> bool:
        """Lift every freeze; whether there was one that held."""
        with self._database.write() as connection:
            lifted = update(freezes).where(_holds(now)).values(lifted_at=now, lifted_by=by)
            return connection.execute(lifted).rowcount > 0

    def current_freeze(self, now: datetime) -> Freeze | None:
        """The freeze that lasts longest of those that hold; None where moves are free."""
        statement = (
            select(freezes)
            .where(_holds(now))
            # One without an end lasts longest; of two alike the older is the reason that moves stopped.
            .order_by(freezes.c.until.is_(None).desc(), freezes.c.until.desc(), freezes.c.number)
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return freeze_of(row) if row is not None else None

    def save_memory(self, name: str, document: dict[str, Any], *, token: int | None = None) -> None:
        """Keep a small JSON document over restarts, in place of the one before.

        Raises:
            LeaseLost: A token is given, and the lease no longer has it.
        """
        with self._database.write() as connection:
            if token is not None:
                require_lease(self._database, connection, token)
            replaced = update(memories).where(memories.c.name == name).values(document=document)
            if connection.execute(replaced).rowcount == 0:
                connection.execute(insert(memories).values(name=name, document=document))

    def memory(self, name: str) -> dict[str, Any] | None:
        """The document that was saved last under this name."""
        with self._database.read() as connection:
            document: dict[str, Any] | None = connection.execute(
                select(memories.c.document).where(memories.c.name == name)
            ).scalar_one_or_none()
        return document

    def prune(self, before: datetime) -> int:
        """Delete what ended before then, and say how many records that were.

        A move that is asked for, runs, or stranded its host is kept however old it is; so is a freeze.
        """
        ended = and_(moves.c.state.in_(_ENDED), moves.c.finished_at < before)
        resolved = and_(moves.c.state == MoveState.STRANDED, moves.c.resolved_at < before)
        over = or_(freezes.c.lifted_at < before, freezes.c.until < before)
        with self._database.write() as connection:
            return sum(
                connection.execute(statement).rowcount
                for statement in (
                    delete(moves).where(or_(ended, resolved)),  # their steps go with them
                    delete(decisions).where(decisions.c.at < before),
                    delete(audit).where(audit.c.at < before),
                    delete(freezes).where(over),
                )
            )


def _holds(now: datetime) -> ColumnElement[bool]:
    return and_(freezes.c.lifted_at.is_(None), or_(freezes.c.until.is_(None), freezes.c.until > now))


def _row(record: DecisionRecord | AuditRecord) -> dict[str, Any]:
    """The columns of a record; the database numbers it."""
    values = asdict(record)
    del values["number"]
    return values
