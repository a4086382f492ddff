"""The envelope around every answer, and the refusals that go into it, each with a stable code."""

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.types import Scope

from spotd.logs import mask_text

T = TypeVar("T")
STARTED = "spotd.started"
"""Where the edge leaves the monotonic time at which a request began."""
REFUSED = "spotd.refused"
"""Where a refusal leaves its code and sentence, for the audit."""


class ErrorBody(BaseModel):
    """Why it failed."""

    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="One sentence, for people.")


class Metadata(BaseModel):
    """About the answer itself."""

    timestamp: float = Field(description="Unix time of the answer, in seconds.")
    execution_time: float = Field(description="Seconds that the answer took.", ge=0)
    snapshot_timestamp: float | None = Field(
        default=None, description="Unix time of the snapshot that the data is from, in seconds."
    )


class Envelope(BaseModel, Generic[T]):
    """What every answer looks like."""

    success: bool
    data: T | None = None
    error: ErrorBody | None = None
    metadata: Metadata


class Code(StrEnum):
    """Every error code; its HTTP status is in `STATUS`."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    CROSS_SITE = "cross_site"
    NOT_FOUND = "not_found"
    UNKNOWN_GPU_TYPE = "unknown_gpu_type"
    UNKNOWN_HOST = "unknown_host"
    UNKNOWN_AGGREGATE = "unknown_aggregate"
    UNKNOWN_MOVE = "unknown_move"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_SLOW = "too_slow"
    CONFLICT = "conflict"
    KEY_REUSED = "key_reused"
    HOST_CLAIMED = "host_claimed"
    REFUSED_BY_GUARDS = "refused_by_guards"
    FROZEN = "frozen"
    AGGREGATE_NOT_EMPTY = "aggregate_not_empty"
    TOO_LARGE = "too_large"
    WRONG_HOST = "wrong_host"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"
    CLOUD_FAILED = "cloud_failed"
    NOT_KNOWN_NOW = "not_known_now"
    NOT_CONFIGURED = "not_configured"
    BUSY = "busy"
    JOURNAL_FAILED = "journal_failed"
    REFRESH_FAILED = "refresh_failed"


STATUS: Mapping[Code, int] = {
    Code.INVALID_REQUEST: 422,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN: 403,
    Code.CROSS_SITE: 403,
    Code.NOT_FOUND: 404,
    Code.UNKNOWN_GPU_TYPE: 404,
    Code.UNKNOWN_HOST: 404,
    Code.UNKNOWN_AGGREGATE: 404,
    Code.UNKNOWN_MOVE: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.TOO_SLOW: 408,
    Code.CONFLICT: 409,
    Code.KEY_REUSED: 409,
    Code.HOST_CLAIMED: 409,
    Code.REFUSED_BY_GUARDS: 409,
    Code.FROZEN: 409,
    Code.AGGREGATE_NOT_EMPTY: 409,
    Code.TOO_LARGE: 413,
    Code.WRONG_HOST: 421,
    Code.RATE_LIMITED: 429,
    Code.INTERNAL: 500,
    Code.CLOUD_FAILED: 502,
    Code.NOT_KNOWN_NOW: 503,
    Code.NOT_CONFIGURED: 409,
    Code.BUSY: 503,
    Code.JOURNAL_FAILED: 503,
    Code.REFRESH_FAILED: 503,
}


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a failure
    """The request is answered with this code and sentence."""

    def __init__(self, code: Code, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def answered(
    request: Request,
    data: Any,
    *,
    status: int = 200,
    snapshot_timestamp: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The data in its envelope."""
    return enclosed(
        request, json_of(data), status=status, snapshot_timestamp=snapshot_timestamp, headers=headers
    )


def json_of(data: Any) -> bytes:
    """What stands under `data`."""
    return to_json(data, inf_nan_mode="null")


def enclosed(
    request: Request,
    data: bytes,
    *,
    status: int = 200,
    snapshot_timestamp: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Data that is JSON already, in its envelope: as `Envelope` has it, without making all of it anew."""
    metadata = _metadata(request.scope, snapshot_timestamp).model_dump_json().encode()
    body = b'{"success":true,"data":%b,"error":null,"metadata":%b}' % (data, metadata)
    return Response(body, status_code=status, media_type="application/json", headers=dict(headers or {}))


def refused(scope: Scope, code: Code, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal in its envelope: one sentence without line breaks and without secrets."""
    error = ErrorBody(code=code, message=" ".join(mask_text(message).split()))
    scope[REFUSED] = (code.value, error.message)
    body = Envelope[Any](success=False, error=error, metadata=_metadata(scope, None))
    return _json(body, STATUS[code], headers)


def documented(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """The refusals of an operation for OpenAPI: their statuses with the codes that each may carry."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status = STATUS[code]
        told = by_status.get(status)
        description = f"{told['description']}, `{code}`" if told else f"Refused: `{code}`"
        by_status[status] = {"description": description, "model": Envelope[None]}
    return by_status


def _metadata(scope: Scope, snapshot_timestamp: float | None) -> Metadata:
    now = time.monotonic()
    return Metadata(
        timestamp=time.time(),
        execution_time=max(0.0, now - scope.get(STARTED, now)),
        snapshot_timestamp=snapshot_timestamp,
    )


def _json(body: BaseModel, status: int, headers: Mapping[str, str] | None) -> Response:
    return Response(
        body.model_dump_json().encode(),
        status_code=status,
        media_type="application/json",
        headers=dict(headers or {}),
    )
