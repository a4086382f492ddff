"""Moves by hand: preview, execute, look at, and many at once within the budgets."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from spotd.store.errors import StoreError
from spotd.store.records import MoveRecord
from spotd.web.api import move_views, orders, plan_views, views
from spotd.web.api.auth import Role
from spotd.web.api.backing import PREFIX, Backing
from spotd.web.api.envelope import Code, Envelope, Refusal, answered, documented
from spotd.web.api.fleet_routes import COMMON
from spotd.web.api.guard import allowed

READING = (*COMMON, Code.NOT_CONFIGURED, Code.JOURNAL_FAILED, Code.BUSY)
WRITING = (*READING, Code.CROSS_SITE)
OPERATOR = allowed(Role.OPERATOR)

PLAIN = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
"""Text that every database takes and that cannot steer the terminal that shows it."""
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=PLAIN)]
Reason = Annotated[str, Field(max_length=500, pattern=PLAIN, description="For the journal.")]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$"),
]
BY_HAND = "asked over HTTP"


class Body(BaseModel):
    """A request's body: an unknown key is refused, for it may be a misspelt one that matters."""

    model_config = ConfigDict(extra="forbid")


class MoveWish(Body):
    """A host and where it shall go."""

    host: Name
    target_aggregate: Name
    reason: Reason = BY_HAND


class HostWish(Body):
    """A host."""

    host: Name


class Targets(BaseModel):
    """Where a host could go."""

    host: str
    current_aggregates: list[str]
    targets: list[views.AggregateView]


def move_routes(backing: Backing, route_class: type[APIRoute]) -> APIRouter:
    """All of it."""
    router = APIRouter(prefix=PREFIX, route_class=route_class, tags=["moves"])
    _add_previews(router, backing)
    _add_moves(router, backing)
    return router


def _add_previews(router: APIRouter, backing: Backing) -> None:
    named = (*READING, Code.UNKNOWN_HOST, Code.UNKNOWN_AGGREGATE, Code.CROSS_SITE)

    @router.post(
        "/preview-migration",
        response_model=Envelope[plan_views.PreviewView],
        responses=documented(*named),
        openapi_extra=OPERATOR,
    )
    def preview_migration(request: Request, wish: MoveWish) -> Response:
        """The steps of a move, the commands that do the same, and each guard's verdict; changes nothing."""
        request.state.target = wish.host
        return answered(
            request, orders.preview_view(wish.host, wish.target_aggregate, _preview(request, wish))
        )

    @router.post(
        "/get-target-aggregate",
        response_model=Envelope[Targets],
        responses=documented(*READING, Code.UNKNOWN_HOST, Code.CROSS_SITE),
        openapi_extra=OPERATOR,
    )
    def get_target_aggregate(request: Request, wish: HostWish) -> Response:
        """The aggregates that a host could be moved to."""
        request.state.target = wish.host
        acting = orders.acting_of(backing.acting)
        around = orders.surroundings(acting)
        host = around.snapshot.hosts.get(wish.host)
        if host is None:
            raise Refusal(Code.UNKNOWN_HOST, f"There is no GPU host {wish.host!r}.")
        targets = [views.aggregate_view(found) for found in acting.targets(host.name, around)]
        return answered(
            request, Targets(host=host.name, current_aggregates=list(host.aggregates), targets=targets)
        )

    def _preview(request: Request, wish: MoveWish) -> Any:
        acting = orders.acting_of(backing.acting)
        around = orders.surroundings(acting)
        by = orders.asked_by(request)
        return orders.previewed(acting, around, wish.host, wish.target_aggregate, by=by, reason=wish.reason)


def _add_moves(router: APIRouter, backing: Backing) -> None:
    refusals = (
        *WRITING,
        *(Code.UNKNOWN_HOST, Code.UNKNOWN_AGGREGATE),
        *(Code.REFUSED_BY_GUARDS, Code.FROZEN, Code.HOST_CLAIMED, Code.KEY_REUSED),
    )

    @router.post(
        "/execute-migration",
        status_code=202,
        response_model=Envelope[move_views.MoveView],
        responses=documented(*refusals),
        openapi_extra=OPERATOR,
    )
    def execute_migration(request: Request, wish: MoveWish, idempotency_key: Key = None) -> Response:
        """Asks for a move; the leader begins it within seconds. The same key gives the same move again."""
        request.state.target = wish.host
        acting = orders.acting_of(backing.acting)
        by = orders.asked_by(request)
        key = scoped(by, idempotency_key)

        def ask() -> MoveRecord:
            around = orders.surroundings(acting)
            preview = orders.previewed(
                acting, around, wish.host, wish.target_aggregate, by=by, reason=wish.reason
            )
            return orders.ask(acting, preview, key, backing.now)

        record = orders.asked_once(acting, key, wish.host, wish.target_aggregate, ask)
        request.state.detail = record.id
        return _accepted(request, record)

    @router.get(
        "/moves/{move_id}",
        response_model=Envelope[move_views.MoveView],
        responses=documented(*READING, Code.UNKNOWN_MOVE),
    )
    def move(
        request: Request, move_id: Annotated[str, Path(min_length=1, max_length=64, pattern=PLAIN)]
    ) -> Response:
        """A move with its steps so far."""
        try:
            record = orders.acting_of(backing.acting).journal.move(move_id)
        except StoreError as error:
            raise orders.journal_failed(error) from error
        if record is None:
            raise Refusal(Code.UNKNOWN_MOVE, f"There is no move {move_id!r}.")
        return answered(request, move_views.move_view(record))


def scoped(by: str, key: str | None) -> str | None:
    """A key is its sender's own: two who choose the same one do not meet."""
    return None if key is None else f"{by}:{key}"


def _accepted(request: Request, record: MoveRecord) -> Response:
    headers = {"Location": f"{PREFIX}/moves/{record.id}"}
    return answered(request, move_views.move_view(record), status=202, headers=headers)
