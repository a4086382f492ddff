"""Host aggregates themselves: list, create, describe, delete when empty; moves change their hosts."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from spotd.agents.state import AgentName
from spotd.clouds.errors import CloudError, Failure
from spotd.fleet.snapshot import ClassifiedAggregate
from spotd.fleet.values import Aggregate
from spotd.store.errors import StoreError
from spotd.web.api import views
from spotd.web.api.auth import Role
from spotd.web.api.backing import PREFIX, Backing
from spotd.web.api.busy import Places
from spotd.web.api.envelope import Code, Envelope, Refusal, answered, documented
from spotd.web.api.fleet_routes import COMMON, Wanted, known
from spotd.web.api.guard import allowed
from spotd.web.api.move_routes import Body
from spotd.web.api.orders import journal_failed
from spotd.web.api.paging import Page, ordered, sort_pattern

T = TypeVar("T")
_ADMIN = allowed(Role.ADMIN)
_WRITING = (*COMMON, Code.CROSS_SITE, Code.CONFLICT, Code.CLOUD_FAILED, Code.BUSY, Code.JOURNAL_FAILED)
_KEYS = {"name": lambda view: view.name, "id": lambda view: view.id, "pool": lambda view: view.pool}
_NO = {Failure.CONFLICT, Failure.REFUSED}
Id = Annotated[int, Path(ge=1, le=2**31 - 1)]
Text = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")]


Name = Annotated[Text, Field(pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$")]


class NewAggregate(Body):
    """An aggregate to make."""

    name: Name
    availability_zone: Annotated[Text, Field(pattern=r"^[^:]+$")] | None = None


class Metadata(Body):
    """Keys to set; null takes a key away, a key that is not named stays."""

    metadata: Annotated[
        dict[Text, Text | None],
        Field(min_length=1, max_length=100, json_schema_extra={"additionalProperties": False}),
    ]


class AggregateData(BaseModel):
    """An aggregate as Nova has it now."""

    id: int
    uuid: str | None
    name: str
    availability_zone: str | None
    metadata: dict[str, str]
    hosts: list[str]


class Deleted(BaseModel):
    """What was deleted."""

    id: int
    name: str


def aggregate_routes(backing: Backing, route_class: type[APIRoute]) -> APIRouter:
    """All of it."""
    router = APIRouter(prefix=PREFIX, route_class=route_class, tags=["aggregates"])
    places = Places(1)

    @router.get(
        "/host-aggregates",
        response_model=Envelope[Page[views.AggregateView]],
        responses=documented(*COMMON),
    )
    async def listed(
        request: Request, wanted: Wanted, sort: Annotated[str, Query(pattern=sort_pattern(_KEYS))] = "name"
    ) -> Response:
        """Every aggregate, those that are no pool included."""
        snapshot = known(backing)
        if snapshot.readings.aggregates is None:
            raise Refusal(Code.NOT_KNOWN_NOW, "The aggregates are not known now.")
        return await backing.kept.told(
            request, snapshot, lambda: wanted.of(ordered(_views(snapshot.aggregates), sort, _KEYS))
        )

    @router.post(
        "/host-aggregates",
        status_code=201,
        response_model=Envelope[AggregateData],
        responses=documented(*_WRITING),
        openapi_extra=_ADMIN,
    )
    def create(request: Request, wish: NewAggregate) -> Response:
        """Makes an aggregate without hosts."""
        request.state.target = wish.name
        made = _changed(backing, places, lambda: backing.aggregates.create(wish.name, wish.availability_zone))
        return answered(request, _data(made), status=201)

    @router.put(
        "/host-aggregates/{aggregate_id}/metadata",
        response_model=Envelope[AggregateData],
        responses=documented(*_WRITING, Code.UNKNOWN_AGGREGATE),
        openapi_extra=_ADMIN,
    )
    def set_metadata(request: Request, aggregate_id: Id, wish: Metadata) -> Response:
        """Sets keys of an aggregate's metadata."""
        request.state.target = str(aggregate_id)
        request.state.detail = ", ".join(sorted(wish.metadata))
        _refuse_in_a_move(backing, aggregate_id)
        made = _changed(backing, places, lambda: backing.aggregates.set_metadata(aggregate_id, wish.metadata))
        return answered(request, _data(made))

    @router.delete(
        "/host-aggregates/{aggregate_id}",
        response_model=Envelope[Deleted],
        responses=documented(*_WRITING, Code.UNKNOWN_AGGREGATE, Code.AGGREGATE_NOT_EMPTY),
        openapi_extra=_ADMIN,
    )
    def delete(request: Request, aggregate_id: Id) -> Response:
        """Deletes an aggregate that Nova has empty at this moment."""
        request.state.target = str(aggregate_id)
        _refuse_in_a_move(backing, aggregate_id)

        def emptied() -> Aggregate:
            found = next((a for a in backing.aggregates.live() if a.id == aggregate_id), None)
            if found is None:
                raise _unknown(aggregate_id)
            if found.hosts:
                raise Refusal(Code.AGGREGATE_NOT_EMPTY, f"{found.name} has {len(found.hosts)} hosts.")
            backing.aggregates.delete(aggregate_id)
            return found

        found = _changed(backing, places, emptied)
        request.state.detail = found.name
        return answered(request, Deleted(id=found.id, name=found.name))

    return router


def _views(aggregates: Iterable[ClassifiedAggregate]) -> list[views.AggregateView]:
    return [views.aggregate_view(found) for found in aggregates]


def _changed(backing: Backing, places: Places, change: Callable[[], T]) -> T:
    """Changes something in the cloud, one at a time; the next collection reads the aggregates anew."""
    with places.taken():
        try:
            return change()
        except CloudError as error:
            raise _refusal(error) from error
        finally:
            backing.expire(frozenset({AgentName.AGGREGATES}))


def _refuse_in_a_move(backing: Backing, aggregate_id: int) -> None:
    """Leaves alone what a move needs: its destination as the guards saw it, its origin to go back to."""
    if backing.acting is None:
        return
    journal = backing.acting.journal
    try:
        moves = (*journal.open_moves(), *journal.stranded_moves(), *journal.asked_moves())
    except StoreError as error:
        raise journal_failed(error) from error
    for move in moves:
        if aggregate_id in {move.order.origin.id, move.order.destination.id}:
            sentence = f"Move {move.id} of {move.order.host} is {move.state} and needs this aggregate."
            raise Refusal(Code.CONFLICT, sentence)


def _refusal(error: CloudError) -> Refusal:
    if error.reason is Failure.NOT_FOUND:
        return Refusal(Code.UNKNOWN_AGGREGATE, str(error))
    return Refusal(Code.CONFLICT if error.reason in _NO else Code.CLOUD_FAILED, str(error))


def _unknown(aggregate_id: int) -> Refusal:
    return Refusal(Code.UNKNOWN_AGGREGATE, f"There is no aggregate {aggregate_id}.")


def _data(aggregate: Any) -> AggregateData:
    return AggregateData(
        id=aggregate.id,
        uuid=aggregate.uuid,
        name=aggregate.name,
        availability_zone=aggregate.availability_zone,
        metadata=dict(aggregate.metadata),
        hosts=list(aggregate.hosts),
    )
