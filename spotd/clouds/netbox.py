"""NetBox: the device inventory over its REST API."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests
from urllib3.util import Retry

from spotd import __version__
from spotd.clouds.errors import CloudError, Failure, incomplete, malformed, without_secret
from spotd.clouds.limits import LIST_BYTES, Paging, document_of
from spotd.clouds.netbox_pages import BY_ID, Params, from_last_id, is_by_id, next_page
from spotd.clouds.netbox_rows import device_of, group_of
from spotd.clouds.oldest import NETBOX, Version, version_of, written
from spotd.clouds.openstack_errors import short
from spotd.clouds.shape import object_of, rows_of, text_of, whole_number
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

_FIELDS = (
    ("fields", "id,name,status,site,rack,tenant,role,tags,custom_fields,last_updated"),
    ("exclude", "config_context"),
)
"""5,000 whole devices are 12 MB, these fields of them 8. Before 4.0 NetBox ignores `fields`, and then the
context, which it computes for each device, can at least be left out."""

VERSION_LIMIT = 40
"""Characters of NetBox's own version that are passed on."""

_CHANGE_LOG_MOVED = (4, 1)
_V2_TOKENS_CAME = (4, 5)
_DEVICE = "dcim.device"


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
        self._session.hooks["response"].append(self._hear_release)
        self._release: Version | None = None

    def version(self) -> str:
        """NetBox's version. Source: GET /api/status/.

        Raises:
            CloudError: No usable answer came.
        """
        document, _ = self._get("/api/status/", (), "read status")
        if not isinstance(document, dict):
            raise malformed("netbox: status", document)
        told = text_of(document, "netbox-version", "netbox: status")
        release = version_of(told)
        self._take_release(release)
        if len(told) <= VERSION_LIMIT and told.isprintable():
            return told
        return written(release) if release else "unknown"

    def tenant_groups(self) -> dict[int, str | None]:
        """The group's name of each tenant, by tenant id. Source: GET /api/tenancy/tenants/.

        Raises:
            CloudError: No usable answer came.
        """
        groups: dict[int, str | None] = {}
        params = (("fields", "id,name,group"), *BY_ID)
        for row in self._rows("/api/tenancy/tenants/", params, "list tenants"):
            number = whole_number(row, "id", "netbox: tenant")
            what = f"netbox: tenant {number}"
            if number in groups:
                raise malformed(f"{what} comes twice in one answer")
            groups[number] = group_of(row, what)
        return groups

    def devices(self, tenant_groups: Mapping[int, str | None]) -> tuple[tuple[Device, ...], datetime | None]:
        """All devices that fit the query, and NetBox's clock before the first page.

        Source: GET /api/dcim/devices/ by id, which devices that come and go meanwhile do not shift.

        Raises:
            CloudError: A page did not come whole; `MICROVERSION` where NetBox is too old.
        """
        self._known_release()
        params = (*_FIELDS, *BY_ID, *self._query())
        clock: list[datetime | None] = []
        rows = self._rows("/api/dcim/devices/", params, "walk devices", clock)
        return self._devices_of(rows, tenant_groups), clock[0] if clock else None

    def device_changes(
        self, since: datetime, tenant_groups: Mapping[int, str | None]
    ) -> tuple[DeviceChanges, datetime | None]:
        """What changed at or after `since`, by NetBox's clock, and that clock now.

        Sources: GET /api/dcim/devices/?last_updated__gte for devices that changed; the change log
        GET /api/core/object-changes/ (/api/extras/ before 4.1) for those that were deleted or no longer
        fit the query, which never show in the first.

        Raises:
            CloudError: No usable answer came; `FORBIDDEN` where the token may not read the change log.
        """
        moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        clock: list[datetime | None] = []
        log = (
            ("time_after", moment),
            ("changed_object_type", _DEVICE),
            ("fields", "id,action,changed_object_type,changed_object_id"),
        )
        touched, deleted = set(), set()
        for row in self._rows(self._change_log(), log, "list deletions", clock):
            # Where something in between drops the filter, ids of cables and racks come too.
            if text_of(row, "changed_object_type", "netbox: object change") != _DEVICE:
                continue
            device_id = whole_number(row, "changed_object_id", "netbox: object change")
            touched.add(device_id)
            action = object_of(row, "action", "netbox: object change")
            if text_of(action, "value", "netbox: object change") == "delete":
                deleted.add(device_id)
        params = (*_FIELDS, *BY_ID, ("last_updated__gte", moment), *self._query())
        rows = self._rows("/api/dcim/devices/", params, "list device changes")
        changed = self._devices_of(rows, tenant_groups)
        gone = touched - {device.id for device in changed}
        # A change that does not move `last_updated` leaves a device in the query: ask before it is dropped.
        gone -= self._still_there(sorted(gone - deleted))
        return DeviceChanges(changed=changed, gone=frozenset(gone)), clock[0] if clock else None

    def count_devices(self, query: Params) -> int:
        """How many devices fit a query. Source: GET /api/dcim/devices/?limit=1.

        Raises:
            CloudError: No usable answer came; `REFUSED` where NetBox knows a filter and not its value.
        """
        params = (("limit", "1"), ("fields", "id"), *query)
        document, _ = self._get("/api/dcim/devices/", params, "count devices")
        rows_of(document, "results", "netbox: count devices")
        return whole_number(document, "count", "netbox: count devices")

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The configured filters, a pair for each value."""
        return self._query()

    @property
    def custom_fields(self) -> tuple[tuple[str, str, str], ...]:
        """Of each custom field that is read: the device's attribute, the setting, and the field's name."""
        return (
            ("gpu_count", "gpu_count_field", self._settings.gpu_count_field),
            ("nvlink", "nvlink_field", self._settings.nvlink_field),
        )

    def is_configured(self, setting: str) -> bool:
        """Whether an operator wrote the setting down, so that it is no default."""
        return setting in self._settings.model_fields_set

    def close(self) -> None:
        """Closes all connections."""
        self._session.close()

    def _devices_of(
        self, rows: Iterator[Mapping[str, Any]], tenant_groups: Mapping[int, str | None]
    ) -> tuple[Device, ...]:
        found: list[Device] = []
        seen: set[int] = set()
        for row in rows:
            number = whole_number(row, "id", "netbox: device")
            if number in seen:
                raise malformed(f"netbox: device {number} comes twice in one answer")
            seen.add(number)
            device = device_of(row, self._settings, tenant_groups)
            if device is not None:
                found.append(device)
        return tuple(found)

    def _change_log(self) -> str:
        is_moved = (self._known_release() or _CHANGE_LOG_MOVED) >= _CHANGE_LOG_MOVED
        return f"/api/{'core' if is_moved else 'extras'}/object-changes/"

    def _known_release(self) -> Version | None:
        """The release that NetBox's last answer named; asked for where a proxy drops the header."""
        if self._release is None:
            self.version()
        return self._release

    def _hear_release(self, response: requests.Response, **_: Any) -> None:
        release = version_of(response.headers.get("API-Version", ""))
        if release is not None:
            self._take_release(release)
        elif response.status_code == requests.codes.not_found:
            # What was where it was asked for has moved: NetBox may be another by now.
            self._release = None

    def _take_release(self, release: Version | None) -> None:
        self._release = None
        if release is None:
            return
        if release < NETBOX.version:
            raise CloudError(Failure.MICROVERSION, f"netbox: {NETBOX.refusal(written(release))}")
        if release < _V2_TOKENS_CAME and self._is_v2_token():
            raise CloudError(
                Failure.UNAUTHORIZED,
                f"netbox: this is {written(release)}, and tokens of version 2 (nbt_…) came with"
                f" {written(_V2_TOKENS_CAME)}",
            )
        self._release = release

    def _still_there(self, ids: Sequence[int]) -> set[int]:
        """Those of the devices that fit the query."""
        found: set[int] = set()
        for start in range(0, len(ids), IDS_IN_A_QUERY):
            wanted = [("id", str(one)) for one in ids[start : start + IDS_IN_A_QUERY]]
            rows = self._rows(
                "/api/dcim/devices/", (("fields", "id"), *BY_ID, *wanted, *self._query()), "look for devices"
            )
            found |= {whole_number(row, "id", "netbox: device") for row in rows}
        return found

    def _query(self) -> tuple[tuple[str, str], ...]:
        pairs: list[tuple[str, str]] = []
        for key, value in self._settings.query.items():
            pairs += [(key, one) for one in ([value] if isinstance(value, str) else value)]
        return tuple(pairs)

    def _rows(
        self, path: str, params: Params, operation: str, clock: list[datetime | None] | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """All rows of a list; of `next` only the query counts: behind a proxy its host may be another's."""
        page: Params = (("limit", str(PAGE)), *params)
        told, what = 0, f"netbox: {operation}"
        paging = Paging(what, page)
        while True:
            document, headers = self._get(path, page, operation)
            if clock is not None:
                clock.append(_date(headers))
            rows = rows_of(document, "results", what)
            # By id, the count is of what is left from this page on.
            told = len(rows) if is_by_id(page) else told + len(rows)
            count = None if document.get("count") is None else whole_number(document, "count", what)
            yield from rows
            following = next_page(document, path, what)
            if following is not None:
                following = from_last_id(following, rows)
            paging.took(len(rows), following)
            if following is None:
                break
            page = following
        if count is not None and told < count:
            raise incomplete(f"{what}: {told} of {count} came")

    def _get(self, path: str, params: Params, operation: str) -> tuple[Any, Mapping[str, str]]:
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
        # Version 2 tokens carry their own key and want another scheme.
        return f"{'Bearer' if self._is_v2_token() else 'Token'} {self._token()}"

    def _is_v2_token(self) -> bool:
        return self._token().startswith("nbt_")

    def _token(self) -> str:
        return self._settings.token.get_secret_value() if self._settings.token else ""


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        moment = parsedate_to_datetime(headers.get("Date", ""))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # overflows at the ends of what Python can hold
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
