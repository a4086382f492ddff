"""The API as one router behind one guard, its refusals, and what OpenAPI says of it."""

import re
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as AnyHTTPException

from spotd import __version__
from spotd.web.api.aggregate_routes import aggregate_routes
from spotd.web.api.backing import PREFIX, Backing
from spotd.web.api.bulk_routes import bulk_routes
from spotd.web.api.envelope import Code, Refusal, refused
from spotd.web.api.event_routes import event_routes
from spotd.web.api.fleet_routes import fleet_routes
from spotd.web.api.guard import Guard, guarded_by, role_needed
from spotd.web.api.host_routes import host_routes
from spotd.web.api.move_routes import move_routes
from spotd.web.api.rule_routes import rule_routes
from spotd.web.api.upkeep_routes import upkeep_routes

_BY_STATUS = {
    404: (Code.NOT_FOUND, "There is no such path."),
    405: (Code.METHOD_NOT_ALLOWED, "This path does not know this method."),
}
_ROUTES = (
    *(fleet_routes, host_routes, aggregate_routes, upkeep_routes, event_routes),
    *(move_routes, bulk_routes, rule_routes),
)
_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of spotd or of Keystone."},
    "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token", "description": "The same."},
}


def mount_api(app: FastAPI, backing: Backing, guard: Guard) -> None:
    """Puts the API under `/api`, each route of it behind the guard."""
    route_class = guarded_by(guard)
    # Not included but taken over: each stays the guarded route that it is, under its whole path.
    app.router.routes.extend(api_routes(backing, route_class))
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)


def api_routes(backing: Backing, route_class: type[APIRoute]) -> list[APIRoute]:
    """Every route of the API."""
    routers = (made(backing, route_class) for made in _ROUTES)
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


def is_of_api(request: Request) -> bool:
    """Whether the path is the API's, so that refusals come in its envelope."""
    return request.url.path.startswith(f"{PREFIX}/")


def refusal_by_status(request: Request, error: AnyHTTPException) -> Response:
    """A refusal of the framework, such as of an unknown path, in the envelope."""
    code, sentence = _BY_STATUS.get(error.status_code, (Code.INVALID_REQUEST, str(error.detail)))
    headers = dict(error.headers or {})
    if code is Code.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return refused(request.scope, code, sentence, headers)


def _methods(request: Request) -> set[str]:
    """What the path knows, over all of its routes: the framework names those of the first alone."""
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, APIRoute) and route.path_regex.match(request.url.path):
            found |= route.methods or set()
    return found


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the API's routes."""
    routes = [route for route in app.routes if isinstance(route, APIRoute) and route.path.startswith(PREFIX)]
    document = get_openapi(
        title="spotd",
        version=__version__,
        description="GPU hosts of one OpenStack region. Every answer has the same envelope.",
        routes=routes,
    )
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            operation["security"] = [{"bearer": []}, {"token": []}, *_free(route)]
            role = role_needed(route).name.lower()
            told = operation.get("description", "")
            operation["summary"] = re.split(r"[.;:]", told)[0]  # instead of the function's name
            operation["description"] = f"{told}\n\nRole: {role}."
    return document


def _free(route: APIRoute) -> list[dict[str, Any]]:
    """What a viewer may, clients on this machine may without a credential by default."""
    return [{}] if role_needed(route).name == "VIEWER" else []


def _refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):  # what the handler is registered for
        raise error
    answer = refused(request.scope, error.code, error.message, error.headers)
    if is_of_api(request):
        return answer
    return PlainTextResponse(f"{error.message}\n", answer.status_code, error.headers)


def _invalid(request: Request, error: Exception) -> Response:
    """The first thing that is wrong, without what was sent: it may hold a secret."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    reason = re.sub(r"\s+", " ", str(first["msg"]))
    return refused(request.scope, Code.INVALID_REQUEST, f"{where}: {reason}.")
