"""The stream of events."""

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from spotd.web.api.backing import PREFIX, Backing
from spotd.web.api.envelope import Code, Refusal, documented
from spotd.web.events import TooManyStreams

_STREAM = {"description": "Events without end.", "content": {"text/event-stream": {}}}


class _Handed(Response):
    """Leaves the whole answer to another application."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def event_routes(backing: Backing, route_class: type[APIRoute]) -> APIRouter:
    """`/events`."""
    router = APIRouter(prefix=PREFIX, route_class=route_class, tags=["events"])

    @router.get(
        "/events",
        response_class=Response,
        responses={
            **documented(Code.UNAUTHORIZED, Code.FORBIDDEN, Code.RATE_LIMITED, Code.BUSY),
            200: _STREAM,
        },
    )
    async def events(request: Request) -> Response:
        """Server-sent events: `snapshot`, `refresh`, `move`, `rules`; `lost` where some were not read."""
        settings = backing.settings()
        try:
            stream = backing.events.open(
                settings.event_streams,
                client=request.state.client,
                most_of_client=settings.event_streams_per_client,
                may_go_on=request.state.is_still_admitted,
            )
        except TooManyStreams:
            raise Refusal(
                Code.BUSY, "Too many event streams are open.", headers={"Retry-After": "30"}
            ) from None
        return _Handed(stream)

    return router
