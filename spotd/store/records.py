"""What the journal holds, as frozen values: orders, moves, steps, decisions, freezes, audit."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

StepPhase = Literal["do", "undo"]
StepOutcome = Literal["began", "done", "failed", "unknown"]
"""`began`: nothing is known of its end, as after a crash; `unknown`: the write may have taken effect."""
EndedOutcome = Literal["done", "failed", "unknown"]
DecisionKind = Literal["move", "refuse"]


class MoveState(StrEnum):
    """How far a move has come."""

    ASKED = "asked"
    """Somebody wants it; the leader picks it up."""
    RUNNING = "running"
    """Begun and not ended; when its daemon died, it is settled before anything else."""
    DONE = "done"
    UNDONE = "undone"
    """Something failed, and everything was taken back."""
    REFUSED = "refused"
    """A guard said no before any write."""
    STRANDED = "stranded"
    """Taking back failed: the host stays disabled until a person resolves it."""


EndState = Literal[MoveState.DONE, MoveState.UNDONE, MoveState.REFUSED, MoveState.STRANDED]


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePlace:
    """An aggregate that a move leaves or joins."""

    id: int
    uuid: str | None
    name: str
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOrder:
    """One host that shall change pool, who wants it and why."""

    host: str
    origin: MovePlace
    destination: MovePlace
    gpu_type: str
    rule: str | None
    """None: asked for by a person."""
    asked_by: str
    """`rule NAME`, `cli USER` or `api NAME`."""
    reason: str
    drain_deadline: timedelta | None
    """How long to wait for the servers to leave; None: the host must be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a move, written down before it is done and after."""

    move_id: str
    number: int
    """From 1, in the order in which the steps began."""
    step: str
    phase: StepPhase
    began_at: datetime
    ended_at: datetime | None
    outcome: StepOutcome
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRecord:
    """One move from the order to its end."""

    id: str
    number: int
    """Its place in the journal, growing; the cursor of a page."""
    order: MoveOrder
    state: MoveState
    asked_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    sentence: str
    """Why it ended so; empty until then."""
    code: str | None
    """The code of the refusal, where a guard refused."""
    service_id: str | None
    """The compute service that the move disabled."""
    fenced: bool
    """Whether the move disabled the compute service; the steps say whether it enabled it again."""
    steps: tuple[StepRecord, ...] = ()
    resolved_at: datetime | None = None
    """When a stranded host was put right; None for all others."""
    resolution: str = ""
    """Who put a stranded host right, and how."""

    @property
    def is_open(self) -> bool:
        """Whether it holds its host: it runs, or it stranded the host and nobody resolved that."""
        stranded = self.state is MoveState.STRANDED and self.resolved_at is None
        return self.state is MoveState.RUNNING or stranded


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """What a rule decided about a host, or about all hosts of a GPU type."""

    at: datetime
    rule: str
    gpu_type: str
    host: str | None
    decision: DecisionKind
    code: str
    """The code of the refusal; `move` where it moves."""
    sentence: str
    number: int | None = None
    """Its place in the journal, growing; None until it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """No move is begun while this holds."""

    reason: str
    by: str
    since: datetime
    until: datetime | None
    """None: until somebody lifts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """What a person or a program asked spotd to do, and what became of it."""

    at: datetime
    who: str
    from_where: str
    """The address or terminal that it came from."""
    what: str
    target: str
    outcome: str
    detail: str
    number: int | None = None
    """Its place in the journal, growing; None until it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHolder:
    """Who may act now."""

    holder: str
    token: int
    """The fencing token: larger each time the lease is taken anew, the same when it is renewed."""
    acquired_at: datetime
    renewed_at: datetime
    expires_at: datetime
