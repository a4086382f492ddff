"""The authenticated session of one cloud: clouds.yaml, tokens, the catalog and pinned microversions.

openstacksdk reads clouds.yaml and `OS_*`; keystoneauth keeps the token, renews it once on a 401 and
finds endpoints. Lists are read as plain JSON: SDK objects cost about 6 ms of CPU for each server.
"""

import functools
import threading
import time
from collections.abc import Mapping
from typing import Any

import requests
from keystoneauth1 import exceptions as ksa
from keystoneauth1 import session as ksa_session
from keystoneauth1.identity.base import BaseIdentityPlugin
from requests import codes

from spotd import __version__
from spotd.clouds.access import prove_tokens
from spotd.clouds.addresses import Addresses, require_microversions
from spotd.clouds.cloud_entry import region_of, session_of
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.limits import DOCUMENT_BYTES, MOST_TOKEN_VALUES, document_of
from spotd.clouds.openstack_errors import (
    SERVICE_NAMES,
    RedirectedError,
    error_of,
    json_of,
    prove_version,
    translating,
)
from spotd.clouds.transport import Observer, bounded_session, calling, reads_as_json, unobserved
from spotd.logs import looks_secret, register_secret
from spotd.settings import Settings

_PASSING = frozenset({codes.bad_gateway, codes.service_unavailable, codes.gateway_timeout})
"""A restarted control plane answers so to the first who ask."""
_PASSES_SECONDS = 0.5


class _Session(ksa_session.Session):
    """A session that follows no redirect, and does not wait for its own token while it is fetching one."""

    def request(self, url: str, method: str, **keywords: Any) -> Any:  # type: ignore[override]
        # Discovery that meets a 401 tries again with a token, for which it waits on its own lock for ever.
        if keywords.get("authenticated") is True:
            raise ksa.Unauthorized("the list of identity versions wants a token")
        # A plugin that looks at redirects itself says so; of the others, none is to learn of one.
        looks_itself = keywords.pop("redirect", None) is False
        response = super().request(url, method, redirect=False, **keywords)
        if codes.multiple_choices < response.status_code < codes.bad_request and not looks_itself:
            raise RedirectedError(response)
        if "endpoint_filter" not in keywords:
            _require_readable(response)
        return response


def _require_readable(response: requests.Response) -> None:
    """Passes tokens and lists of versions that keystoneauth can read without harm; it looks at no bound.

    Raises:
        keystoneauth1.exceptions.DiscoveryFailure: It is JSON, and none that anybody should read.
    """
    try:
        if reads_as_json(response):
            document_of(response.content, MOST_TOKEN_VALUES)
    except ValueError as error:
        raise ksa.DiscoveryFailure(f"it answered a document that is {error}") from None


