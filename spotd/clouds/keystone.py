"""The authenticated session of one cloud: clouds.yaml, tokens, the catalog and pinned microversions.

openstacksdk reads clouds.yaml and `OS_*`; keystoneauth keeps the token, renews it once on a 401 and
finds endpoints. Lists are read as plain JSON: SDK objects cost about 6 ms of CPU for each server.
"""

import functools
import json
import re
import threading
from collections.abc import Mapping
from typing import Any

import openstack.config
import requests
import yaml
from keystoneauth1 import exceptions as ksa
from keystoneauth1 import session as ksa_session
from openstack import exceptions as sdk_exceptions
from requests import codes

from spotd import __version__
from spotd.clouds.errors import CloudError, Failure, malformed, without_secret
from spotd.clouds.transport import Observer, bounded_session, calling, reads_as_json, unobserved
from spotd.settings import Settings

MESSAGE_LIMIT = 256
"""Characters of a cloud's own error text that are passed on: enough for Nova's longest, not for a page."""

_STATUS_FAILURES = {
    401: Failure.UNAUTHORIZED,
    403: Failure.FORBIDDEN,
    404: Failure.NOT_FOUND,
    406: Failure.MICROVERSION,
    409: Failure.CONFLICT,
    429: Failure.RATE_LIMITED,
}


class _Session(ksa_session.Session):
    """A session that does not wait for its own token while it is fetching one."""

    def request(self, url: str, method: str, **keywords: Any) -> Any:  # type: ignore[override]
        # Discovery that meets a 401 tries again with a token, for which it waits on its own lock for ever.
        if keywords.get("authenticated") is True:
            raise ksa.Unauthorized("the list of identity versions wants a token")
        return super().request(url, method, **keywords)


