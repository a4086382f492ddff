"""What the API shows of moves, plans, rules and freezes."""

from datetime import datetime

from pydantic import BaseModel, Field

from spotd.store.records import (
    AuditRecord,
    DecisionRecord,
    Freeze,
    MovePlace,
    MoveRecord,
    StepRecord,
)


class PlaceView(BaseModel):
    """An aggregate that a move leaves or joins."""

    id: int
    uuid: str | None
    name: str
    pool: str


class StepView(BaseModel):
    """One step of a move."""

    number: int
    step: str
    phase: str = Field(description="`do` or `undo`.")
    began_timestamp: float
    ended_timestamp: float | None
    outcome: str = Field(description="`began`, `done`, `failed` or `unknown`.")
    detail: str


class MoveView(BaseModel):
    """A move as the journal has it."""

    id: str
    number: int = Field(description="Its place in the journal; `before` of the next page.")
    host: str
    gpu_type: str
    origin: PlaceView
    destination: PlaceView
    rule: str | None = Field(description="Null: a person asked for it.")
    asked_by: str
    reason: str
    state: str = Field(description="`asked`, `running`, `done`, `undone`, `refused` or `stranded`.")
    sentence: str = Field(description="Why it ended so; empty until then.")
    code: str | None = Field(description="Of the guard that refused it.")
    asked_timestamp: float
    started_timestamp: float | None
    finished_timestamp: float | None
    resolved_timestamp: float | None
    resolution: str
    steps: list[StepView]


class DecisionView(BaseModel):
    """What a rule decided."""

    number: int | None
    timestamp: float
    rule: str
    gpu_type: str
    host: str | None
    decision: str
    code: str
    sentence: str


class AuditView(BaseModel):
    """Who asked spotd for what, and what became of it."""

    number: int | None
    timestamp: float
    who: str
    from_where: str
    what: str
    target: str
    outcome: str
    detail: str


class FreezeView(BaseModel):
    """What freezes all moves."""

    frozen: bool
    reason: str | None
    by: str | None
    since_timestamp: float | None
    until_timestamp: float | None = Field(description="Null: until somebody lifts it.")


def move_view(record: MoveRecord) -> MoveView:
    """A move."""
    order = record.order
    return MoveView(
        id=record.id,
        number=record.number,
        host=order.host,
        gpu_type=order.gpu_type,
        origin=place_view(order.origin),
        destination=place_view(order.destination),
        rule=order.rule,
        asked_by=order.asked_by,
        reason=order.reason,
        state=record.state,
        sentence=record.sentence,
        code=record.code,
        asked_timestamp=record.asked_at.timestamp(),
        started_timestamp=seconds(record.started_at),
        finished_timestamp=seconds(record.finished_at),
        resolved_timestamp=seconds(record.resolved_at),
        resolution=record.resolution,
        steps=[_step_view(step) for step in record.steps],
    )


def place_view(place: MovePlace) -> PlaceView:
    """An aggregate of a move."""
    return PlaceView(id=place.id, uuid=place.uuid, name=place.name, pool=place.pool)


def decision_view(record: DecisionRecord) -> DecisionView:
    """A decision."""
    return DecisionView(
        number=record.number,
        timestamp=record.at.timestamp(),
        rule=record.rule,
        gpu_type=record.gpu_type,
        host=record.host,
        decision=record.decision,
        code=record.code,
        sentence=record.sentence,
    )


def audit_view(record: AuditRecord) -> AuditView:
    """An entry of the audit."""
    return AuditView(
        number=record.number,
        timestamp=record.at.timestamp(),
        who=record.who,
        from_where=record.from_where,
        what=record.what,
        target=record.target,
        outcome=record.outcome,
        detail=record.detail,
    )


def freeze_view(freeze: Freeze | None) -> FreezeView:
    """Whether moves are frozen."""
    if freeze is None:
        return FreezeView(frozen=False, reason=None, by=None, since_timestamp=None, until_timestamp=None)
    return FreezeView(
        frozen=True,
        reason=freeze.reason,
        by=freeze.by,
        since_timestamp=freeze.since.timestamp(),
        until_timestamp=seconds(freeze.until),
    )


def _step_view(step: StepRecord) -> StepView:
    return StepView(
        number=step.number,
        step=step.step,
        phase=step.phase,
        began_timestamp=step.began_at.timestamp(),
        ended_timestamp=seconds(step.ended_at),
        outcome=step.outcome,
        detail=step.detail,
    )


def seconds(moment: datetime | None) -> float | None:
    """Unix time in seconds."""
    return None if moment is None else moment.timestamp()
