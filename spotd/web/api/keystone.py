"""Keystone tokens as credentials: checked by Keystone, kept for a short time, mapped to roles."""

import hashlib
import threading
from collections.abc import Callable
from datetime import datetime

from cachetools import TTLCache

from spotd.clouds.errors import CloudError
from spotd.clouds.identity import TokenOwner
from spotd.settings.api import ApiSettings
from spotd.web.api.auth import Principal, Role, role_of, unauthorized
from spotd.web.api.envelope import Code, Refusal

LARGEST_TOKEN_BYTES = 8192
KEPT = 1000
"""Tokens remembered at once; by their hashes, so that memory holds none of them."""


class KeystoneTokens:
    """Tells whose token it is; safe to use from several threads."""

    def __init__(
        self,
        settings: Callable[[], ApiSettings],
        now: Callable[[], datetime],
        owner_of: Callable[[str], TokenOwner | None],
    ) -> None:
        """`owner_of` asks Keystone: None where the token is not good; raises `CloudError`."""
        self._settings = settings
        self._now = now
        self._owner_of = owner_of
        self._lock = threading.Lock()
        self._good: TTLCache[str, TokenOwner] = TTLCache(KEPT, settings().keystone_cache_seconds)

    def __call__(self, token: str) -> Principal | None:
        """Whose token it is; None where it is not valid.

        Raises:
            Refusal: Keystone did not answer, Keystone tokens are not taken, or it has no role here.
        """
        if not self._settings().keystone_roles:
            return None
        if len(token) > LARGEST_TOKEN_BYTES or not (token.isascii() and token.isprintable()):
            return None
        owner = self._owner(token)
        if owner is None or owner.expires_at <= self._now():
            return None
        return self._principal(owner)

    def knows(self, token: str) -> bool:
        """Whether Keystone said lately whose it is, or need not be asked."""
        with self._lock:
            return not self._settings().keystone_roles or _key_of(token) in self._good

    def _owner(self, token: str) -> TokenOwner | None:
        key = _key_of(token)
        with self._lock:
            kept = self._good.get(key)
        if kept is not None:
            return kept
        try:
            owner = self._owner_of(token)
        except CloudError as error:
            raise Refusal(Code.CLOUD_FAILED, f"The token could not be checked: {error}") from error
        if owner is not None:
            with self._lock:
                self._good[key] = owner
        return owner

    def _principal(self, owner: TokenOwner) -> Principal:
        settings = self._settings()
        projects = frozenset(settings.keystone_projects)
        if projects and not projects & owner.projects:
            raise unauthorized("The token is of another project.")
        roles = [
            role_of(settings.keystone_roles[name]) for name in owner.roles & settings.keystone_roles.keys()
        ]
        if not roles:
            raise Refusal(Code.FORBIDDEN, f"{owner.user} has no role that is known here.")
        return Principal(name=f"keystone {owner.user}", role=Role(max(roles)), kind="keystone")


def _key_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
