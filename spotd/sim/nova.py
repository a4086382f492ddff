"""Answers like Nova: version negotiation, authorisation, error bodies, and the way to each resource."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from spotd.sim.errors import BadRequestError, ForbiddenError, RefusedError, UnauthorizedError
from spotd.sim.identity import Token
from spotd.sim.keystone import unauthorized
from spotd.sim.wire import Answer, Call, Routes, dump
from spotd.sim.world import World

ERROR_NAMES = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
}
ERROR_TYPE = "application/json; charset=UTF-8"
NOT_FOUND_PAGE = """<html>
 <head>
  <title>404 Not Found</title>
 </head>
 <body>
  <h1>404 Not Found</h1>
  The resource could not be found.<br /><br />



 </body>
</html>"""
MALFORMED = "Malformed request body"


@dataclass(slots=True)
class NovaCall:
    """A call whose token and microversion have been checked; `minor` is the x of 2.x."""

    call: Call
    minor: int
    token: Token
    world: World
    match: re.Match[str]

    @property
    def base(self) -> str:
        """The API's URL as links have it."""
        return f"{self.call.base}/v2.1"

    @property
    def is_admin(self) -> bool:
        """Whether the caller may read what is reserved to administrators."""
        return self.world.identity.may_read(self.token)

    def need(self, policy: str, *, write: bool = False) -> None:
        """Pass only callers that a policy allows.

        Raises:
            ForbiddenError: the roles do not suffice.
        """
        allowed = "admin" in self.token.roles if write else self.is_admin
        if not allowed:
            raise ForbiddenError(f"Policy doesn't allow os_compute_api:{policy} to be performed.")

    def body(self) -> dict[str, object]:
        """The JSON object in the body.

        Raises:
            BadRequestError: it is no JSON object.
        """
        try:
            value = self.call.json()
        except ValueError as error:
            raise BadRequestError(MALFORMED) from error
        if not isinstance(value, dict):
            raise BadRequestError(MALFORMED)
        return value


NovaHandler = Callable[[NovaCall], Answer]
NovaRow = tuple[str, str, NovaHandler]


