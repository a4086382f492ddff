"""What OpenStack's errors mean, in spotd's words, and its JSON with the errors that reading it can bring."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from keystoneauth1 import exceptions as ksa
from requests import codes

from spotd.clouds import oldest
from spotd.clouds.errors import CloudError, Failure, malformed, without_secret
from spotd.clouds.limits import document_of
from spotd.clouds.transport import UNREADABLE, origin_of, reads_as_json, unreadable
from spotd.logs import mask_text, visible_within

SERVICE_NAMES = {"compute": "nova", "identity": "keystone"}
"""Service types of the catalog under the names that operators use."""

MESSAGE_LIMIT = 256
"""Characters of a cloud's own error text that are passed on: enough for Nova's longest, not for a page."""
LONGEST_TEXT = 64 * MESSAGE_LIMIT
"""Characters of it that are looked at."""

MICROVERSION_HEADERS = ("OpenStack-API-Version", "X-OpenStack-Nova-API-Version")
"""Nova says in each answer of its API at which microversion it was made; the second is the older name."""

_TRIPS = (AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What keystoneauth raises over a token or a list of versions of another shape than it knows."""

_NOVA_FAULTS = {404: "itemNotFound"}
"""Nova's name for an error, under which its document has it."""

_STATUS_FAILURES = {
    401: Failure.UNAUTHORIZED,
    403: Failure.FORBIDDEN,
    404: Failure.NOT_FOUND,
    406: Failure.MICROVERSION,
    409: Failure.CONFLICT,
    429: Failure.RATE_LIMITED,
}


class RedirectedError(ksa.ClientException):
    """The answer points elsewhere, where no credential of ours may go."""

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        asked = response.request.url or ""
        self.asked = origin_of(asked)
        location = response.headers.get("Location")
        self.there = "" if location is None else f" to {_shown(origin_of(location, asked), response)}"
        super().__init__(f"redirected ({self.status})")


def redirected(error: RedirectedError, service: str, operation: str, place: str) -> CloudError:
    """A redirect, by name; `place` is where the address stands that has to be corrected."""
    name = SERVICE_NAMES.get(service, service)
    return CloudError(
        Failure.CONFIGURATION,
        f"{name}: {operation} is redirected by {error.asked}{error.there} ({error.status}), "
        f"where no credential is sent: correct {place}",
        status=error.status,
    )


@contextmanager
def translating(service: str, operation: str, place: str, *, was_sent: bool = True) -> Iterator[None]:
    """Says in spotd's words what keystoneauth raises inside the block; `place` as `redirected` has it."""
    try:
        yield
    except RedirectedError as error:
        raise redirected(error, service, operation, place) from None
    except (ksa.ClientException, *_TRIPS) as error:
        raise translated(error, service, operation, was_sent=was_sent) from None


def translated(error: Exception, service: str, operation: str, *, was_sent: bool = True) -> CloudError:
    """The exceptions of keystoneauth in spotd's words, and those that it trips over in a strange answer."""
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
    if isinstance(error, ksa.UnknownConnectionError) and isinstance(error.original, UNREADABLE):
        return (Failure.MALFORMED, f"{name}: {operation} {unreadable(error.original)}")
    if isinstance(error, ksa.ConnectFailure | ksa.UnknownConnectionError | ksa.ConnectionError):
        return (Failure.CONNECTION, f"{name}: {short(_connection_cause(error))}")
    if isinstance(error, ksa.DiscoveryFailure | ksa.InvalidResponse):
        return (Failure.MALFORMED, f"keystone: {short(without_urls(str(error)))}")
    if isinstance(error, ksa.ClientException):
        return (Failure.CONFIGURATION, f"{name}: {short(without_urls(str(error)))}")
    return (Failure.MALFORMED, f"{name}: {operation} answered a document of another shape")


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
    if status == codes.not_found and not is_own(response, service):
        kind = short(response.headers.get("Content-Type") or "no content type")
        sentence = f"{name}: {operation} answered 404 with {kind}, which is not {name}'s own"
        return CloudError(
            Failure.MALFORMED,
            f"{sentence}: is the endpoint in the catalog right, or a proxy in between?",
            status=status,
        )
    return CloudError(
        reason,
        _sentence(response, service, operation),
        status=status,
        retry_after_seconds=_retry_after(response.headers.get("Retry-After")),
    )