class CloudSession:
    """One cloud's session, shared by every caller and thread; a token is fetched on first use."""

    def __init__(self, settings: Settings, observer: Observer = unobserved) -> None:
        """Reads clouds.yaml and the environment; nothing is sent yet.

        Raises:
            CloudError: The cloud is not in clouds.yaml, or its entry lacks something.
        """
        openstack_settings = settings.openstack
        self._timeout = openstack_settings.request_timeout_seconds
        region = region_of(openstack_settings.cloud, openstack_settings.region)
        for key, value in region.config.get("auth", {}).items():
            if looks_secret(key):
                register_secret(str(value))
        wire = bounded_session(observer, connect_seconds=openstack_settings.connect_timeout_seconds)
        region.set_session_constructor(functools.partial(_Session, session=wire))
        self._region = region
        self.name = region.name or "envvars"
        self.region_name: str | None = region.get_region_name()
        self.auth_url = str(region.get_auth_args().get("auth_url", ""))
        self._wire = wire
        self._session = session_of(region)
        prove_tokens(self._session.auth)
        self._session.app_name, self._session.app_version = "spotd", __version__
        self._renewing = threading.Lock()
        self._addresses = Addresses(self._session, region)
        self._is_forgotten = False

    def get(
        self,
        service: str,
        path: str,
        *,
        operation: str,
        microversion: str | None,
        params: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
        most_bytes: int = DOCUMENT_BYTES,
    ) -> tuple[Any, Mapping[str, str]]:
        """GETs one JSON document; returns it with the answer's headers.

        `service` is the catalog's type, `compute` or `placement`. A connection that broke is tried once
        more, and so are 502, 503 and 504 that ask for no pause.

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
            headers={"Accept": "application/json", **(headers or {})},
            most_bytes=most_bytes,
            passing=_PASSING,
            connect_retries=1,
            connect_retry_delay=0.2,
        )
        prove_version(response, service, operation, microversion)
        return json_of(response, service, operation), response.headers

    def send(
        self,
        method: str,
        service: str,
        path: str,
        *,
        operation: str,
        microversion: str,
        body: Mapping[str, Any] | None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Sends one write and returns the JSON document of its answer; without a body, None for none.

        It is never tried again, but for one renewal of the token on a 401, which says that the write was
        not done. The token is fetched beforehand, so that a Keystone that is down is told from a write
        whose outcome is unknown.

        Raises:
            CloudError: No usable answer came; its `may_have_happened` says whether to read back.
        """
        document: dict[str, Any] = {} if body is None else {"json": dict(body)}
        response = self._request(
            method,
            service,
            path,
            operation=operation,
            microversion=microversion,
            timeout_seconds=timeout_seconds,
            **document,
            headers={"Accept": "application/json"},
            connect_retries=0,
        )
        return None if body is None and not response.content else json_of(response, service, operation)

    def _request(
        self,
        method: str,
        service: str,
        path: str,
        *,
        operation: str,
        microversion: str | None,
        timeout_seconds: float | None,
        most_bytes: int = DOCUMENT_BYTES,
        passing: frozenset[int] = frozenset(),
        **keywords: Any,
    ) -> requests.Response:
        send = functools.partial(
            self._session.request,
            method=method,
            # Of it only the type counts, to which the microversion belongs: the address is whole.
            endpoint_filter={"service_type": service},
            microversion=microversion,
            raise_exc=False,
            # keystoneauth's own renewal gives up when another thread is renewing at that moment.
            allow_reauth=False,
            # It would sleep as long as a Retry-After says.
            status_code_retries=0,
            # keystoneauth would log the body, tokens included, at debug level.
            log=False,
            **keywords,
        )
        name = SERVICE_NAMES.get(service, service)
        with calling(name, operation, timeout_seconds or self._timeout, most_bytes):
            self._authenticate()
            address = self._addresses.find(service)
            if not address.is_proved and method != "GET":
                sentence = (
                    f"{name}: {address.place} names no version, and leads to no list of them: correct it"
                )
                raise CloudError(Failure.MICROVERSION, sentence, was_sent=False)
            with translating(service, operation, address.place):
                url = f"{address.url}/{path.lstrip('/')}"
                response: requests.Response = send(url)
                if response.status_code in passing and "Retry-After" not in response.headers:
                    time.sleep(_PASSES_SECONDS)
                    response = send(url)
                if response.status_code == codes.unauthorized:
                    self._authenticate(response.request.headers.get("X-Auth-Token"))
                    response = send(url)
                if response.status_code == codes.multiple_choices:
                    raise RedirectedError(response)
        if response.status_code >= codes.bad_request:
            raise error_of(response, service, operation)
        require_microversions(address, response, operation)
        return response

    def _authenticate(self, refused: str | bytes | None = None) -> None:
        """Has a token at hand, another than the refused one; nothing of the call has taken effect before.

        What fails here is Keystone, whichever service was to be asked with the token.
        """
        with translating("keystone", "authentication", self._addresses.place("keystone"), was_sent=False):
            with self._renewing:
                # Another thread may have fetched a new one meanwhile.
                if self._is_forgotten or (refused is not None and self._session.get_token() == refused):
                    self._renew()
                    self._is_forgotten = False
            self._session.get_token()

    def _renew(self) -> None:
        """Puts a new token in the place of the old one.

        Invalidating would leave none for a moment, and keystoneauth's `get_access` asserts, in whichever
        thread is within it just then, that there is one.
        """
        auth = self._session.auth
        if isinstance(auth, BaseIdentityPlugin):
            auth.auth_ref = auth.get_auth_ref(self._session)
        else:
            self._session.invalidate()

    def forget_token(self) -> None:
        """The next call authenticates again and so reads the catalog anew."""
        self._is_forgotten = True

    def endpoint(self, service: str) -> str | None:
        """The address of the service's API; None where the catalog has none.

        Raises:
            CloudError: Keystone gave no token, or the address leads to no API that spotd speaks.
        """
        with calling("keystone", "authenticate", self._timeout):
            self._authenticate()
            try:
                return self._addresses.find(service).url
            except CloudError as error:
                if error.reason is Failure.NOT_IN_CATALOG:
                    return None
                raise

    def close(self) -> None:
        """Closes all connections."""
        self._wire.close()
