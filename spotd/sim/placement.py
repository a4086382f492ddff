"""Answers like Placement: providers, their parts, traits, classes, usages and allocations."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from spotd.sim.errors import BadRequestError, ForbiddenError, NotFoundError, RefusedError, UnauthorizedError
from spotd.sim.identity import Token
from spotd.sim.keystone import unauthorized
from spotd.sim.ledger import DISABLED_TRAIT
from spotd.sim.wire import JSON, Answer, Call, dump
from spotd.sim.world import World

NOT_FOUND = "The resource could not be found.\n\n {text}  "
TITLES = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    500: "Internal Server Error",
}
LEADS = {
    400: "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    403: "Access was denied to this resource.",
    404: "The resource could not be found.",
    405: "The method {method} is not allowed for this resource. ",
    406: "The resource could not be generated that was acceptable to your browser (content of type "
    "application/json. ",
    409: "There was a conflict when trying to complete your request.",
    500: "The server has either erred or is incapable of performing the requested operation.",
}
WITH_CODE = 23
"""Errors carry a code since 1.23."""
CACHE_HEADERS = 15
"""Answers say when they changed since 1.15."""
STANDARD_CLASSES = (
    "VCPU",
    "MEMORY_MB",
    "DISK_GB",
    "PCI_DEVICE",
    "SRIOV_NET_VF",
    "NUMA_SOCKET",
    "NUMA_CORE",
    "NUMA_THREAD",
    "NUMA_MEMORY_MB",
    "IPV4_ADDRESS",
    "VGPU",
    "VGPU_DISPLAY_HEAD",
    "NET_BW_EGR_KILOBIT_PER_SEC",
    "NET_BW_IGR_KILOBIT_PER_SEC",
    "PCPU",
    "MEM_ENCRYPTION_CONTEXT",
    "FPGA",
    "PGPU",
)
KNOWN_TRAITS = (
    DISABLED_TRAIT,
    "COMPUTE_MANAGED_PCI_DEVICE",
    "HW_PCI_ONE_TIME_USE",
    "MISC_SHARES_VIA_AGGREGATE",
)


@dataclass(slots=True)
class PlacementCall:
    """A call whose token and microversion have been checked; `minor` is the x of 1.x."""

    call: Call
    minor: int
    token: Token
    world: World
    match: re.Match[str]

    def need(self, policy: str, *, write: bool = False) -> None:
        """Pass only callers that a policy allows.

        Raises:
            ForbiddenError: the roles do not suffice.
        """
        allowed = "admin" in self.token.roles if write else self.world.identity.may_read(self.token)
        if not allowed:
            raise ForbiddenError(f"Policy does not allow placement:{policy} to be performed.")


PlacementHandler = Callable[[PlacementCall], Answer]


@dataclass(frozen=True, slots=True)
class Row:
    """A route that exists from the microversion 1.`since` on."""

    method: str
    path: str
    handler: PlacementHandler
    since: int = 0


class Placement:
    """The placement service; resources are rows given by their own modules."""

    def __init__(self, world: World, rows: list[Row]) -> None:
        self.world = world
        self.keystone_url = ""
        self._rows = [(row, re.compile(row.path)) for row in rows]

    def serve(self, call: Call) -> Answer:
        """Answer one call."""
        self.world.advance()
        if call.path == "/" and call.method == "GET" and "x-auth-token" not in call.headers:
            return self._headed(call, Answer(200, self._root()), 0)
        try:
            with self.world.lock:
                return self._serve(call)
        except UnauthorizedError:
            answer = unauthorized(self.keystone_url)
            answer.headers["x-openstack-request-id"] = call.request_id
            return answer

    def _serve(self, call: Call) -> Answer:
        token = self.world.identity.check(call.headers.get("x-auth-token"))
        text = self._asked(call)
        version = re.fullmatch(r"1\.(\d+)", text)
        if version is None:
            why = f"Invalid microversion: invalid version string: {text}"
            return self._bad_version(call, 400, why, {})
        minor = int(version[1])
        if minor > self.world.placement_max:
            limits = {"max_version": f"1.{self.world.placement_max}", "min_version": "1.0"}
            why = f"Invalid microversion: Unacceptable version header: {text}"
            return self._bad_version(call, 406, why, limits)
        call.microversion = text
        if call.path == "/":
            return self._headed(call, fresh(self.world, self._root()), minor)
        try:
            answer = self._route(PlacementCall(call, minor, token, self.world, version))
        except UnauthorizedError:
            raise
        except RefusedError as error:
            answer = refusal(call, minor, error)
        return self._headed(call, answer, minor)

    def _route(self, placed: PlacementCall) -> Answer:
        call, methods = placed.call, []
        for row, pattern in self._rows:
            match = pattern.fullmatch(call.path)
            if match is None or placed.minor < row.since:
                continue
            if row.method == call.method:
                placed.match = match
                return row.handler(placed)
            methods.append(row.method)
        if not methods:
            raise NotFoundError("")
        answer = refusal(
            call, placed.minor, _MethodError("The method specified is not allowed for this resource.")
        )
        answer.headers["allow"] = ", ".join(methods)
        return answer

    def _asked(self, call: Call) -> str:
        for part in call.headers.get("openstack-api-version", "").split(","):
            service, _, version = part.strip().partition(" ")
            if service == "placement":
                asked = version.strip()
                return f"1.{self.world.placement_max}" if asked == "latest" else asked
        return "1.0"

    def _root(self) -> str:
        version = {
            "id": "v1.0",
            "max_version": f"1.{self.world.placement_max}",
            "min_version": "1.0",
            "status": "CURRENT",
            "links": [{"rel": "self", "href": ""}],
        }
        return dump({"versions": [version]})

    def _bad_version(self, call: Call, status: int, why: str, more: dict[str, str]) -> Answer:
        error = {
            "status": status,
            "title": TITLES[status],
            "detail": f"{LEADS[status]}\n\n {why}" + ("  " if status == 400 else ""),  # noqa: PLR2004
            "request_id": call.request_id,
            **more,
        }
        return Answer(status, dump({"errors": [error]}), {"x-openstack-request-id": call.request_id})

    def _headed(self, call: Call, answer: Answer, minor: int) -> Answer:
        if minor < CACHE_HEADERS:
            for name in ("Last-Modified", "Cache-Control"):
                answer.headers.pop(name, None)
        answer.headers.update(
            {
                "openstack-api-version": f"placement 1.{minor}",
                "vary": "openstack-api-version",
                "x-openstack-request-id": call.request_id,
            }
        )
        return answer


class _MethodError(RefusedError):
    status = 405


def fresh(world: World, body: str, when: datetime | None = None) -> Answer:
    """A 200 with the headers that say when it last changed."""
    stamp = format_datetime(when or world.now(), usegmt=True)
    return Answer(200, body, {"Last-Modified": stamp, "Cache-Control": "no-cache"})


def refusal(call: Call, minor: int, error: RefusedError) -> Answer:
    """Placement's body for an error."""
    lead = LEADS.get(error.status, TITLES[500]).format(method=call.method)
    row: dict[str, Any] = {
        "status": error.status,
        "title": TITLES.get(error.status, "Error"),
        "detail": f"{lead}\n\n {error.message}  ",
    }
    if error.status == 405:  # noqa: PLR2004 - its detail ends without blanks
        row["detail"] = row["detail"].rstrip()
    if minor >= WITH_CODE:
        known = {"generation already changed": "placement.concurrent_update"}
        known["at least one resources"] = "placement.query.missing_value"
        code = next((code for words, code in known.items() if words in error.message), None)
        row["code"] = code or "placement.undefined_code"
    row["request_id"] = call.request_id
    return Answer(error.status, dump({"errors": [row]}), content_type=JSON)


def parse_resources(world: World, text: str) -> dict[str, int]:
    """`VCPU:2,MEMORY_MB:1024` as amounts by class.

    Raises:
        BadRequestError: badly formed, or an unknown class.
    """
    wanted: dict[str, int] = {}
    for part in text.split(","):
        name, colon, amount = part.partition(":")
        if not colon:
            raise BadRequestError(
                "Badly formed resources parameter. Expected resources query string parameter in form: "
                f"?resources=VCPU:2,MEMORY_MB:1024. Got: {text}."
            )
        if not amount.isdigit() or int(amount) < 1:
            raise BadRequestError(
                f"Requested resource {name} expected positive integer amount. Got: {amount}."
            )
        if name not in known_classes(world):
            raise BadRequestError(
                f"Invalid resource class in resources parameter: No such resource class {name}."
            )
        wanted[name] = int(amount)
    return wanted


def known_classes(world: World) -> list[str]:
    """Standard resource classes, then those that a host brought."""
    return [*STANDARD_CLASSES, *sorted(world.ledger.classes - set(STANDARD_CLASSES))]


def known_traits(world: World) -> set[str]:
    """Every trait that exists."""
    return world.ledger.custom_traits | set(KNOWN_TRAITS)