def is_own(response: requests.Response, service: str) -> bool:
    """Whether an error is in the service's own words, and not those of something in front of it.

    Nova, Placement and Keystone each have a shape for errors of their own, and headers that they send with
    every answer; what finds no such service, or another one, has at most one of both.
    """
    document, headers, status = _document(response), response.headers, response.status_code
    if not isinstance(document, dict):
        return False
    spoken = headers.get("OpenStack-API-Version", "")
    if service == "compute":
        fault = document.get(_NOVA_FAULTS.get(status, "computeFault"))
        has_header = any(name in headers for name in MICROVERSION_HEADERS)
        return has_header and isinstance(fault, dict) and fault.get("code") == status
    if service == "placement":
        errors = document.get("errors")
        row = errors[0] if isinstance(errors, list) and errors else None
        return spoken.startswith("placement ") and isinstance(row, dict) and row.get("status") == status
    error = document.get("error")
    has_header = "X-OpenStack-Request-ID" in headers or "x-auth-token" in headers.get("Vary", "").lower()
    return has_header and isinstance(error, dict) and error.get("code") == status and "title" in error


def _document(response: requests.Response) -> Any:
    """The answer's document, None where it is no JSON."""
    try:
        return document_of(response.content) if reads_as_json(response) else None
    except ValueError:
        return None


def _sentence(response: requests.Response, service: str, operation: str) -> str:
    name, own = SERVICE_NAMES.get(service, service), _own_sentence(response)
    told = f"{name}: {operation} answered {response.status_code}" + (f": {own}" if own else "")
    needed = oldest.SERVICES.get(service)
    if needed is None or response.status_code != codes.not_acceptable:
        return told
    newest = _newest_version(response)
    if newest is None or newest >= needed.version:
        return f"{told}; {needed.refusal(None)}"
    return f"{name}: {operation}: {needed.refusal(oldest.written(newest))}"


def _newest_version(response: requests.Response) -> oldest.Version | None:
    """The newest microversion that a 406 says it has: Placement in a field of its own, Nova in its words."""
    document = _document(response)
    errors = document.get("errors") if isinstance(document, dict) else None
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return oldest.version_of(str(errors[0].get("max_version")))
    found = re.search(r"maximum is ([0-9.]{1,9})", _own_sentence(response))
    return oldest.version_of(found[1]) if found else None


def prove_version(
    response: requests.Response, service: str, operation: str, microversion: str | None
) -> None:
    """Holds that an answer is in the version that was asked for, as far as it says so.

    Raises:
        CloudError: It is in another, whose fields may mean something else or be absent.
    """
    if microversion is None:
        return
    for part in response.headers.get("OpenStack-API-Version", "").split(","):
        kind, _, told = part.strip().partition(" ")
        if kind == service and oldest.version_of(told) not in (None, oldest.version_of(microversion)):
            raise CloudError(
                Failure.MICROVERSION,
                f"{SERVICE_NAMES.get(service, service)}: {operation} was asked in {microversion} and"
                f" answered in {short(told)}: does a proxy drop the header that names it?",
            )


def _own_sentence(response: requests.Response) -> str:
    if not reads_as_json(response):
        return f"{short(response.headers.get('Content-Type') or 'no content type')} instead of JSON"
    try:
        document = document_of(response.content)
    except ValueError:
        return "not valid JSON"
    for value in document.values() if isinstance(document, dict) else ():
        if isinstance(value, dict) and isinstance(value.get("message"), str):
            return _told(value["message"], response)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            words = value[0].get("detail") or value[0].get("title")
            return _told(words, response) if isinstance(words, str) else ""
    return ""


def _told(sentence: str, response: requests.Response) -> str:
    return short(_shown(sentence, response))


def _shown(text: str, response: requests.Response) -> str:
    for header in ("X-Auth-Token", "X-Subject-Token"):
        text = without_secret(text, response.request.headers.get(header))
    return text


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
        kind = short(response.headers.get("Content-Type") or "no content type")
        raise malformed(f"{name}: {operation} answered {kind} instead of JSON: is a proxy in between?")
    try:
        return document_of(response.content)
    except ValueError as error:
        raise malformed(f"{name}: {operation} answered a document that is {error}") from None


def without_urls(text: str) -> str:
    """The text without addresses, which may carry credentials."""
    return re.sub(r"\bhttps?://\S+", "URL", text)


def short(text: str) -> str:
    """One bounded line that steers no terminal; secrets go before the cut, which may halve one."""
    return visible_within(mask_text(" ".join(text[:LONGEST_TEXT].split())), MESSAGE_LIMIT)
