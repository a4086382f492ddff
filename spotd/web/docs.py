"""The documentation page of the API: Swagger UI from a package; nothing comes from the internet."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse

OPENAPI = "/api/openapi.json"
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}
_START = (
    'window.onload=function(){SwaggerUIBundle({url:"'
    + OPENAPI
    + '",dom_id:"#page",deepLinking:true,persistAuthorization:false,validatorUrl:null});};\n'
)
_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>spotd API</title>"
    "<link rel=icon href=/docs/favicon.png><link rel=stylesheet href=/docs/swagger-ui.css>"
    "<div id=page></div><script src=/docs/swagger-ui-bundle.js></script>"
    "<script src=/docs/start.js></script></html>"
)
_POLICY = {
    # The page's own scripts and its requests to this server, and nothing else.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )
}
_KEPT = {"Cache-Control": "public, max-age=86400"}


def docs_routes(openapi: Callable[[], dict[str, Any]]) -> APIRouter:
    """`/docs` and its files: they tell nothing of the fleet, and so need no credential."""
    router = APIRouter(include_in_schema=False)
    rendered: list[bytes] = []

    @router.get(OPENAPI)
    def document() -> Response:
        if not rendered:
            rendered.append(json.dumps(openapi(), ensure_ascii=False).encode())
        return Response(rendered[0], media_type="application/json")

    @router.get("/docs")
    def page() -> Response:
        return HTMLResponse(_PAGE, headers=_POLICY)

    @router.get("/docs/start.js")
    def start() -> Response:
        return Response(_START, media_type="text/javascript")

    @router.get("/docs/{asset}")
    def asset(asset: str) -> Response:
        if asset not in _ASSETS:
            raise HTTPException(404)
        return Response(_folder().joinpath(asset).read_bytes(), media_type=_ASSETS[asset], headers=_KEPT)

    return router


def _folder() -> Path:
    """Where the package fastapi-offline keeps Swagger UI."""
    return Path(str(files("fastapi_offline"))) / "static"
