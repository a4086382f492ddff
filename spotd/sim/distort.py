"""What a fault makes of an answer before it is sent."""

import gzip
import json
import uuid
from dataclasses import replace
from typing import Any

from spotd.sim.faults import Fault, FaultKind
from spotd.sim.wire import HTML, JSON, Answer, Call, compact, dump

PROXY_PAGE = """<html>
<head><title>{status} {title}</title></head>
<body>
<center><h1>{status} {title}</h1></center>
<hr><center>nginx</center>
</body>
</html>
"""
BLANKS = 2**20
TITLES = {
    200: "Welcome",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}
NOVA_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
}


_OF_THE_DOCUMENT = (
    FaultKind.EMPTY_PAGE,
    FaultKind.PAGE_LOOP,
    FaultKind.NEW_PAGES,
    FaultKind.WRONG_SHAPE,
    FaultKind.REWRITTEN,
)


def planned_answer(fault: Fault, call: Call) -> Answer | None:
    """The answer that a fault gives instead of the service; None when it needs the service's own."""
    kind = FaultKind(fault.kind)
    if kind is FaultKind.HTML:
        page = fault.body or PROXY_PAGE.format(status=fault.status, title=TITLES.get(fault.status, "Error"))
        return Answer(fault.status, page, dict(fault.headers), HTML)
    if kind is FaultKind.STATUS:
        body = fault.body if fault.body is not None else error_body(call.service, fault.status)
        content_type = fault.headers.get("Content-Type", JSON)
        headers = {key: value for key, value in fault.headers.items() if key.lower() != "content-type"}
        own = own_headers(call) if fault.body is None else {}
        return Answer(fault.status, body, own | headers, content_type)
    return None


def own_headers(call: Call) -> dict[str, str]:
    """What each answer of a service says besides its body."""
    request_id = {"x-openstack-request-id": call.request_id}
    if call.service == "nova":
        spoken = call.headers.get("openstack-api-version", "compute 2.1")
        return request_id | {
            "OpenStack-API-Version": spoken,
            "X-OpenStack-Nova-API-Version": spoken.rpartition(" ")[2],
        }
    if call.service == "placement":
        spoken = call.headers.get("openstack-api-version", "placement 1.0")
        return request_id | {"openstack-api-version": spoken}
    return request_id | {"Vary": "X-Auth-Token"} if call.service == "keystone" else {}


def packed(body: bytes, body_bytes: int) -> bytes:
    """A gzip of the body and blanks after it, `body_bytes` in all once it is unpacked."""
    blanks = gzip.compress(b" " * BLANKS)
    return gzip.compress(body) + blanks * (body_bytes // BLANKS)


def error_body(service: str, status: int) -> str:
    """An error in the words and shape of a service."""
    title = TITLES.get(status, "Error")
    if service == "netbox":
        return compact({"detail": title})
    if service == "keystone" or status == 401:  # noqa: PLR2004 - the token middleware answers for all
        return compact({"error": {"code": status, "message": title, "title": title}})
    if service == "placement":
        return dump({"errors": [{"status": status, "title": title, "detail": title}]})
    return dump({NOVA_NAMES.get(status, "computeFault"): {"code": status, "message": title}})


def distorted(fault: Fault, call: Call, answer: Answer) -> Answer:
    """The service's answer after a fault has changed its body."""
    kind = FaultKind(fault.kind)
    if kind not in _OF_THE_DOCUMENT:
        return answer
    try:
        value = json.loads(answer.body)
    except ValueError:
        return answer
    if kind is FaultKind.EMPTY_PAGE:
        value = _emptied(value)
    elif kind is FaultKind.PAGE_LOOP:
        value = _looped(value, call)
    elif kind is FaultKind.REWRITTEN:
        value = fault.rewrite(value)
    elif kind is FaultKind.NEW_PAGES:
        value = _renewed(value, call)
    else:
        value = _reshaped(value, fault.missing)
    return Answer(answer.status, dump(value), answer.headers, answer.content_type)


def _emptied(value: Any) -> Any:
    if not isinstance(value, dict):
        return []
    if "results" in value:
        return {**value, "count": 0, "next": None, "results": []}
    return {
        key: type(part)() if isinstance(part, list | dict) else part
        for key, part in value.items()
        if not key.endswith("_links")
    }


def _looped(value: Any, call: Call) -> Any:
    here = f"{call.host_url}{call.path}" + (f"?{call.query_text}" if call.query_text else "")
    if not isinstance(value, dict):
        return value
    if "results" in value:
        return {**value, "next": here}
    name = next((key for key, part in value.items() if isinstance(part, list)), None)
    return {**value, f"{name}_links": [{"rel": "next", "href": here}]} if name else value


def first_page(call: Call) -> Call:
    """The call for the first page of the list of which it asks for another."""
    return replace(
        call, query_text="&".join(part for part in call.query_text.split("&") if "marker=" not in part)
    )


def _renewed(value: Any, call: Call) -> Any:
    """The list with ids that nothing else has, and a link to a page that was not asked for yet."""
    if not isinstance(value, dict):
        return value
    name = next((key for key, part in value.items() if isinstance(part, list) and part), None)
    if name is None:
        return value
    rows = [row | {"id": _other(row.get("id"))} if isinstance(row, dict) else row for row in value[name]]
    here = f"{call.host_url}{call.path}?{first_page(call).query_text}&marker={rows[-1]['id']}"
    if name == "results":
        return {**value, "results": rows, "next": here}
    return {**value, name: rows, f"{name}_links": [{"rel": "next", "href": here}]}


def _other(identity: Any) -> Any:
    other = uuid.uuid4()
    return other.int >> 80 if isinstance(identity, int) else str(other)


def _reshaped(value: Any, missing: str | None) -> Any:
    if missing is None:
        return {"unexpected": True} if isinstance(value, list) else [value]
    return _without(value, missing)


def _without(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _without(part, key) for name, part in value.items() if name != key}
    if isinstance(value, list):
        return [_without(part, key) for part in value]
    return value
