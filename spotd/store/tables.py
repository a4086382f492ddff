"""The tables of the journal, alike on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    TypeDecorator,
    text,
)
from sqlalchemy import Text as AnyText
from sqlalchemy.types import TypeEngine

from spotd.store.records import MoveState

LEADER = "leader"
"""The name of the one lease."""


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time: `timestamptz` on PostgreSQL, text of fixed width on SQLite, so that both compare."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text where the database has no times of its own."""
        return dialect.type_descriptor(AnyText() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """The time as the database keeps it."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: the journal takes aware times only")
        utc = value.astimezone(UTC)
        return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """The time in UTC, whatever the session's time zone is."""
        if value is None:
            return None
        return (datetime.fromisoformat(value) if dialect.name == "sqlite" else value).astimezone(UTC)


class Text(TypeDecorator[str]):
    """Any text: what a database cannot hold stands as a backslash escape, so that it cannot stop a journal.

    PostgreSQL refuses NUL, and neither holds half of a surrogate pair, which JSON may bring.
    """

    impl = AnyText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """The text as it is kept."""
        return None if value is None else keepable(value)


def keepable(text: str) -> str:
    """The text without what is no character."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def _number() -> Column[int]:
    # AUTOINCREMENT: a number that was a cursor once never comes back for another row.
    return Column(
        "number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )


metadata = MetaData()
_OPEN = text("state = 'running' OR (state = 'stranded' AND resolved_at IS NULL)")
_STATES = ", ".join(f"'{state}'" for state in MoveState)

schema_version = Table("spotd_schema", metadata, Column("version", Integer, nullable=False))

moves = Table(
    "moves",
    metadata,
    _number(),
    Column("id", Text, nullable=False, unique=True),
    Column("idempotency_key", Text, unique=True),
    Column("host", Text, nullable=False),
    Column("origin_id", BigInteger, nullable=False),
    Column("origin_uuid", Text),
    Column("origin_name", Text, nullable=False),
    Column("origin_pool", Text, nullable=False),
    Column("destination_id", BigInteger, nullable=False),
    Column("destination_uuid", Text),
    Column("destination_name", Text, nullable=False),
    Column("destination_pool", Text, nullable=False),
    Column("gpu_type", Text, nullable=False),
    Column("rule", Text),
    Column("asked_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("drain_seconds", Float),
    Column("state", Text, CheckConstraint(f"state IN ({_STATES})", name="a_known_state"), nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("sentence", Text, nullable=False, default=""),
    Column("code", Text),
    Column("service_id", Text),
    Column("fenced_at", UtcTime),
    Column("resolved_at", UtcTime),
    Column("resolution", Text, nullable=False, default=""),
    # Two daemons may ask; that only one move holds a host is for the database to say.
    Index("one_open_move_of_a_host", "host", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index("moves_by_state", "state"),
    Index("moves_by_host", "host", "number"),
    Index("moves_by_start", "started_at"),
    Index("moves_by_finish", "finished_at"),
    sqlite_autoincrement=True,
)

steps = Table(
    "steps",
    metadata,
    Column("move_id", Text, ForeignKey("moves.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("step", Text, nullable=False),
    Column("phase", Text, CheckConstraint("phase IN ('do', 'undo')", name="a_known_phase"), nullable=False),
    Column("began_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    CheckConstraint("outcome IN ('began', 'done', 'failed', 'unknown')", name="a_known_outcome"),
    CheckConstraint("(outcome = 'began') = (ended_at IS NULL)", name="ended_or_not"),
)

decisions = Table(
    "decisions",
    metadata,
    _number(),
    Column("at", UtcTime, nullable=False, index=True),
    Column("rule", Text, nullable=False),
    Column("gpu_type", Text, nullable=False),
    Column("host", Text),
    Column("decision", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Index("decisions_by_host", "host", "number"),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit",
    metadata,
    _number(),
    Column("at", UtcTime, nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("from_where", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)

freezes = Table(
    "freezes",
    metadata,
    _number(),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime),
    Column("lifted_at", UtcTime),
    Column("lifted_by", Text),
    sqlite_autoincrement=True,
)

memories = Table(
    "memories",
    metadata,
    Column("name", Text, primary_key=True),
    Column("document", JSON, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    # Kept when nobody holds the lease, so that the next token is larger.
    Column("token", BigInteger, nullable=False),
    Column("holder", Text),
    Column("acquired_at", UtcTime),
    Column("renewed_at", UtcTime),
    Column("expires_at", UtcTime),
)
