"""Who asks: bearer tokens of the configuration, Keystone tokens, users of the web configuration, loopback."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from fastapi import Request

from spotd.settings.api import ApiSettings, ApiToken
from spotd.web.addresses import is_loopback
from spotd.web.api.envelope import Code, Refusal

PREFIX = "sptd_"
"""Tells spotd's tokens from Keystone's, and to those who search for leaked secrets what they found."""
USER = "spotd.user"
"""Where the web configuration's gate leaves the user whose password it checked."""
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="spotd"'}
_FORWARDED = frozenset(
    {
        *("forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip"),
        *("cf-connecting-ip", "fastly-client-ip", "x-envoy-external-address", "client-ip"),
    }
)


class Role(IntEnum):
    """What somebody may do; each may do what the ones before it may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks, and what they may do."""

    name: str
    """As the journal shows it."""
    role: Role
    kind: str
    """`token`, `keystone`, `basic` or `loopback`, or `anyone`."""


class TokenOwners(Protocol):
    """Whose a Keystone token is."""

    def __call__(self, token: str) -> Principal | None:
        """Whose it is; may wait for Keystone, and raises `Refusal` where Keystone does."""
        ...

    def knows(self, token: str) -> bool:
        """Whether that is told without Keystone."""
        ...


def new_token() -> str:
    """A token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """What the configuration holds of a token: with 256 random bits behind it, no slow hash is needed."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def role_of(word: str) -> Role:
    """The role that the configuration names."""
    return Role[word.upper()]


class Credentials:
    """Tells who a request is from."""

    def __init__(
        self,
        settings: Callable[[], ApiSettings],
        now: Callable[[], datetime],
        keystone: TokenOwners,
    ) -> None:
        self._settings = settings
        self._now = now
        self._keystone = keystone

    def principal(self, request: Request) -> Principal | None:
        """Who it is; None where the request says nothing of it and comes from elsewhere.

        May wait for Keystone: call it in a thread where `is_of_keystone`.

        Raises:
            Refusal: It says who it is, and that is not so.
        """
        token = _token(request)
        if token is not None:
            return self._of_token(token)
        user: str | None = request.scope.get(USER)
        settings = self._settings()
        if user is not None:
            return Principal(
                name=user, role=role_of(settings.basic_auth_roles.get(user, "viewer")), kind="basic"
            )
        if is_from_this_machine(request):
            free = settings.loopback_writes == "without-credential"
            if free or settings.reads != "credential":
                return Principal(name="loopback", role=Role.ADMIN if free else Role.VIEWER, kind="loopback")
        if settings.reads == "anyone":
            return Principal(name="anyone", role=Role.VIEWER, kind="anyone")
        return None

    def is_of_keystone(self, request: Request) -> bool:
        """Whether it shows a token that is not spotd's own."""
        token = _token(request)
        return token is not None and not token.startswith(PREFIX)

    def needs_keystone(self, request: Request) -> bool:
        """Whether only Keystone can tell, now."""
        token = _token(request)
        return token is not None and not token.startswith(PREFIX) and not self._keystone.knows(token)

    def _of_token(self, token: str) -> Principal:
        if not token.startswith(PREFIX):
            owner = self._keystone(token)
            if owner is None:
                raise unauthorized("The token is not valid.")
            return owner
        digest = hash_of(token).encode()
        found: ApiToken | None = None
        for known in self._settings().tokens:
            # Each is compared, and each in the same time: how long it takes tells nothing.
            if hmac.compare_digest(known.hash.get_secret_value().encode(), digest):
                found = known
        if found is None:
            raise unauthorized("The token is not valid.")
        if found.expires is not None and found.expires <= self._now():
            raise unauthorized(f"The token of {found.name} has expired.")
        return Principal(name=found.name, role=role_of(found.role), kind="token")


def unauthorized(sentence: str) -> Refusal:
    """401 with what would help."""
    return Refusal(Code.UNAUTHORIZED, sentence, headers=_CHALLENGE)


def _token(request: Request) -> str | None:
    """The bearer token; `X-Auth-Token` leaves `Authorization` to the web configuration's users."""
    headers = request.headers
    if "x-auth-token" in headers:
        return headers["x-auth-token"].strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not scheme:
        return None
    if scheme.lower() == "bearer":
        return token.strip()
    if request.scope.get(USER) is None:
        raise unauthorized("Use a bearer token: Authorization: Bearer TOKEN.")
    return None


def is_from_this_machine(request: Request) -> bool:
    """Whether the client is a process of this machine that does not say that it asks for another.

    The connection's own address counts. A proxy on this machine that names its client in a header lends
    nobody its loopback address; one that hides its clients must not forward `/api` or `/-/`.
    """
    if request.client is None or any(map(_names_a_client, request.headers)):
        return False
    return is_loopback(request.client.host)


def _names_a_client(header: str) -> bool:
    return header in _FORWARDED or header.startswith(("x-forwarded", "x-original-"))
