"""What the rules want, what was done and who asked for it, and the freeze that stops all moves."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, BaseModel, Field

from spotd.planning.refusals import Code as PlanCode
from spotd.store.errors import StoreError
from spotd.store.records import MoveState
from spotd.web.api import move_views, orders, plan_views
from spotd.web.api.acting import Acting
from spotd.web.api.auth import Role
from spotd.web.api.backing import PREFIX, Backing
from spotd.web.api.envelope import Code, Envelope, Refusal, answered, documented
from spotd.web.api.fleet_routes import Wanted
from spotd.web.api.guard import allowed
from spotd.web.api.move_routes import PLAIN, READING, WRITING, Body
from spotd.web.api.paging import LARGEST_PAGE, USUAL_PAGE, Page, ordered, sort_pattern

T = TypeVar("T")
_OPERATOR = allowed(Role.OPERATOR)
_LARGEST_NUMBER = 2**62
_RULE_KEYS: Mapping[str, Callable[[Any], Any]] = {"name": lambda view: view.name, "to": lambda view: view.to}
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
Before = Annotated[
    int | None, Query(ge=1, le=_LARGEST_NUMBER, description="`next` of the page before; newest first.")
]
HostFilter = Annotated[str | None, Query(min_length=1, max_length=255, pattern=PLAIN)]


class Entries(BaseModel, Generic[T]):
    """A page of the journal, the newest first: what comes in meanwhile moves nothing."""

    items: list[T]
    limit: int
    next: int | None = Field(description="`before` of the next page; null: this is the last.")


class FreezeWish(Body):
    """Why, and for how long."""

    reason: Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN)]
    until: AwareDatetime | None = Field(default=None, description="Null: until somebody lifts it.")


class Recovering(BaseModel):
    """What the leader looks at within seconds; see /moves for how each ended."""

    waiting: list[move_views.MoveView]


def rule_routes(backing: Backing, route_class: type[APIRoute]) -> APIRouter:
    """All of it."""
    router = APIRouter(prefix=PREFIX, route_class=route_class, tags=["rules"])
    _add_rules(router, backing)
    _add_journal(router, backing)
    _add_freezes(router, backing)
    return router


def _add_rules(router: APIRouter, backing: Backing) -> None:
    @router.get("/plan", response_model=Envelope[plan_views.PlanView], responses=documented(*READING))
    def plan(request: Request, wanted: Wanted) -> Response:
        """What the rules wanted in the last cycle, and why every other host stays (a page of those)."""
        found = orders.acting_of(backing.acting).plan()
        if found is None:
            raise Refusal(Code.NOT_KNOWN_NOW, "There is no plan yet.")
        refusals = [item for item in found.refusals() if item.refusal.code is not PlanCode.OUT_OF_SCOPE]
        page = wanted.of(refusals)
        page.items = [
            plan_views.PlanRefusalView(
                host=item.host, rule=item.rule, code=item.refusal.code, sentence=item.refusal.sentence
            )
            for item in page.items
        ]
        data = plan_views.PlanView.model_construct(
            mode=found.mode,
            made_timestamp=found.made_at.timestamp(),
            snapshot_timestamp=found.assembled_at.timestamp(),
            moves=[
                plan_views.PlannedMoveView(
                    host=move.host,
                    rule=move.rule,
                    gpu_type=move.gpu_type,
                    origin=move.origin.name,
                    destination=move.destination.name,
                    reason=move.reason,
                    drains=move.drain_deadline is not None,
                )
                for move in found.moves
            ],
            rules=plan_views.rule_states(found),
            refusals=page,
        )
        return answered(request, data)

    @router.get("/rules", response_model=Envelope[Page[plan_views.RuleView]], responses=documented(*READING))
    def rules(
        request: Request,
        wanted: Wanted,
        sort: Annotated[str, Query(pattern=sort_pattern(_RULE_KEYS))] = "name",
    ) -> Response:
        """The rules, and what each thinks of each GPU type."""
        acting = orders.acting_of(backing.acting)
        found = acting.rules()
        if found is None:
            raise Refusal(Code.NOT_CONFIGURED, "No file of rules is configured.")
        plan = acting.plan()
        states = plan_views.rule_states(plan) if plan is not None else []
        shown = [plan_views.rule_view(rule, states) for rule in found.rules]
        return answered(request, wanted.of(ordered(shown, sort, _RULE_KEYS)))


def _add_journal(router: APIRouter, backing: Backing) -> None:
    @router.get(
        "/journal", response_model=Envelope[Entries[move_views.MoveView]], responses=documented(*READING)
    )
    def journal(
        request: Request,
        limit: Limit = USUAL_PAGE,
        before: Before = None,
        host: HostFilter = None,
        state: Annotated[MoveState | None, Query()] = None,
    ) -> Response:
        """Every move with its steps; nobody can erase it over HTTP."""
        found = _read(
            backing, lambda acting: acting.journal.moves(limit, before=before, host=host, state=state)
        )
        return _entries(request, [move_views.move_view(record) for record in found], limit)

    @router.get(
        "/journal/decisions",
        response_model=Envelope[Entries[move_views.DecisionView]],
        responses=documented(*READING),
    )
    def decisions(
        request: Request, limit: Limit = USUAL_PAGE, before: Before = None, host: HostFilter = None
    ) -> Response:
        """What the rules decided, where that changed."""
        found = _read(backing, lambda acting: acting.journal.decisions(limit, before=before, host=host))
        return _entries(request, [move_views.decision_view(record) for record in found], limit)

    @router.get(
        "/journal/audit",
        response_model=Envelope[Entries[move_views.AuditView]],
        responses=documented(*READING),
        openapi_extra=_OPERATOR,
    )
    def audit(request: Request, limit: Limit = USUAL_PAGE, before: Before = None) -> Response:
        """Who asked for what, from where, and what became of it."""
        found = _read(backing, lambda acting: acting.journal.audit(limit, before=before))
        return _entries(request, [move_views.audit_view(record) for record in found], limit)


def _add_freezes(router: APIRouter, backing: Backing) -> None:
    @router.get("/freeze", response_model=Envelope[move_views.FreezeView], responses=documented(*READING))
    def current_freeze(request: Request) -> Response:
        """Whether moves are frozen, by whom and why."""
        return answered(request, move_views.freeze_view(_read(backing, lambda acting: acting.freeze())))

    @router.post(
        "/freeze",
        response_model=Envelope[move_views.FreezeView],
        responses=documented(*WRITING, Code.CONFLICT),
        openapi_extra=_OPERATOR,
    )
    def freeze(request: Request, wish: FreezeWish) -> Response:
        """No move is begun any more; one under way goes on to its end."""
        now = backing.now()
        if wish.until is not None and wish.until <= now:
            raise Refusal(Code.CONFLICT, "The freeze would have ended already: until is not later than now.")
        request.state.detail = wish.reason
        by = orders.asked_by(request)
        _read(backing, lambda acting: acting.journal.freeze(wish.reason, by, now=now, until=_utc(wish.until)))
        return answered(request, move_views.freeze_view(_read(backing, lambda acting: acting.freeze())))

    @router.post(
        "/unfreeze",
        response_model=Envelope[move_views.FreezeView],
        responses=documented(*WRITING),
        openapi_extra=_OPERATOR,
    )
    def unfreeze(request: Request) -> Response:
        """Lifts every freeze of the journal; a freeze by file stays, as the answer then says."""
        by = orders.asked_by(request)
        _read(backing, lambda acting: acting.journal.unfreeze(by, now=backing.now()))
        return answered(request, move_views.freeze_view(_read(backing, lambda acting: acting.freeze())))

    @router.post(
        "/recover",
        status_code=202,
        response_model=Envelope[Recovering],
        responses=documented(*WRITING),
        openapi_extra=_OPERATOR,
    )
    def recover(request: Request) -> Response:
        """Has the leader settle what is open or stranded: forward where it joined already, else back."""
        by = orders.asked_by(request)
        waiting = _read(
            backing, lambda acting: (*acting.journal.open_moves(), *acting.journal.stranded_moves())
        )
        if waiting:
            _read(backing, lambda acting: acting.recover(by))
        request.state.detail = ", ".join(record.id for record in waiting)
        shown = [move_views.move_view(record) for record in waiting]
        return answered(request, Recovering(waiting=shown), status=202)


def _read(backing: Backing, ask: Callable[[Acting], T]) -> T:
    acting = orders.acting_of(backing.acting)
    try:
        return ask(acting)
    except StoreError as error:
        raise orders.journal_failed(error) from error


def _entries(request: Request, items: list[Any], limit: int) -> Response:
    following = items[-1].number if len(items) == limit else None
    return answered(request, Entries[Any].model_construct(items=items, limit=limit, next=following))


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
