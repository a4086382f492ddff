"""Answers like NetBox's REST API, from 3.5 to 4.7: status, devices, tenants and the change log."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from spotd.sim.errors import ForbiddenError, RefusedError
from spotd.sim.inventory import Version
from spotd.sim.netbox_filters import FieldError, device_filter
from spotd.sim.netbox_views import change_view, device_fragment, device_view, tenant_view
from spotd.sim.wire import HTML, Answer, Call, Routes, compact
from spotd.sim.world import World

DEFAULT_LIMIT = 50
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Language": "en",
}
APPS = "circuits core dcim extras ipam plugins status tenancy users virtualization vpn wireless"
READ_ONLY = "GET, HEAD, OPTIONS"
READ_WRITE = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
FIELDS_CAME: Version = (4, 0)
CHANGE_LOG_MOVED: Version = (4, 1)
V2_TOKENS_CAME: Version = (4, 5)
CURSOR_CAME: Version = (4, 6)
"""With `omit`, in place of `exclude=config_context`."""
EXCLUDE_GONE: Version = (4, 7)
OLD_CHANGES, NEW_CHANGES = "/api/extras/object-changes/", "/api/core/object-changes/"
PAGE_NOT_FOUND = """<!DOCTYPE html>
<html
  lang="en"
  data-netbox-url-name=""
  data-netbox-version="{version}"
  >
  <head>
    <meta charset="UTF-8" />
    <title>Page Not Found | NetBox</title>
  </head>
  <body>
    <h1>Page Not Found</h1>
    The requested page does not exist.
  </body>
