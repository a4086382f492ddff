"""What OpenStack's errors mean, in spotd's words, and its JSON with the errors that reading it can bring."""

import json
import re
from typing import Any

import requests
from keystoneauth1 import exceptions as ksa
from requests import codes

from spotd.clouds.errors import CloudError, Failure, malformed, without_secret
from spotd.clouds.transport import reads_as_json
from spotd.logs import mask_text, visible_within

SERVICE_NAMES = {"compute": "nova", "identity": "keystone"}
"""Service types of the catalog under the names that operators use."""

MESSAGE_LIMIT = 256
"""Characters of a cloud's own error text that are passed on: enough for Nova's longest, not for a page."""
LONGEST_TEXT = 64 * MESSAGE_LIMIT
"""Characters of it that are looked at."""

_STATUS_FAILURES = {
    401: Failure.UNAUTHORIZED,
    403: Failure.FORBIDDEN,
    404: Failure.NOT_FOUND,
    406: Failure.MICROVERSION,
    409: Failure.CONFLICT,
    429: Failure.RATE_LIMITED,
}


def translated(error: Exception, service: str, operation: str, *, was_sent: bool = True) -> CloudError:
    """The exceptions of keystoneauth in spotd's words."""
    reason, sentence = _meaning(error, service, operation)
    status = error.http_status if isinstance(error, ksa.HttpError) else None
    return CloudError(reason, sentence, status=status, was_sent=was_sent)


def _meaning(  # noqa: PLR0911 - one line for each kind of failure
    error: Exception, service: str, operation: str
) -> tuple[Failure, str]:
    name = SERVICE_NAMES.get(service, service)
    if isinstance(error, ksa.ConnectTimeout):
        return (Failure.TIMEOUT, f"{name}: no whole answer to {operation} in time")
    if isinstance(error, ksa.SSLError):
        return (Failure.TLS, f"{name}: TLS failed: {short(without_urls(str(error)))}")
    if isinstance(error, ksa.EndpointNotFound | ksa.EmptyCatalog):
        return (Failure.NOT_IN_CATALOG, f"{name}: not in the catalog for this region and interface")
    if isinstance(error, ksa.HttpError):
        status = error.http_status
        reason = _STATUS_FAILURES.get(
            status, Failure.SERVER_ERROR if status >= codes.server_error else Failure.REFUSED
        )
        what = "authentication" if service != "keystone" else operation
        return (reason, f"keystone: {what} answered {status}: {short(error.message)}")
    if isinstance(error, ksa.ConnectFailure | ksa.UnknownConnectionError | ksa.ConnectionError):
        return (Failure.CONNECTION, f"{name}: {short(_connection_cause(error))}")
    if isinstance(error, ksa.DiscoveryFailure | ksa.InvalidResponse):
        return (Failure.MALFORMED, f"keystone: {short(without_urls(str(error)))}")
    return (Failure.CONFIGURATION, f"{name}: {short(without_urls(str(error)))}")


def _connection_cause(error: Exception) -> str:
    text = str(error)
    for known in (
        "Connection refused",
        "Connection reset by peer",
        "Name or service not known",
        "No route to host",
    ):
        if known in text:
            return known.lower()
    cut = "the connection broke before the answer was whole"
    return (
        cut
        if "IncompleteRead" in text or "RemoteDisconnected" in text
        else f"no connection: {without_urls(text)}"
    )


def error_of(response: requests.Response, service: str, operation: str) -> CloudError:
    """An error status in spotd's words, with the cloud's own sentence where it gave one."""
    status = response.status_code
    reason = _STATUS_FAILURES.get(
        status, Failure.SERVER_ERROR if status >= codes.server_error else Failure.REFUSED
    )
    name = SERVICE_NAMES.get(service, service)
    sentence = _own_sentence(response)
    return CloudError(
        reason,
        f"{name}: {operation} answered {status}" + (f": {sentence}" if sentence else ""),
        status=status,
        retry_after_seconds=_retry_after(response.headers.get("Retry-After")),
    )


def _own_sentence(response: requests.Response) -> str:
    if not reads_as_json(response):
        return f"{response.headers.get('Content-Type') or 'no content type'} instead of JSON"
    try:
        document = response.json()
    except ValueError:
        return "not valid JSON"
    if isinstance(document, dict):
        for value in document.values():
            if isinstance(value, dict) and "message" in value:
                return _told(str(value["message"]), response)
            if isinstance(value, list) and value and isinstance(value[0], dict):
                return _told(str(value[0].get("detail") or value[0].get("title") or ""), response)
    return ""


def _told(sentence: str, response: requests.Response) -> str:
    return short(without_secret(sentence, response.request.headers.get("X-Auth-Token")))


def _retry_after(header: str | None) -> float | None:
    """Seconds from a `Retry-After` header; dates are rare on APIs and count as absent."""
    return float(header) if header and re.fullmatch(r"\d{1,6}", header.strip()) else None


def json_of(response: requests.Response, service: str, operation: str) -> Any:
    """The answer's document.

    Raises:
        CloudError: It is no JSON.
    """
    name = SERVICE_NAMES.get(service, service)
    if not reads_as_json(response):
        kind = response.headers.get("Content-Type") or "no content type"
        raise malformed(f"{name}: {operation} answered {kind} instead of JSON: is a proxy in between?")
    try:
        return json.loads(response.content)
    except ValueError:
        raise malformed(f"{name}: {operation} answered a document that is not valid JSON") from None


def without_urls(text: str) -> str:
    """The text without addresses, which may carry credentials."""
    return re.sub(r"\bhttps?://\S+", "URL", text)


def short(text: str) -> str:
    """One bounded line that steers no terminal; secrets go before the cut, which may halve one."""
    return visible_within(mask_text(" ".join(text[:LONGEST_TEXT].split())), MESSAGE_LIMIT)
