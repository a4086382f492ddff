"""The routes. Endpoints are plain functions that read what is there; only `reload` does something."""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp

from spotd.web.edge import Edge, HttpRecorder
from spotd.web.scrape import Scrape

Claim = Callable[[], tuple[bool, str]]
"""Whether it is so, and a sentence that says why."""
READ = ["GET", "HEAD"]


def make_app(
    *,
    scrape: Scrape,
    healthy: Claim,
    ready: Claim,
    reload: Claim,
    overview: Callable[[], str],
    recorder: HttpRecorder,
) -> ASGIApp:
    """The HTTP face as an ASGI application.

    `overview` makes the landing page. It, `healthy` and `ready` must not wait; `reload` may, and sees by
    itself to it that it runs once at a time.
    """
    app = FastAPI(title="spotd", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.include_router(_reads(scrape, healthy, ready, overview))
    app.include_router(_writes(reload))
    app.add_exception_handler(AnyHTTPException, _refused)
    return Edge(app, recorder)


def _reads(scrape: Scrape, healthy: Claim, ready: Claim, overview: Callable[[], str]) -> APIRouter:
    router = APIRouter()

    @router.api_route("/metrics", methods=READ)
    def metrics(
        accept: Annotated[list[str] | None, Header()] = None,
        accept_encoding: Annotated[list[str] | None, Header()] = None,
    ) -> Response:
        answer = scrape.answer(",".join(accept or ()), ",".join(accept_encoding or ()))
        return Response(answer.body, headers=dict(answer.headers))

    @router.api_route("/-/healthy", methods=READ)
    def is_healthy() -> Response:
        return _said(healthy(), otherwise=503)

    @router.api_route("/-/ready", methods=READ)
    def is_ready() -> Response:
        return _said(ready(), otherwise=503)

    @router.api_route("/", methods=READ)
    def landing() -> Response:
        return HTMLResponse(overview())

    return router


def _writes(reload: Claim) -> APIRouter:
    """Everything that is no read: guarded here, once for all."""
    router = APIRouter(dependencies=[Depends(only_from_this_machine)])

    @router.api_route("/-/reload", methods=["POST", "PUT"])
    def reload_configuration() -> Response:
        return _said(reload(), otherwise=500)

    return router


def only_from_this_machine(request: Request) -> None:
    """Refuses a client whose address is not a loopback address.

    The connection's own address counts, never a header's. Behind a proxy on the same machine every client
    has a loopback address: keep `/-/` out of what it forwards.

    Raises:
        HTTPException: 403.
    """
    if request.client is None or not _is_loopback(request.client.host):
        raise HTTPException(403, "Only allowed from this machine.")


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def _said(claim: tuple[bool, str], *, otherwise: int) -> Response:
    ok, sentence = claim
    return _line(sentence, 200 if ok else otherwise)


def _line(sentence: str, status: int) -> PlainTextResponse:
    return PlainTextResponse(" ".join(sentence.split()) + "\n", status_code=status)


def _refused(_request: Request, error: Exception) -> Response:
    """Any refusal as one line of text."""
    if not isinstance(error, AnyHTTPException):  # what the handler is registered for
        raise error
    answer = _line(str(error.detail), error.status_code)
    answer.headers.update(error.headers or {})
    return answer
