"""Many moves by hand: a list of hosts in, a plan out, carried out within the limits over all moves."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from spotd.planning.budgets import Budgets
from spotd.store.records import MoveRecord
from spotd.web.api import move_views, orders, plan_views
from spotd.web.api.acting import Acting
from spotd.web.api.backing import PREFIX, Backing
from spotd.web.api.envelope import Code, Envelope, Refusal, answered, documented
from spotd.web.api.move_routes import BY_HAND, OPERATOR, WRITING, Body, Key, Name, Reason, scoped

MOST_HOSTS = 1000


class BulkWish(Body):
    """Hosts and where they shall go."""

    hosts: Annotated[list[Name], Field(min_length=1, max_length=MOST_HOSTS)]
    target_aggregate: Name
    reason: Reason = BY_HAND


class BulkPreview(BaseModel):
    """What would become of each host."""

    allowed: int
    refused: int
    moves: list[plan_views.PreviewView]


class BulkItem(BaseModel):
    """One host of many."""

    host: str
    move: move_views.MoveView | None
    error_code: str | None
    error: str | None


class BulkResult(BaseModel):
    """What became of each host."""

    asked: int
    refused: int
    items: list[BulkItem]


def bulk_routes(backing: Backing, route_class: type[APIRoute]) -> APIRouter:
    """Preview and execution."""
    router = APIRouter(prefix=PREFIX, route_class=route_class, tags=["moves"])

    @router.post(
        "/preview-bulk-migration",
        response_model=Envelope[BulkPreview],
        responses=documented(*WRITING, Code.UNKNOWN_AGGREGATE),
        openapi_extra=OPERATOR,
    )
    def preview_bulk(request: Request, wish: BulkWish) -> Response:
        """What would become of each host, within the limits over all moves; changes nothing."""
        request.state.target = wish.target_aggregate
        acting = orders.acting_of(backing.acting)
        plan = _plan(acting, wish, orders.asked_by(request))
        allowed = sum(view.allowed for view in plan)
        return answered(request, BulkPreview(allowed=allowed, refused=len(plan) - allowed, moves=plan))

    @router.post(
        "/execute-bulk-migration",
        status_code=202,
        response_model=Envelope[BulkResult],
        responses=documented(*WRITING, Code.UNKNOWN_AGGREGATE),
        openapi_extra=OPERATOR,
    )
    def execute_bulk(request: Request, wish: BulkWish, idempotency_key: Key = None) -> Response:
        """Asks for the move of each host that guards and limits allow; tells why for each other."""
        request.state.target = wish.target_aggregate
        acting = orders.acting_of(backing.acting)
        by = orders.asked_by(request)
        items = [
            _item(acting, backing, wish, view, by=by, key=idempotency_key) for view in _plan(acting, wish, by)
        ]
        asked = sum(item.move is not None for item in items)
        request.state.detail = f"{asked} of {len(items)} asked for"
        result = BulkResult(asked=asked, refused=len(items) - asked, items=items)
        return answered(request, result, status=202)

    return router


def _plan(acting: Acting, wish: BulkWish, by: str) -> list[plan_views.PreviewView]:
    """A preview of each host; those that the limits have no room for are refused too."""
    around = orders.surroundings(acting)
    if wish.target_aggregate not in around.pools:
        raise Refusal(Code.UNKNOWN_AGGREGATE, f"There is no aggregate {wish.target_aggregate!r}.")
    budgets = orders.budgets_of(acting, around)
    plan = []
    for host in dict.fromkeys(wish.hosts):
        preview = acting.preview(host, wish.target_aggregate, around, asked_by=by, reason=wish.reason)
        view = orders.preview_view(host, wish.target_aggregate, preview)
        plan.append(_budgeted(view, budgets) if view.allowed else view)
    return plan


def _budgeted(view: plan_views.PreviewView, budgets: Budgets) -> plan_views.PreviewView:
    verdict = plan_views.verdict_view(orders.within_budget(budgets))
    said = [*view.verdicts, verdict]
    if verdict.passes:
        return view.model_copy(update={"verdicts": said})
    return view.model_copy(update={"verdicts": said, "allowed": False, "refusal": verdict})


class _Refused(Refusal):
    """A guard's verdict, whose code is none of the API's own."""

    def __init__(self, verdict: plan_views.VerdictView) -> None:
        super().__init__(Code.REFUSED_BY_GUARDS, verdict.sentence or "")
        self.verdict = verdict


def _item(
    acting: Acting,
    backing: Backing,
    wish: BulkWish,
    view: plan_views.PreviewView,
    *,
    by: str,
    key: str | None,
) -> BulkItem:
    own_key = scoped(by, key and f"{key}:{view.host}")

    def ask() -> MoveRecord:
        if view.refusal is not None:
            raise _Refused(view.refusal)
        around = orders.surroundings(acting)
        preview = acting.preview(view.host, wish.target_aggregate, around, asked_by=by, reason=wish.reason)
        return orders.ask(acting, preview, own_key, backing.now)

    try:
        record = orders.asked_once(acting, own_key, view.host, wish.target_aggregate, ask)
    except _Refused as refused:
        verdict = refused.verdict
        return BulkItem(host=view.host, move=None, error_code=verdict.code, error=verdict.sentence)
    except Refusal as refusal:
        if refusal.code is Code.JOURNAL_FAILED:
            raise
        return BulkItem(host=view.host, move=None, error_code=refusal.code, error=refusal.message)
    return BulkItem(host=view.host, move=move_views.move_view(record), error_code=None, error=None)
