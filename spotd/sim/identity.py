"""Keystone's state: users, projects, roles, tokens and the service catalogue."""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from spotd.sim.errors import NotFoundError, UnauthorizedError

NAMESPACE = uuid.UUID("6f2d7a51-6f0f-4a57-9a1b-7a0f5a1ed0c5")
UNAUTHENTICATED = "The request you have made requires authentication."
ROLES = ("admin", "reader", "manager", "member")


def stable_id(*parts: object) -> str:
    """A uuid that depends only on its parts, so that one seed makes one cloud."""
    return str(uuid.uuid5(NAMESPACE, "/".join(str(part) for part in parts)))


def stable_hex(*parts: object) -> str:
    """The same without dashes, as Keystone writes ids."""
    return stable_id(*parts).replace("-", "")


@dataclass(frozen=True, slots=True)
class Project:
    """A project in the domain Default."""

    id: str
    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A user in the domain Default, with roles by project id."""

    id: str
    name: str
    password: str
    roles: dict[str, tuple[str, ...]]


@dataclass(slots=True)
class Token:
    """An issued token."""

    secret: str
    user: User
    project: Project
    roles: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    audit_id: str = field(default_factory=lambda: secrets.token_urlsafe(16))


@dataclass(slots=True)
class Endpoint:
    """A service in the catalogue; all three interfaces have the same URL."""

    type: str
    name: str
    url: str
    region: str = "RegionOne"


class Identity:
    """Issues and checks tokens by the injected clock."""

    def __init__(self, seed: int, now: Callable[[], datetime]) -> None:
        self.now = now
        self.seed = seed
        self.token_lifetime = timedelta(seconds=3600)
        self.reader_sees_all = False
        """Whether the policy lets the role reader read what otherwise only admin may."""
        self.may_filter = True
        """Whether administrators may filter servers by host; where not, Nova drops the filter silently."""
        self.catalog: list[Endpoint] = []
        self.projects: dict[str, Project] = {}
        self.users: dict[str, User] = {}
        self.tokens: dict[str, Token] = {}
        for name in ("admin", "demo", "service"):
            self.add_project(name)
        everything = tuple(ROLES)
        admin, demo = self.project("admin").id, self.project("demo").id
        self.add_user("admin", "lab", {admin: everything, demo: ("admin",)})
        self.add_user("demo", "lab", {demo: ("member",)})
        self.add_user("auditor", "lab", {admin: ("reader",)})

    def add_project(self, name: str) -> Project:
        """Create a project."""
        project = Project(stable_hex(self.seed, "project", name), name)
        self.projects[project.id] = project
        return project

    def add_user(self, name: str, password: str, roles: dict[str, tuple[str, ...]]) -> User:
        """Create a user with roles by project id."""
        user = User(stable_hex(self.seed, "user", name), name, password, roles)
        self.users[name] = user
        return user

    def project(self, name: str) -> Project:
        """The project with this name."""
        return next(project for project in self.projects.values() if project.name == name)

    def issue(self, name: str, password: str, project: str | None) -> Token:
        """A new token for a user on a project, given by name or id.

        Raises:
            UnauthorizedError: wrong name, password or project.
        """
        user = self.users.get(name)
        if user is None:
            user = next((one for one in self.users.values() if one.id == name), None)
        if user is None or user.password != password:
            raise UnauthorizedError(UNAUTHENTICATED)
        scope = next((p for p in self.projects.values() if project in (p.id, p.name)), None)
        roles = user.roles.get(scope.id) if scope is not None else None
        if scope is None or not roles:
            raise UnauthorizedError(UNAUTHENTICATED)
        issued = self.now().replace(microsecond=0)
        token = Token(
            "gAAAAAB" + secrets.token_urlsafe(120), user, scope, roles, issued, issued + self.token_lifetime
        )
        self.tokens[token.secret] = token
        return token

    def check(self, secret: str | None) -> Token:
        """The token's record.

        Raises:
            UnauthorizedError: none given, unknown, expired or revoked.
        """
        token = self.tokens.get(secret or "")
        if token is None or token.expires_at <= self.now():
            raise UnauthorizedError(UNAUTHENTICATED)
        return token

    def subject(self, secret: str | None) -> Token:
        """The token that another token asks about.

        Raises:
            NotFoundError: unknown or expired.
        """
        token = self.tokens.get(secret or "")
        if token is None or token.expires_at <= self.now():
            raise NotFoundError("Could not recognize Fernet token")
        return token

    def may_read(self, token: Token) -> bool:
        """Whether the caller may use what is reserved to administrators for reading."""
        return "admin" in token.roles or (self.reader_sees_all and "reader" in token.roles)

    def revoke(self, secret: str) -> None:
        """Forget one token: it is a 401 at once, everywhere."""
        self.tokens.pop(secret, None)

    def revoke_all(self) -> None:
        """Forget every token."""
        self.tokens.clear()

    def expire_all(self) -> None:
        """End every token now."""
        moment = self.now()
        for token in self.tokens.values():
            token.expires_at = min(token.expires_at, moment)

    def remove_service(self, service_type: str) -> None:
        """Take a service out of the catalogue of tokens issued from now on."""
        self.catalog = [endpoint for endpoint in self.catalog if endpoint.type != service_type]

    def move_endpoint(self, service_type: str, url: str) -> None:
        """Point a service of the catalogue to another URL."""
        for endpoint in self.catalog:
            if endpoint.type == service_type:
                endpoint.url = url

    def add_region(self, name: str, suffix: str) -> None:
        """Put every service into a further region, at URLs that end otherwise."""
        regions = {endpoint.region for endpoint in self.catalog}
        first = [endpoint for endpoint in self.catalog if endpoint.region == min(regions)]
        self.catalog += [replace(endpoint, region=name, url=endpoint.url + suffix) for endpoint in first]

    def catalog_view(self, project_id: str = "") -> list[dict[str, Any]]:
        """The catalogue as a token carries it: a service once, with its endpoints in every region.

        Where a URL asks for the token's project, it is put there.
        """
        services = dict.fromkeys((endpoint.type, endpoint.name) for endpoint in self.catalog)
        return [self._entry(kind, name, project_id) for kind, name in services]

    def _entry(self, kind: str, name: str, project_id: str) -> dict[str, Any]:
        return {
            "endpoints": [
                {
                    "id": stable_hex(self.seed, endpoint.type, endpoint.region, interface),
                    "interface": interface,
                    "region_id": endpoint.region,
                    "url": endpoint.url.replace("%(tenant_id)s", project_id),
                    "region": endpoint.region,
                }
                for endpoint in self.catalog
                if (endpoint.type, endpoint.name) == (kind, name)
                for interface in ("admin", "public", "internal")
            ],
            "id": stable_hex(self.seed, kind),
            "type": kind,
            "name": name,
        }