class Nova:
    """The compute service; resources are rows of routes given by their own modules.

    Behind a web server that gives it a path of its own, `mount`, it answers at no other.
    """

    def __init__(self, world: World, rows: list[NovaRow], *, mount: str = "") -> None:
        self.world = world
        self.mount = mount.rstrip("/")
        self.keystone_url = ""
        self._handlers: dict[str, NovaHandler] = {}
        # The project's id in the path is what old catalogues have, and says nothing.
        start = r"/v2\.1(?:/[0-9a-f]{32})?"
        plain = [(method, f"{start}{path}", self._later(handler)) for method, path, handler in rows]
        self.routes = Routes(plain)

    def _later(self, handler: NovaHandler) -> Callable[[Call, re.Match[str]], Answer]:
        def run(call: Call, match: re.Match[str]) -> Answer:
            token = self.world.identity.check(call.headers.get("x-auth-token"))
            minor = int((call.microversion or "2.1").split(".")[1])
            return handler(NovaCall(call, minor, token, self.world, match))

        return run

    def serve(self, call: Call) -> Answer:
        """Answer one call."""
        self.world.advance()
        request_ids = {"x-openstack-request-id": call.request_id, "x-compute-request-id": call.request_id}
        if not call.path.startswith(self.mount):
            return Answer(404, NOT_FOUND_PAGE, content_type="text/html; charset=UTF-8")
        call.path, call.base = call.path.removeprefix(self.mount), call.base + self.mount
        if call.method == "GET" and call.path in ("", "/"):
            return Answer(200, self._versions(call))
        if not call.path.startswith("/v2"):
            return Answer(300, dump({"choices": json.loads(self._versions(call))["versions"]}))
        try:
            answer = self._serve(call)
        except UnauthorizedError:
            answer = unauthorized(self.keystone_url)
        answer.headers.update(request_ids)
        return answer

    def _serve(self, call: Call) -> Answer:
        if call.method == "GET" and call.path in ("/v2.1", "/v2.1/"):
            return self._with_version(Answer(200, self._version(call)), "2.1")
        with self.world.lock:
            self.world.identity.check(call.headers.get("x-auth-token"))
            found = self.routes.find(call)
            if found is None:
                return Answer(404, NOT_FOUND_PAGE, content_type="text/html; charset=UTF-8")
            asked = self._asked(call)
            if not re.fullmatch(r"2\.\d+|latest", asked):
                text = (
                    f"API Version String {asked} is of invalid format. Must be of format MajorNum.MinorNum."
                )
                return error_answer(BadRequestError(text))
            version = f"2.{self.world.nova_max}" if asked == "latest" else asked
            call.microversion = version
            if not 1 <= int(version.split(".")[1]) <= self.world.nova_max:
                return self._with_version(self._not_acceptable(version), version)
            try:
                answer = found[0](call, found[1])
            except UnauthorizedError:
                raise
            except RefusedError as error:
                answer = error_answer(error)
            return self._with_version(answer, version)

    def _asked(self, call: Call) -> str:
        for part in call.headers.get("openstack-api-version", "").split(","):
            service, _, version = part.strip().partition(" ")
            if service == "compute":
                return version.strip()
        return call.headers.get("x-openstack-nova-api-version", "2.1")

    def _not_acceptable(self, version: str) -> Answer:
        text = (
            f"Version {version} is not supported by the API. "
            f"Minimum is 2.1 and maximum is 2.{self.world.nova_max}."
        )
        body = dump({"computeFault": {"code": 406, "message": text}})
        return Answer(406, body, content_type=ERROR_TYPE)

    def _with_version(self, answer: Answer, version: str) -> Answer:
        answer.headers.update(
            {
                "OpenStack-API-Version": f"compute {version}",
                "X-OpenStack-Nova-API-Version": version,
                "Vary": "OpenStack-API-Version, X-OpenStack-Nova-API-Version",
            }
        )
        return answer

    def _versions(self, call: Call) -> str:
        old = {
            "id": "v2.0",
            "status": "DEPRECATED",
            "version": "",
            "min_version": "",
            "updated": "2025-07-04T12:00:00Z",
            "links": [{"rel": "self", "href": f"{call.base}/v2/"}],
        }
        new = {
            "id": "v2.1",
            "status": "CURRENT",
            "version": f"2.{self.world.nova_max}",
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": f"{call.base}/v2.1/"}],
        }
        return dump({"versions": [old, new]})

    def _version(self, call: Call) -> str:
        media = {
            "base": "application/json",
            "type": "application/vnd.openstack.compute+json;version=2.1",
        }
        about = {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}
        return dump(
            {
                "version": {
                    "id": "v2.1",
                    "status": "CURRENT",
                    "version": f"2.{self.world.nova_max}",
                    "min_version": "2.1",
                    "updated": "2013-07-23T11:33:21Z",
                    "links": [{"rel": "self", "href": f"{call.base}/v2.1/"}, about],
                    "media-types": [media],
                }
            }
        )


def error_answer(error: RefusedError) -> Answer:
    """Nova's body for an error."""
    name = ERROR_NAMES.get(error.status, "computeFault")
    body = dump({name: {"code": error.status, "message": error.message}})
    return Answer(error.status, body, content_type=ERROR_TYPE)


def invalid(field: str, value: object, why: str) -> BadRequestError:
    """The 400 of Nova's schema validation for one field."""
    return BadRequestError(f"Invalid input for field/attribute {field}. Value: {value}. {why}")


def unexpected(names: list[str]) -> str:
    """Jsonschema's words for keys that do not belong there."""
    listed = ", ".join(repr(name) for name in sorted(names))
    return (
        f"Additional properties are not allowed ({listed} {'was' if len(names) == 1 else 'were'} unexpected)"
    )
