"""NetBox: the device inventory over its REST API."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from urllib3.util import Retry

from spotd import __version__
from spotd.clouds.errors import CloudError, Failure, incomplete, malformed, without_secret
from spotd.clouds.limits import LIST_BYTES, Paging, document_of
from spotd.clouds.openstack_errors import short
from spotd.clouds.shape import object_of, optional_text, rows_of, text_of, whole_number
from spotd.clouds.tls_files import why_no_ca
from spotd.clouds.transport import (
    UNREADABLE,
    Observer,
    bounded_session,
    calling,
    origin_of,
    reads_as_json,
    unobserved,
    unreadable,
)
from spotd.fleet.values import Device
from spotd.settings.models import NetBoxSettings

PAGE = 1000
"""NetBox cuts a larger limit silently at MAX_PAGE_SIZE, 1000 by default; `next` is followed in any case."""

IDS_IN_A_QUERY = 100
"""Devices asked for by id in one request: a URL of about 1 kB, which every proxy lets pass."""

_FIELDS = "id,name,status,site,rack,tenant,role,tags,custom_fields,last_updated"
"""5,000 whole devices are 12 MB, these fields of them 8."""

_Params = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChanges:
    """Devices that changed and fit the query, and ids of those that are deleted or fit no more."""

    changed: tuple[Device, ...]
    gone: frozenset[int]


class NetBox:
    """The calls to NetBox that spotd makes."""

    def __init__(self, settings: NetBoxSettings, observer: Observer = unobserved) -> None:
        """Nothing is sent yet.

        Raises:
            CloudError: The CA bundle that is named is none.
        """
        if isinstance(settings.verify_tls, Path) and (why := why_no_ca(settings.verify_tls)) is not None:
            raise CloudError(Failure.CONFIGURATION, f"netbox.verify_tls: {settings.verify_tls} {why}")
        self._settings = settings
        self._base = settings.url.rstrip("/")
        retry = Retry(
            total=1,
            backoff_factor=0.3,
            status_forcelist=(502, 503, 504),
            allowed_methods=("GET",),
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        self._session = bounded_session(observer, connect_seconds=5.0, retry=retry)
        self._session.trust_env = True
        self._session.headers.update({"Accept": "application/json", "User-Agent": f"spotd/{__version__}"})

    def version(self) -> str:
        """NetBox's version. Source: GET /api/status/.

        Raises:
            CloudError: No usable answer came.
        """
        document, _ = self._get("/api/status/", (), "read status")
        if not isinstance(document, dict):
            raise malformed("netbox: status", document)
        return text_of(document, "netbox-version", "netbox: status")

    def tenant_groups(self) -> dict[int, str | None]:
        """The group's name of each tenant, by tenant id. Source: GET /api/tenancy/tenants/.

        Raises:
            CloudError: No usable answer came.
        """
        groups: dict[int, str | None] = {}
        for row in self._rows("/api/tenancy/tenants/", (("fields", "id,name,group"),), "list tenants"):
            groups[whole_number(row, "id", "netbox: tenant")] = _named(row, "group")
        return groups

    def devices(self, tenant_groups: Mapping[int, str | None]) -> tuple[tuple[Device, ...], datetime | None]:
        """All devices that fit the query, and NetBox's clock before the first page.

        Source: GET /api/dcim/devices/ by cursor, which devices that come and go meanwhile do not shift.

        Raises:
            CloudError: A page did not come whole.
        """
        params = (("fields", _FIELDS), ("start", "0"), *self._query())
        clock: list[datetime | None] = []
        rows = self._rows("/api/dcim/devices/", params, "walk devices", clock)
        devices = tuple(device for row in rows if (device := self._device(row, tenant_groups)) is not None)
        return devices, clock[0] if clock else None

    def device_changes(
        self, since: datetime, tenant_groups: Mapping[int, str | None]
    ) -> tuple[DeviceChanges, datetime | None]:
        """What changed at or after `since`, by NetBox's clock, and that clock now.

        Sources: GET /api/dcim/devices/?last_updated__gte for devices that changed; the change log
        GET /api/core/object-changes/ for those that were deleted or no longer fit the query, which
        never show in the first.

        Raises:
            CloudError: No usable answer came; `FORBIDDEN` where the token may not read the change log.
        """
        moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        clock: list[datetime | None] = []
        log = (
            ("time_after", moment),
            ("changed_object_type", "dcim.device"),
            ("fields", "id,action,changed_object_id"),
        )
        touched, deleted = set(), set()
        for row in self._rows("/api/core/object-changes/", log, "list deletions", clock):
            device_id = whole_number(row, "changed_object_id", "netbox: object change")
            touched.add(device_id)
            if object_of(row, "action", "netbox: object change").get("value") == "delete":
                deleted.add(device_id)
        params = (("fields", _FIELDS), ("last_updated__gte", moment), *self._query())
        rows = self._rows("/api/dcim/devices/", params, "list device changes")
        changed = tuple(device for row in rows if (device := self._device(row, tenant_groups)) is not None)
        gone = touched - {device.id for device in changed}
        # A change that does not move `last_updated` leaves a device in the query: ask before it is dropped.
        gone -= self._still_there(sorted(gone - deleted))
        return DeviceChanges(changed=changed, gone=frozenset(gone)), clock[0] if clock else None

    def close(self) -> None:
        """Closes all connections."""
        self._session.close()

    def _still_there(self, ids: Sequence[int]) -> set[int]:
        """Those of the devices that fit the query."""
        found: set[int] = set()
        for start in range(0, len(ids), IDS_IN_A_QUERY):
            wanted = [("id", str(one)) for one in ids[start : start + IDS_IN_A_QUERY]]
            rows = self._rows(
                "/api/dcim/devices/", (("fields", "id"), *wanted, *self._query()), "look for devices"
            )
            found |= {whole_number(row, "id", "netbox: device") for row in rows}
        return found

    def _query(self) -> tuple[tuple[str, str], ...]:
        pairs: list[tuple[str, str]] = []
        for key, value in self._settings.query.items():
            pairs += [(key, one) for one in ([value] if isinstance(value, str) else value)]
        return tuple(pairs)

    def _rows(
        self, path: str, params: _Params, operation: str, clock: list[datetime | None] | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """All rows of a list; of `next` only the query counts: behind a proxy its host may be another's."""
        page: _Params = (("limit", str(PAGE)), *params)
        paging = Paging(f"netbox: {operation}", page)
        told, count = 0, None
        while True:
            document, headers = self._get(path, page, operation)
            if clock is not None:
                clock.append(_date(headers))
            rows = rows_of(document, "results", f"netbox: {operation}")
            told, count = told + len(rows), document.get("count")
            yield from rows
            following = _page_of(document.get("next"), operation)
            paging.took(len(rows), following)
            if following is None:
                break
            page = following
        if isinstance(count, int) and told < count:
            raise incomplete(f"netbox: {operation}: {told} of {count} came")

    def _get(self, path: str, params: _Params, operation: str) -> tuple[Any, Mapping[str, str]]:
        try:
            with calling("netbox", operation, self._settings.request_timeout_seconds, LIST_BYTES):
                response = self._session.get(
                    self._base + path,
                    params=list(params),
                    headers={"Authorization": self._authorization()},
                    verify=str(self._settings.verify_tls)
                    if self._has_bundle()
                    else bool(self._settings.verify_tls),
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            raise _translated(error, operation) from None
        if response.status_code != requests.codes.ok:
            raise _error_of(response, operation, self._token())
        if not reads_as_json(response):
            kind = short(response.headers.get("Content-Type") or "no content type")
            raise malformed(f"netbox: {operation} answered {kind} instead of JSON: is a proxy in between?")
        try:
            return document_of(response.content), response.headers
        except ValueError as error:
            raise malformed(f"netbox: {operation} answered a document that is {error}") from None

    def _has_bundle(self) -> bool:
        return not isinstance(self._settings.verify_tls, bool)

    def _authorization(self) -> str:
        token = self._token()
        # Version 2 tokens carry their own key and want another scheme.
        return f"Bearer {token}" if token.startswith("nbt_") else f"Token {token}"

    def _token(self) -> str:
        return self._settings.token.get_secret_value() if self._settings.token else ""

    def _device(self, row: Mapping[str, Any], tenant_groups: Mapping[int, str | None]) -> Device | None:
        """None for a device without a name, which nothing can be joined to."""
        what = "netbox: device"
        name = optional_text(row, "name", what)
        if not name:
            return None
        status, tenant, fields = row.get("status"), row.get("tenant"), row.get("custom_fields")
        if not isinstance(status, dict):
            raise malformed(f"{what}: 'status' is no object", status)
        if not isinstance(fields, dict):
            raise malformed(f"{what}: 'custom_fields' is no object", fields)
        nvlink, count = fields.get(self._settings.nvlink_field), fields.get(self._settings.gpu_count_field)
        tags = row.get("tags")
        return Device(
            id=whole_number(row, "id", what),
            name=name,
            status=text_of(status, "value", what),
            role=_named(row, "role", "slug"),
            site=_named(row, "site"),
            rack=_named(row, "rack"),
            tenant=_named(row, "tenant"),
            tenant_group=tenant_groups.get(tenant.get("id", -1)) if isinstance(tenant, dict) else None,
            tags=tuple(str(tag.get("slug")) for tag in tags if isinstance(tag, dict))
            if isinstance(tags, list)
            else (),
            nvlink=nvlink if isinstance(nvlink, bool) else None,
            gpu_count=count if isinstance(count, int) and not isinstance(count, bool) else None,
        )


def _named(row: Mapping[str, Any], key: str, attribute: str = "name") -> str | None:
    nested = row.get(key)
    return str(nested[attribute]) if isinstance(nested, dict) and nested.get(attribute) is not None else None


def _page_of(following: Any, operation: str) -> _Params | None:
    """What the next page is asked for by; None where there is none.

    Raises:
        CloudError: The link to it cannot be read.
    """
    if following is None:
        return None
    try:
        return tuple(parse_qsl(urlsplit(str(following)).query, keep_blank_values=True))
    except ValueError:
        raise malformed(f"netbox: {operation}: the link to the next page is no address") from None


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        return parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None


def _translated(error: requests.RequestException, operation: str) -> CloudError:
    if isinstance(error, requests.Timeout):
        return CloudError(Failure.TIMEOUT, f"netbox: no whole answer to {operation} in time")
    if isinstance(error, requests.exceptions.SSLError):
        return CloudError(Failure.TLS, "netbox: TLS failed: check netbox.url and netbox.verify_tls")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return CloudError(Failure.CONFIGURATION, "netbox.url: is no usable URL")
    if isinstance(error, UNREADABLE):
        return malformed(f"netbox: {operation} {unreadable(error)}")
    return CloudError(Failure.CONNECTION, f"netbox: the connection failed or broke during {operation}")


def _error_of(response: requests.Response, operation: str, token: str) -> CloudError:
    status = response.status_code
    detail = short(without_secret(_detail(response), token))
    if requests.codes.multiple_choices <= status < requests.codes.bad_request:
        there = response.headers.get("Location")
        where = "" if there is None else f" to {origin_of(there, response.url)}"
        return CloudError(
            Failure.CONFIGURATION,
            f"netbox: {operation} is redirected{without_secret(where, token)}: correct netbox.url",
            status=status,
        )
    reason = {404: Failure.NOT_FOUND, 429: Failure.RATE_LIMITED, 401: Failure.UNAUTHORIZED}.get(status)
    if status == requests.codes.forbidden:
        # NetBox answers 403 to a bad token too; only a missing permission speaks of one.
        reason = Failure.FORBIDDEN if "permission" in detail else Failure.UNAUTHORIZED
    if reason is None:
        reason = Failure.SERVER_ERROR if status >= requests.codes.server_error else Failure.REFUSED
    after = response.headers.get("Retry-After", "")
    return CloudError(
        reason,
        f"netbox: {operation} answered {status}" + (f": {detail}" if detail else ""),
        status=status,
        retry_after_seconds=float(after) if after.isdecimal() else None,
    )


def _detail(response: requests.Response) -> str:
    if not reads_as_json(response):
        return ""
    try:
        document = document_of(response.content)
    except ValueError:
        return ""
    text = document.get("detail") if isinstance(document, dict) else None
    return text if isinstance(text, str) else response.content.decode()
