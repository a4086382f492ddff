"""Keystone's word on a token that somebody else presents: whose it is, and what roles it has."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spotd.clouds.errors import CloudError, Failure, malformed
from spotd.clouds.keystone import CloudSession
from spotd.clouds.shape import moment_of, object_of, rows_of, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOwner:
    """Whose token it is. Source: GET /v3/auth/tokens (Keystone)."""

    user: str
    """The user's name."""
    projects: frozenset[str]
    """Id and name of the token's project; empty where it has none."""
    roles: frozenset[str]
    """Names of the roles that the token has there."""
    expires_at: datetime


def token_owner(session: CloudSession, token: str) -> TokenOwner | None:
    """Whose token it is; None where Keystone does not take it, or no more.

    Raises:
        CloudError: Keystone did not say.
    """
    endpoint = session.endpoint("identity") or session.auth_url
    path = "/auth/tokens" if endpoint.rstrip("/").endswith("/v3") else "/v3/auth/tokens"
    try:
        document, _ = session.get(
            "identity",
            path,
            operation="check token",
            microversion=None,
            headers={"X-Subject-Token": token},
        )
    except CloudError as error:
        if error.reason is Failure.NOT_FOUND:
            return None
        raise
    return _owner(object_of(document, "token", "keystone: token"))


def _owner(row: Mapping[str, Any]) -> TokenOwner:
    what = "keystone: token"
    project = row.get("project") or {}
    if not isinstance(project, dict):
        raise malformed(f"{what}: 'project' is no object", project)
    expires_at = moment_of(row.get("expires_at"))
    if expires_at is None:
        raise malformed(f"{what}: 'expires_at' is no time")
    return TokenOwner(
        user=text_of(object_of(row, "user", what), "name", what),
        projects=frozenset(str(project[key]) for key in ("id", "name") if project.get(key)),
        roles=frozenset(text_of(role, "name", what) for role in rows_of(row, "roles", what))
        if "roles" in row
        else frozenset(),
        expires_at=expires_at,
    )
