"""The authenticated session of one cloud: clouds.yaml, tokens, the catalog and pinned microversions.

openstacksdk reads clouds.yaml and `OS_*`; keystoneauth keeps the token, renews it once on a 401 and
finds endpoints. Lists are read as plain JSON: SDK objects cost about 6 ms of CPU for each server.
"""

import functools
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openstack.config
import requests
import yaml
from keystoneauth1 import exceptions as ksa
from keystoneauth1 import session as ksa_session
from keystoneauth1.identity.base import BaseIdentityPlugin
from openstack import exceptions as sdk_exceptions
from requests import codes

from spotd import __version__
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.openstack_errors import SERVICE_NAMES, error_of, json_of, short, translated
from spotd.clouds.transport import Observer, bounded_session, calling, unobserved
from spotd.logs import looks_secret, register_secret
from spotd.settings import Settings
from spotd.settings.files import FileTooLarge, refuse_unreadable

LARGEST_CLOUDS_BYTES = 1024**2
"""More than any clouds.yaml, secure.yaml or clouds-public.yaml holds."""


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
        try:
            self._session = region.get_session()
        except (sdk_exceptions.SDKException, ksa.ClientException) as error:
            raise _configuration_error(self.name, error) from None
        self._session.app_name, self._session.app_version = "spotd", __version__
        self._renewing = threading.Lock()
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
            headers={"Accept": "application/json", **(headers or {})},
            connect_retries=1,
            connect_retry_delay=0.2,
            status_code_retries=1,
            status_code_retry_delay=0.5,
            retriable_status_codes=[502, 503, 504],
        )
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
        response = self._request(
            method,
            service,
            path,
            operation=operation,
            microversion=microversion,
            timeout_seconds=timeout_seconds,
            **({} if body is None else {"json": dict(body)}),
            headers={"Accept": "application/json"},
            connect_retries=0,
            status_code_retries=0,
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
            raise_exc=False,
            # keystoneauth's own renewal gives up when another thread is renewing at that moment.
            allow_reauth=False,
            # keystoneauth would log the body, tokens included, at debug level.
            log=False,
            **keywords,
        )
        try:
            with calling(SERVICE_NAMES.get(service, service), operation, timeout_seconds or self._timeout):
                self._authenticate()
                response: requests.Response = send()
                if response.status_code == codes.unauthorized:
                    self._authenticate(response.request.headers.get("X-Auth-Token"))
                    response = send()
        except ksa.ClientException as error:
            raise translated(error, service, operation) from None
        if response.status_code >= codes.bad_request:
            raise error_of(response, service, operation)
        return response

    def _authenticate(self, refused: str | bytes | None = None) -> None:
        """Has a token at hand, another than the refused one; nothing of the call has taken effect before.

        What fails here is Keystone, whichever service was to be asked with the token.
        """
        try:
            with self._renewing:
                # Another thread may have fetched a new one meanwhile.
                if self._is_forgotten or (refused is not None and self._session.get_token() == refused):
                    self._renew()
                    self._is_forgotten = False
            self._session.get_token()
        except ksa.ClientException as error:
            raise translated(error, "keystone", "authentication", was_sent=False) from None

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
        """The service's URL from the catalog; None where the catalog has none.

        Raises:
            CloudError: Keystone gave no token.
        """
        try:
            with calling("keystone", "authenticate", self._timeout):
                self._authenticate()
                return self._session.get_endpoint(  # type: ignore[no-any-return]
                    service_type=service,
                    interface=self._region.get_interface(service),
                    region_name=self.region_name,
                )
        except (ksa.EndpointNotFound, ksa.EmptyCatalog):
            return None
        except ksa.ClientException as error:
            raise translated(error, "keystone", "authentication") from None

    def close(self) -> None:
        """Closes all connections."""
        self._wire.close()


def _region_of(cloud: str | None, region: str | None) -> Any:
    _refuse_what_is_no_file()
    try:
        loader: Any = openstack.config.OpenStackConfig(app_name="spotd", app_version=__version__)
        return loader.get_one(cloud=cloud, **({"region_name": region} if region else {}))
    except yaml.MarkedYAMLError as error:
        # Its own text may quote the line, and so a password.
        line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise CloudError(Failure.CONFIGURATION, f"clouds.yaml is no valid YAML{line}") from None
    except (sdk_exceptions.SDKException, ksa.ClientException, OSError, ValueError) as error:
        raise _configuration_error(cloud, error) from None


def _refuse_what_is_no_file() -> None:
    """What openstacksdk would wait for without end, or read until memory ends."""
    named = filter(None, map(os.environ.get, ("OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE")))
    searched = openstack.config.loader
    for path in (*named, *searched.CONFIG_FILES, *searched.SECURE_FILES, *searched.VENDOR_FILES):
        try:
            refuse_unreadable(Path(path), most_bytes=LARGEST_CLOUDS_BYTES)
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise CloudError(Failure.CONFIGURATION, f"{path}: cannot be read: {why}") from None
        except FileTooLarge:
            why = f"is larger than {LARGEST_CLOUDS_BYTES // 1024} KiB"
            raise CloudError(Failure.CONFIGURATION, f"{path}: {why}") from None


def _configuration_error(cloud: str | None, error: Exception) -> CloudError:
    if "was not found" in str(error):
        known = _known_clouds()
        return CloudError(
            Failure.CONFIGURATION,
            f"openstack.cloud: no cloud named {cloud!r} in clouds.yaml; it has: {', '.join(known) or 'none'}",
        )
    where = f"cloud {cloud!r}" if cloud else "no cloud is named (openstack.cloud, or OS_CLOUD, or OS_*)"
    return CloudError(Failure.CONFIGURATION, f"{where}: {short(str(error))}")


def _known_clouds() -> list[str]:
    try:
        return sorted(openstack.config.OpenStackConfig().get_cloud_names())
    except (sdk_exceptions.SDKException, OSError, ValueError):
        return []
