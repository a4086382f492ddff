"""Answers like Keystone v3: discovery, tokens, the catalogue and the list of projects."""

import re
from typing import Any

from spotd.sim.errors import BadRequestError, NotFoundError, RefusedError, UnauthorizedError
from spotd.sim.identity import UNAUTHENTICATED, Token, stable_hex
from spotd.sim.wire import Answer, Call, Routes, compact, dump
from spotd.sim.world import World

TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
NOT_FOUND_PAGE = """<!doctype html>
<html lang=en>
<title>404 Not Found</title>
<h1>Not Found</h1>
<p>The requested URL was not found on the server. If you entered the URL manually please check your \
spelling and try again.</p>
"""
NO_AUTH = (
    "Expecting to find auth in request body. The server could not comply with the request since it is "
    "either malformed or otherwise incorrect. The client is assumed to be in error."
)


def unauthorized(keystone_url: str) -> Answer:
    """The 401 of the token middleware in front of Nova and Placement."""
    body = dump({"error": {"code": 401, "title": "Unauthorized", "message": UNAUTHENTICATED}})
    return Answer(401, body, {"WWW-Authenticate": f'Keystone uri="{keystone_url}/"'})


class Keystone:
    """The identity service."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.routes = Routes(
            [
                ("GET", r"/?", self.versions),
                ("GET", r"/v3/?", self.version),
                ("POST", r"/v3/auth/tokens", self.issue),
                ("GET", r"/v3/auth/tokens", self.validate),
                ("HEAD", r"/v3/auth/tokens", self.validate),
                ("DELETE", r"/v3/auth/tokens", self.revoke),
                ("GET", r"/v3/auth/catalog", self.catalog),
                ("GET", r"/v3/projects", self.projects),
            ]
        )

    def serve(self, call: Call) -> Answer:
        """Answer one call."""
        self.world.advance()
        with self.world.lock:
            found = self.routes.find(call)
            if found is None:
                answer = Answer(404, NOT_FOUND_PAGE, content_type="text/html; charset=utf-8")
            else:
                try:
                    answer = found[0](call, found[1])
                except RefusedError as error:
                    answer = self._refusal(call, error)
        answer.headers.update({"Vary": "X-Auth-Token", "x-openstack-request-id": call.request_id})
        return answer

    def _refusal(self, call: Call, error: RefusedError) -> Answer:
        title = TITLES.get(error.status, "Error")
        body = compact({"error": {"code": error.status, "message": error.message, "title": title}}) + "\n"
        headers = {}
        if isinstance(error, UnauthorizedError):
            headers["WWW-Authenticate"] = f'Keystone uri="{call.base}/v3"'
        return Answer(error.status, body, headers)

    def versions(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET /."""
        body = dump({"versions": {"values": [self._version(call)]}})
        return Answer(300, body, {"Location": f"{call.base}/v3/"})

    def version(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET /v3."""
        return Answer(200, dump({"version": self._version(call)}))

    def _version(self, call: Call) -> dict[str, Any]:
        media = {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{call.base}/v3/"}],
            "media-types": [media],
        }

    def issue(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: POST /v3/auth/tokens with the method password or token."""
        try:
            auth = call.json()["auth"]
            identity = auth["identity"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadRequestError(NO_AUTH) from error
        scope = auth.get("scope", {})
        project = scope.get("project", {}) if isinstance(scope, dict) else {}
        wanted = project.get("id") or project.get("name")
        if "token" in identity.get("methods", []):
            old = self.world.identity.check(identity.get("token", {}).get("id"))
            user = old.user
            token = self.world.identity.issue(user.name, user.password, wanted or old.project.id)
        else:
            user_body = identity.get("password", {}).get("user", {})
            name = user_body.get("name") or user_body.get("id") or ""
            token = self.world.identity.issue(name, user_body.get("password", ""), wanted)
        return Answer(201, self._body(token), {"X-Subject-Token": token.secret})

    def validate(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET and HEAD /v3/auth/tokens."""
        self.world.identity.check(call.headers.get("x-auth-token"))
        token = self.world.identity.subject(call.headers.get("x-subject-token"))
        return Answer(200, self._body(token), {"X-Subject-Token": token.secret})

    def revoke(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: DELETE /v3/auth/tokens."""
        self.world.identity.check(call.headers.get("x-auth-token"))
        token = self.world.identity.subject(call.headers.get("x-subject-token"))
        self.world.identity.revoke(token.secret)
        return Answer(204, "", content_type=None)

    def catalog(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET /v3/auth/catalog."""
        token = self.world.identity.check(call.headers.get("x-auth-token"))
        links = {"next": None, "self": f"{call.base}/v3/auth/catalog", "previous": None}
        return Answer(
            200, dump({"catalog": self.world.identity.catalog_view(token.project.id), "links": links})
        )

    def projects(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET /v3/projects."""
        token = self.world.identity.check(call.headers.get("x-auth-token"))
        if not self.world.identity.may_read(token):
            raise NotFoundError("Could not find projects.")
        rows = [
            {
                "id": project.id,
                "name": project.name,
                "domain_id": "default",
                "description": project.description,
                "enabled": True,
                "parent_id": "default",
                "is_domain": False,
                "tags": [],
                "options": {},
                "links": {"self": f"{call.base}/v3/projects/{project.id}"},
            }
            for project in self.world.identity.projects.values()
        ]
        links = {"next": None, "self": f"{call.base}/v3/projects", "previous": None}
        return Answer(200, dump({"projects": rows, "links": links}))

    def _body(self, token: Token) -> str:
        domain = {"id": "default", "name": "Default"}
        seed = self.world.seed
        return dump(
            {
                "token": {
                    "methods": ["password"],
                    "user": {
                        "domain": domain,
                        "id": token.user.id,
                        "name": token.user.name,
                        "password_expires_at": None,
                    },
                    "audit_ids": [token.audit_id],
                    "expires_at": token.expires_at.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
                    "issued_at": token.issued_at.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
                    "project": {"domain": domain, "id": token.project.id, "name": token.project.name},
                    "is_domain": False,
                    "roles": [{"id": stable_hex(seed, "role", role), "name": role} for role in token.roles],
                    "catalog": self.world.identity.catalog_view(token.project.id),
                }
            }
        )