</html>
"""
STATUS = {
    "django-version": "6.1.2",
    "hostname": "embedded",
    "installed_apps": {"django_filters": "26.2", "rest_framework": "3.18.0", "taggit": "6.1.0"},
    "plugins": {},
    "python-version": "3.12.1",
    "rq-workers-running": 0,
}


class NetBox:
    """The inventory service."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.routes = Routes(
            [
                ("GET", r"/api/", self.root),
                ("GET", r"/api/status/", self.status),
                ("GET", r"/api/dcim/devices/", self.devices),
                ("GET", r"/api/dcim/devices/(?P<id>\d+)/", self.device),
                ("GET", r"/api/tenancy/tenants/", self.tenants),
                ("GET", NEW_CHANGES, self.changes),
                ("GET", OLD_CHANGES, self.changes),
            ]
        )

    def serve(self, call: Call) -> Answer:
        """Answer one call."""
        self.world.advance()
        if not call.path.endswith("/"):
            query = f"?{call.query_text}" if call.query_text else ""
            return Answer(301, "", {"Location": f"{call.path}/{query}"}, HTML)
        allow = READ_WRITE if call.path.startswith(("/api/dcim/", "/api/tenancy/")) else READ_ONLY
        with self.world.lock:
            answer = self._answer(call, allow)
        answer.headers.update(SECURITY_HEADERS)
        answer.headers.update(
            {
                "Vary": "HX-Request, Accept-Language, Cookie, origin",
                "X-Request-ID": call.request_id.removeprefix("req-"),
            }
        )
        if self.world.netbox.names_version:
            answer.headers["API-Version"] = self._release
        return answer

    def _answer(self, call: Call, allow: str) -> Answer:
        elsewhere = OLD_CHANGES if self._is(CHANGE_LOG_MOVED) else NEW_CHANGES
        if call.path == elsewhere or not self.routes.allowed(call):
            return Answer(404, PAGE_NOT_FOUND.replace("{version}", self._release), {}, HTML)
        headers = {"Allow": allow}
        try:
            self._authorise(call)
            found = self.routes.find(call)
            if found is None:
                detail = f'Method "{call.method}" not allowed.'
                return Answer(405, compact({"detail": detail}), headers)
            answer = found[0](call, found[1])
        except FieldError as error:
            answer = Answer(400, compact(error.body))
        except RefusedError as error:
            answer = Answer(error.status, compact({"detail": error.message}))
        answer.headers.update(headers)
        return answer

    @property
    def _release(self) -> str:
        return ".".join(str(number) for number in self.world.netbox.version)

    def _is(self, since: Version) -> bool:
        return self.world.netbox.version >= since

    def _authorise(self, call: Call) -> None:
        header = call.headers.get("authorization", "")
        keyword, _, token = header.partition(" ")
        if keyword not in (("Token", "Bearer") if self._is(V2_TOKENS_CAME) else ("Token",)) or not token:
            raise ForbiddenError("Authentication credentials were not provided.")
        netbox = self.world.netbox
        if token in netbox.powerless:
            if call.path != "/api/status/":
                raise ForbiddenError("You do not have permission to perform this action.")
        elif token not in netbox.tokens:
            version = "v2 " if token.startswith("nbt_") else "v1 "
            raise ForbiddenError(f"Invalid {version if self._is(V2_TOKENS_CAME) else ''}token")

    def root(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET /api/."""
        names = APPS.split()
        return Answer(200, compact({name: f"{call.base}/api/{name}/" for name in names}))

    def status(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET /api/status/."""
        del call
        version = f"{self._release}.3"
        return Answer(200, compact({**STATUS, "netbox-version": version, "netbox-full-version": version}))

    def device(self, call: Call, match: re.Match[str]) -> Answer:
        """Source: GET /api/dcim/devices/{id}/."""
        device = self.world.netbox.devices.get(int(match["id"]))
        if device is None:
            return Answer(404, compact({"detail": "No Device matches the given query."}))
        return Answer(200, compact(device_view(self.world, call.base, device)))

    def devices(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET /api/dcim/devices/ with filters, pages, cursors and chosen fields."""
        wants = device_filter(self.world.netbox, call)
        netbox = self.world.netbox
        cursor = self._cursor(call)
        by_id = cursor is not None or call.one("ordering") == "id"
        order = sorted(netbox.devices) if by_id else netbox.by_name()
        found = [netbox.devices[number] for number in order if wants(netbox.devices[number])]
        fields, omitted, brief = self._fields(call), self._omitted(call), call.one("brief") in ("1", "true")
        if brief and omitted is None and fields is None:
            fields = ("id", "url", "display", "name", "description")
        key = (fields, omitted, call.base)
        return self._page(
            call,
            found,
            lambda one: device_fragment(self.world, call.base, one, key),
            lambda one: one.id,
            cursor,
        )

    def tenants(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET /api/tenancy/tenants/."""
        found = sorted(self.world.netbox.tenants.values(), key=lambda one: one.name)
        cursor = self._cursor(call)
        if cursor is not None or call.one("ordering") == "id":
            found.sort(key=lambda one: one.id)
        if (least := call.one("id__gte")) is not None:
            found = [one for one in found if one.id >= int(least)]
        fields = self._fields(call)

        def show(one: Any) -> str:
            row = tenant_view(self.world, call.base, one)
            return compact({k: v for k, v in row.items() if fields is None or k in fields})

        return self._page(call, found, show, lambda one: one.id, cursor)

    def changes(self, call: Call, _: re.Match[str]) -> Answer:
        """Source: GET /api/core/object-changes/ (/api/extras/ before 4.1), newest first."""
        after, kind, action = call.one("time_after"), call.one("changed_object_type"), call.one("action")
        if action not in (None, "create", "update", "delete"):
            raise FieldError(
                {"action": [f"Select a valid choice. {action} is not one of the available choices."]}
            )
        since = datetime.min.replace(tzinfo=UTC)
        if after is not None:
            try:
                since = datetime.fromisoformat(after)
            except ValueError as error:
                raise FieldError({"time": ["Enter a valid date/time."]}) from error
            since = since.replace(tzinfo=UTC) if since.tzinfo is None else since
        found = [
            one
            for one in reversed(self.world.netbox.changes)
            if one.time >= since and kind in (None, "dcim.device") and action in (None, one.action)
        ]
        return self._page(
            call,
            found,
            lambda one: compact(change_view(call.base, one)),
            lambda one: one.id,
            self._cursor(call),
        )

    def _fields(self, call: Call) -> tuple[str, ...] | None:
        return _chosen(call, "fields") if self._is(FIELDS_CAME) else None

    def _omitted(self, call: Call) -> tuple[str, ...] | None:
        omitted = _chosen(call, "omit") if self._is(CURSOR_CAME) else None
        if call.one("exclude") == "config_context" and not self._is(EXCLUDE_GONE):
            return ("config_context", *(omitted or ()))
        return omitted

    def _cursor(self, call: Call) -> int | None:
        return _cursor(call) if self._is(CURSOR_CAME) else None

    def _page(
        self,
        call: Call,
        found: Sequence[Any],
        show: Callable[[Any], str],
        identity: Callable[[Any], int],
        cursor: int | None,
    ) -> Answer:
        limit = _limit(call, self.world.max_limit)
        if cursor is not None:
            later = [one for one in found if identity(one) >= cursor]
            shown = later[:limit]
            link = None
            if len(later) > limit:
                link = _link(call, {"limit": limit, "start": identity(shown[-1]) + 1})
            return _body("null", link, None, [show(one) for one in shown])
        offset = _natural(call.one("offset")) or 0
        shown = list(found[offset : offset + limit])
        after = (
            _link(call, {"limit": limit, "offset": offset + limit}) if offset + limit < len(found) else None
        )
        before = None
        if offset > 0:
            before = _link(call, {"limit": limit, "offset": offset - limit if offset > limit else None})
        return _body(str(len(found)), after, before, [show(one) for one in shown])


def _body(count: str, after: str | None, before: str | None, rows: list[str]) -> Answer:
    links = f'"next":{compact(after)},"previous":{compact(before)}'
    return Answer(200, f'{{"count":{count},{links},"results":[{",".join(rows)}]}}')


def _link(call: Call, changes: dict[str, int | None]) -> str:
    pairs = [(key, value) for key, value in call.query if key not in changes]
    pairs += [(key, str(value)) for key, value in changes.items() if value is not None]
    pairs.sort(key=lambda pair: pair[0])
    return f"{call.host_url}{call.path}?{urlencode(pairs)}"


def _natural(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _limit(call: Call, most: int) -> int:
    asked = _natural(call.one("limit"))
    if asked is None:
        return DEFAULT_LIMIT
    return most if asked == 0 else min(asked, most)


def _cursor(call: Call) -> int | None:
    text = call.one("start")
    if text is None:
        return None
    if call.one("offset") is not None:
        raise FieldError(["'start' and 'offset' are mutually exclusive."])
    if call.one("ordering") is not None:
        raise FieldError(["Ordering cannot be specified in conjunction with cursor-based pagination."])
    start = _natural(text)
    if start is None:
        raise FieldError(["Invalid 'start' parameter: must be a non-negative integer."])
    return start


def _chosen(call: Call, name: str) -> tuple[str, ...] | None:
    text = call.one(name)
    return None if text is None else tuple(text.split(","))
