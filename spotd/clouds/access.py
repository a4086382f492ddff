"""What Keystone hands out with a token, proved before anything relies on it.

keystoneauth keeps whatever it was given and reads it later, in the middle of any call: a token without a
time of expiry would then fail every call until a restart. One that is proved here is kept; another is one
failed call, and the next asks Keystone anew.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from keystoneauth1 import exceptions as ksa
from keystoneauth1.identity.base import BaseIdentityPlugin

from spotd.clouds.errors import CloudError, Failure

_WHAT = "keystone: the token that it gave"


def prove_tokens(auth: Any) -> None:
    """Has the plugin refuse a token that nobody could work with; of plugins without tokens nothing changes.

    Its fetching then raises `CloudError`, `MALFORMED` and not sent, beside keystoneauth's own exceptions.
    """
    if isinstance(auth, BaseIdentityPlugin):
        auth.get_auth_ref = _proved(auth.get_auth_ref)  # type: ignore[method-assign]


def _proved(fetch: Callable[..., Any]) -> Callable[..., Any]:
    def fetch_and_prove(session: Any, **keywords: Any) -> Any:
        try:
            access = fetch(session, **keywords)
            token, endpoints = access.auth_token, _endpoints(access)
            expires: datetime = access.expires.astimezone(UTC)
        except (ksa.ClientException, CloudError):
            raise
        except Exception as error:  # noqa: BLE001 - the next line says why
            # keystoneauth reads the document without asking for its shape, so that any error can come.
            raise _refusal(f"has another shape than the API promises ({type(error).__name__})") from None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            raise _refusal("is no text that could stand in a header")
        if not all(isinstance(part, str) for endpoint in endpoints for part in endpoint):
            raise _refusal("has a catalog of another shape than the API promises")
        now = datetime.now(UTC)
        if expires <= now:
            raise _refusal(
                f"expired at {expires:%Y-%m-%dT%H:%M:%SZ}, before it came, by this machine's clock"
                f" ({now:%Y-%m-%dT%H:%M:%SZ}): set the clock that is wrong"
            )
        return access

    return fetch_and_prove


def _endpoints(access: Any) -> list[tuple[Any, Any, Any, Any]]:
    """Service type, interface, URL and region of each endpoint in the catalog."""
    if not access.has_service_catalog():
        return []
    return [
        (service["type"], endpoint["interface"], endpoint["url"], endpoint["region_name"] or "")
        for service in access.service_catalog.normalize_catalog()
        for endpoint in service["endpoints"]
    ]


def _refusal(why: str) -> CloudError:
    return CloudError(Failure.MALFORMED, f"{_WHAT} {why}", was_sent=False)
