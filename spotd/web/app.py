"""The routes. Endpoints are plain functions that read what is there; only `reload` does something."""

from collections.abc import Callable
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp

from spotd.settings.models import WebSettings
from spotd.web.api.api import is_of_api, mount_api, openapi_of, refusal_by_status
from spotd.web.api.audit import DONE, FAILED, Auditor
from spotd.web.api.auth import Credentials, Role, TokenOwners, is_from_this_machine
from spotd.web.api.backing import Backing
from spotd.web.api.guard import Guard, is_cross_site
from spotd.web.api.throttle import Kind, Throttle
from spotd.web.config.gate import ConfiguredGate
from spotd.web.config.models import WebConfig
from spotd.web.docs import docs_routes
from spotd.web.edge import Edge, HttpRecorder, failed
from spotd.web.gate import Gate
from spotd.web.scrape import Scrape

Claim = Callable[[], tuple[bool, str]]
"""Whether it is so, and a sentence that says why."""
READ = ["GET", "HEAD"]
OWN_THREADS = 4
"""Scrapes and landing pages that are made at once; further ones wait for a few milliseconds."""


def make_app(
    *,
    scrape: Scrape,
    healthy: Claim,
    ready: Claim,
    reload: Claim,
    overview: Callable[[], str],
    recorder: HttpRecorder,
    backing: Backing,
    web: Callable[[], WebSettings],
    keystone: TokenOwners,
    web_config: Callable[[], WebConfig] | None = None,
) -> ASGIApp:
    """The HTTP face as an ASGI application.

    `overview` makes the landing page. It, `healthy` and `ready` must not wait; `reload` may, and sees by
    itself to it that it runs once at a time. `keystone` tells whose token it is; `web_config` is the web
    configuration, where there is one.
    """
    auditor = Auditor(backing)
    app = FastAPI(title="spotd", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.include_router(_reads(scrape, healthy, ready, overview))
    throttle = Throttle(backing.settings)
    app.state.throttle = throttle
    guard = Guard(Credentials(backing.settings, backing.now, keystone), throttle, auditor)
    app.include_router(_writes(reload, auditor, guard))
    mount_api(app, backing, guard)
    app.include_router(docs_routes(lambda: openapi_of(app)))
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(Exception, lambda request, _error: failed(request.scope))
    gate = Gate(
        app,
        allowed_hosts=lambda: web().allowed_hosts,
        largest_body_bytes=lambda: backing.settings().largest_body_bytes,
        body_seconds=lambda: backing.settings().body_seconds,
    )
    if web_config is None:
        return Edge(gate, recorder, auditor)
    return Edge(ConfiguredGate(gate, web_config, throttle), recorder, auditor)


def _reads(scrape: Scrape, healthy: Claim, ready: Claim, overview: Callable[[], str]) -> APIRouter:
    """In threads of their own or in none: whatever the API's threads wait for, these are answered."""
    router = APIRouter()
    own_threads = CapacityLimiter(OWN_THREADS)

    @router.api_route("/metrics", methods=READ)
    async def metrics(
        accept: Annotated[list[str] | None, Header()] = None,
        accept_encoding: Annotated[list[str] | None, Header()] = None,
    ) -> Response:
        answer = await to_thread.run_sync(
            scrape.answer, ",".join(accept or ()), ",".join(accept_encoding or ()), limiter=own_threads
        )
        return Response(answer.body, headers=dict(answer.headers))

    @router.api_route("/-/healthy", methods=READ)
    async def is_healthy() -> Response:
        return _said(healthy(), otherwise=503)

    @router.api_route("/-/ready", methods=READ)
    async def is_ready() -> Response:
        return _said(ready(), otherwise=503)

    @router.api_route("/", methods=READ)
    async def landing() -> Response:
        return HTMLResponse(await to_thread.run_sync(overview, limiter=own_threads))

    return router


def _writes(reload: Claim, auditor: Auditor, guard: Guard) -> APIRouter:
    """Everything that is no read: guarded here, once for all."""

    async def only_for_an_admin(request: Request) -> None:
        await guard.admit(request, Role.ADMIN, Kind.WRITE)

    router = APIRouter(dependencies=[Depends(only_from_this_machine), Depends(only_for_an_admin)])

    @router.api_route("/-/reload", methods=["POST", "PUT"])
    async def reload_configuration(request: Request) -> Response:
        ok, request.state.detail = await run_in_threadpool(reload)
        await auditor.ended(request, DONE if ok else FAILED)
        return _said((ok, request.state.detail), otherwise=500)

    return router


async def only_from_this_machine(request: Request) -> None:
    """Refuses a client that is no process of this machine, or asks for another or for a page of another site.

    Raises:
        HTTPException: 403.
    """
    if not is_from_this_machine(request):
        raise HTTPException(403, "Only allowed from this machine.")
    if is_cross_site(request):
        raise HTTPException(403, "A page of another site may not do this.")


def _said(claim: tuple[bool, str], *, otherwise: int) -> Response:
    ok, sentence = claim
    return _line(sentence, 200 if ok else otherwise)


def _line(sentence: str, status: int) -> PlainTextResponse:
    return PlainTextResponse(" ".join(sentence.split()) + "\n", status_code=status)


def _refused(request: Request, error: Exception) -> Response:
    """Any refusal as one line of text; the API's in its envelope."""
    if not isinstance(error, AnyHTTPException):  # what the handler is registered for
        raise error
    if is_of_api(request):
        return refusal_by_status(request, error)
    answer = _line(str(error.detail), error.status_code)
    answer.headers.update(error.headers or {})
    return answer