class CloudSession:
    """One cloud's session, shared by every caller and thread; a token is fetched on first use."""

    def __init__(self, settings: Settings, observer: Observer = unobserved) -> None:
        """Reads clouds.yaml and the environment; nothing is sent yet.

        Raises:
            CloudError: The cloud is not in clouds.yaml, or its entry lacks something.
        """
        openstack_settings = settings.openstack
        self._timeout = openstack_settings.request_timeout_seconds
        region = _region_of(openstack_settings.cloud, openstack_settings.region)
        wire = bounded_session(observer, connect_seconds=openstack_settings.connect_timeout_seconds)
        region.set_session_constructor(functools.partial(_Session, session=wire))
        self._region = region
        self.name = region.name or "envvars"
        self.region_name: str | None = region.get_region_name()
        self._wire = wire
        try:
            self._session = region.get_session()
        except (sdk_exceptions.SDKException, ksa.ClientException) as error:
            raise _configuration_error(self.name, error) from None
        self._session.app_name, self._session.app_version = "spotd", __version__
        self._renewing = threading.Lock()

    def get(
        self,
        service: str,
        path: str,
        *,
        operation: str,
        microversion: str,
        params: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> tuple[Any, Mapping[str, str]]:
        """GETs one JSON document; returns it with the answer's headers.

        `service` is the catalog's type, `compute` or `placement`. A connection that broke is tried once
        more, and so are 502, 503 and 504: a restarted control plane answers so to the first who ask.

        Raises:
            CloudError: No usable answer came.
        """
        response = self._request(
            "GET",
            service,
            path,
            operation=operation,
            microversion=microversion,
            timeout_seconds=timeout_seconds,
            params=dict(params or {}),
            connect_retries=1,
            connect_retry_delay=0.2,
            status_code_retries=1,
            status_code_retry_delay=0.5,
            retriable_status_codes=[502, 503, 504],
        )
        return _json_of(response, service, operation), response.headers

    def _request(
        self,
        method: str,
        service: str,
        path: str,
        *,
        operation: str,
        microversion: str,
        timeout_seconds: float | None,
        **keywords: Any,
    ) -> requests.Response:
        filters = {
            "service_type": service,
            "interface": self._region.get_interface(service),
            # Without a version wish keystoneauth takes the catalog's URL as it is: no discovery request.
            "region_name": self.region_name,
        }
        send = functools.partial(
            self._session.request,
            path,
            method,
            endpoint_filter=filters,
            endpoint_override=self._region.get_endpoint(service),
            microversion=microversion,
            headers={"Accept": "application/json"},
            raise_exc=False,
            # keystoneauth's own renewal gives up when another thread is renewing at that moment.
            allow_reauth=False,
            # keystoneauth would log the body, tokens included, at debug level.
            log=False,
            **keywords,
        )
        try:
            with calling(_SERVICE_NAMES.get(service, service), operation, timeout_seconds or self._timeout):
                response: requests.Response = send()
                if response.status_code == codes.unauthorized:
                    self._renew(response.request.headers.get("X-Auth-Token"))
                    response = send()
        except ksa.ClientException as error:
            raise _translated(error, service, operation) from None
        if response.status_code >= codes.bad_request:
            raise _error_of(response, service, operation)
        return response

    def _renew(self, refused: str | bytes | None) -> None:
        """Drops the refused token, unless another thread has fetched a new one meanwhile."""
        with self._renewing:
            if self._session.get_token() == refused:
                self._session.invalidate()

    def forget_token(self) -> None:
        """The next call authenticates again and so reads the catalog anew."""
        self._session.invalidate()

    def endpoint(self, service: str) -> str | None:
        """The service's URL from the catalog; None where the catalog has none.

        Raises:
            CloudError: Keystone gave no token.
        """
        try:
            with calling("keystone", "authenticate", self._timeout):
                found: str | None = self._session.get_endpoint(
                    service_type=service,
                    interface=self._region.get_interface(service),
                    region_name=self.region_name,
                )
        except ksa.ClientException as error:
            raise _translated(error, "keystone", "authenticate") from None
        return found

    def close(self) -> None:
        """Closes all connections."""
        self._wire.close()


_SERVICE_NAMES = {"compute": "nova", "identity": "keystone"}


def _region_of(cloud: str | None, region: str | None) -> Any:
    try:
        loader: Any = openstack.config.OpenStackConfig(app_name="spotd", app_version=__version__)
        return loader.get_one(cloud=cloud, **({"region_name": region} if region else {}))
    except yaml.MarkedYAMLError as error:
        # Its own text may quote the line, and so a password.
        line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise CloudError(Failure.CONFIGURATION, f"clouds.yaml is no valid YAML{line}") from None
    except (sdk_exceptions.SDKException, ksa.ClientException, OSError, ValueError) as error:
        raise _configuration_error(cloud, error) from None


def _configuration_error(cloud: str | None, error: Exception) -> CloudError:
    if "was not found" in str(error):
        known = _known_clouds()
        return CloudError(
            Failure.CONFIGURATION,
            f"openstack.cloud: no cloud named {cloud!r} in clouds.yaml; it has: {', '.join(known) or 'none'}",
        )
    where = f"cloud {cloud!r}" if cloud else "no cloud is named (openstack.cloud, or OS_CLOUD, or OS_*)"
    return CloudError(Failure.CONFIGURATION, f"{where}: {_short(str(error))}")


def _known_clouds() -> list[str]:
    try:
        return sorted(openstack.config.OpenStackConfig().get_cloud_names())
    except (sdk_exceptions.SDKException, OSError, ValueError):
        return []


def _translated(  # noqa: PLR0911 - one line for each kind of failure
    error: Exception, service: str, operation: str
) -> CloudError:
    """The exceptions of keystoneauth in spotd's words."""
    name = _SERVICE_NAMES.get(service, service)
    if isinstance(error, ksa.ConnectTimeout):
        return CloudError(Failure.TIMEOUT, f"{name}: no whole answer to {operation} in time")
    if isinstance(error, ksa.SSLError):
        return CloudError(Failure.TLS, f"{name}: TLS failed: {_short(_without_urls(str(error)))}")
    if isinstance(error, ksa.EndpointNotFound | ksa.EmptyCatalog):
        return CloudError(Failure.NOT_IN_CATALOG, f"{name}: not in the catalog for this region and interface")
    if isinstance(error, ksa.HttpError):
        status = error.http_status
        reason = _STATUS_FAILURES.get(
            status, Failure.SERVER_ERROR if status >= codes.server_error else Failure.REFUSED
        )
        what = "authentication" if service != "keystone" else operation
        return CloudError(
            reason, f"keystone: {what} answered {status}: {_short(error.message)}", status=status
        )
    if isinstance(error, ksa.ConnectFailure | ksa.UnknownConnectionError | ksa.ConnectionError):
        return CloudError(Failure.CONNECTION, f"{name}: {_short(_connection_cause(error))}")
    if isinstance(error, ksa.DiscoveryFailure | ksa.InvalidResponse):
        return CloudError(Failure.MALFORMED, f"keystone: {_short(_without_urls(str(error)))}")
    return CloudError(Failure.CONFIGURATION, f"{name}: {_short(_without_urls(str(error)))}")


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
        else f"no connection: {_without_urls(text)}"
    )


def _error_of(response: requests.Response, service: str, operation: str) -> CloudError:
    """An error status in spotd's words, with the cloud's own sentence where it gave one."""
    status = response.status_code
    reason = _STATUS_FAILURES.get(
        status, Failure.SERVER_ERROR if status >= codes.server_error else Failure.REFUSED
    )
    name = _SERVICE_NAMES.get(service, service)
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
    return _short(without_secret(sentence, response.request.headers.get("X-Auth-Token")))


def _retry_after(header: str | None) -> float | None:
    """Seconds from a `Retry-After` header; dates are rare on APIs and count as absent."""
    return float(header) if header and re.fullmatch(r"\d{1,6}", header.strip()) else None


def _json_of(response: requests.Response, service: str, operation: str) -> Any:
    name = _SERVICE_NAMES.get(service, service)
    if not reads_as_json(response):
        kind = response.headers.get("Content-Type") or "no content type"
        raise malformed(f"{name}: {operation} answered {kind} instead of JSON: is a proxy in between?")
    try:
        return json.loads(response.content)
    except ValueError:
        raise malformed(f"{name}: {operation} answered a document that is not valid JSON") from None


def _without_urls(text: str) -> str:
    return re.sub(r"\bhttps?://\S+", "URL", text)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"
