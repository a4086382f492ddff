"""From rows to records and back."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, select

from spotd.store.records import (
    AuditRecord,
    DecisionRecord,
    Freeze,
    MoveOrder,
    MovePlace,
    MoveRecord,
    MoveState,
    StepRecord,
)
from spotd.store.tables import moves, steps


def order_values(order: MoveOrder) -> dict[str, Any]:
    """The columns of an order."""
    deadline = order.drain_deadline
    return {
        "host": order.host,
        **_place_values("origin", order.origin),
        **_place_values("destination", order.destination),
        "gpu_type": order.gpu_type,
        "rule": order.rule,
        "asked_by": order.asked_by,
        "reason": order.reason,
        "drain_seconds": deadline.total_seconds() if deadline is not None else None,
    }


def read_moves(connection: Connection, statement: Select[Any]) -> tuple[MoveRecord, ...]:
    """The moves that the statement selects, in its order, with their steps."""
    rows = connection.execute(statement).mappings().all()
    if not rows:
        return ()
    chosen = select(steps).where(steps.c.move_id.in_(statement.with_only_columns(moves.c.id)))
    by_move: dict[str, list[StepRecord]] = {row["id"]: [] for row in rows}
    for row in connection.execute(chosen.order_by(steps.c.move_id, steps.c.number)).mappings():
        by_move[row["move_id"]].append(StepRecord(**_named(row)))
    return tuple(_move(row, by_move[row["id"]]) for row in rows)


def decision_of(row: RowMapping) -> DecisionRecord:
    """A row of `decisions`."""
    return DecisionRecord(**_named(row))


def audit_of(row: RowMapping) -> AuditRecord:
    """A row of `audit`."""
    return AuditRecord(**_named(row))


def freeze_of(row: RowMapping) -> Freeze:
    """A row of `freezes`."""
    return Freeze(reason=row["reason"], by=row["by"], since=row["since"], until=row["until"])


def _named(row: RowMapping) -> dict[str, Any]:
    return {str(key): value for key, value in row.items()}


def _move(values: RowMapping, its_steps: Iterable[StepRecord]) -> MoveRecord:
    drain_seconds = values["drain_seconds"]
    return MoveRecord(
        id=values["id"],
        number=values["number"],
        order=MoveOrder(
            host=values["host"],
            origin=_place(values, "origin"),
            destination=_place(values, "destination"),
            gpu_type=values["gpu_type"],
            rule=values["rule"],
            asked_by=values["asked_by"],
            reason=values["reason"],
            drain_deadline=timedelta(seconds=drain_seconds) if drain_seconds is not None else None,
        ),
        state=MoveState(values["state"]),
        asked_at=values["asked_at"],
        started_at=values["started_at"],
        finished_at=values["finished_at"],
        sentence=values["sentence"],
        code=values["code"],
        service_id=values["service_id"],
        fenced=values["fenced_at"] is not None,
        steps=tuple(its_steps),
        resolved_at=values["resolved_at"],
        resolution=values["resolution"],
    )


def _place_values(role: str, place: MovePlace) -> dict[str, Any]:
    return {
        f"{role}_id": place.id,
        f"{role}_uuid": place.uuid,
        f"{role}_name": place.name,
        f"{role}_pool": place.pool,
    }


def _place(values: RowMapping, role: str) -> MovePlace:
    return MovePlace(
        id=values[f"{role}_id"],
        uuid=values[f"{role}_uuid"],
        name=values[f"{role}_name"],
        pool=values[f"{role}_pool"],
    )
