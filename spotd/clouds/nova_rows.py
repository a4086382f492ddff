"""Rows of Nova's lists, read whole or refused: what is missing is never filled in."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from spotd.clouds.errors import CloudError, Failure, malformed
from spotd.clouds.shape import is_name, name_of, object_of, optional_text, text_of, whole_number
from spotd.fleet.values import Aggregate, ComputeService, Flavor, Server

_HOST = "OS-EXT-SRV-ATTR:host"
_HOST_POLICY = "os_compute_api:os-extended-server-attributes"
_HYPERVISOR = "OS-EXT-SRV-ATTR:hypervisor_hostname"

FLAVORS_KEPT = 10_000
"""A cloud that makes a flavor for each server must not fill memory."""

_COUNT = re.compile(r"[0-9]{1,9}")
"""More digits count nothing that a server could hold."""
_STATUSES = ("enabled", "disabled")
_STATES = ("up", "down")


class ServerRows:
    """Reads servers; flavors are shared between servers that embed the same one."""

    def __init__(self) -> None:
        self._flavors: dict[tuple[Any, ...], Flavor] = {}

    def server(self, row: Mapping[str, Any]) -> Server:
        """A server as lists show it.

        Raises:
            CloudError: Something is missing; `FORBIDDEN` where the role may not see hosts.
        """
        what = "nova: server"
        if _HOST not in row:
            raise CloudError(
                Failure.FORBIDDEN,
                f"nova: servers come without {_HOST}: the role lacks {_HOST_POLICY}",
            )
        host, hypervisor = _optional_name(row, _HOST, what), _optional_name(row, _HYPERVISOR, what)
        return Server(
            id=name_of(row, "id", what),
            name=optional_text(row, "name", what) or "",
            host=host,
            # Both are the same text on most clouds: keep one copy.
            hypervisor_hostname=host if hypervisor == host else hypervisor,
            status=text_of(row, "status", what),
            task_state=optional_text(row, "OS-EXT-STS:task_state", what),
            project_id=text_of(row, "tenant_id", what),
            flavor=self._flavor(object_of(row, "flavor", what)),
            updated=text_of(row, "updated", what),
        )

    def _flavor(self, row: Mapping[str, Any]) -> Flavor:
        specs = row.get("extra_specs")
        if specs is not None and not isinstance(specs, dict):
            raise malformed("nova: a flavor's extra_specs is no object", specs)
        if any(not isinstance(value, str) for value in (specs or {}).values()):
            raise malformed("nova: a flavor's extra_specs hold something that is no text")
        name = optional_text(row, "original_name", "nova: a flavor") or ""
        key = (name, None if specs is None else tuple(sorted(specs.items())))
        if key not in self._flavors:
            if len(self._flavors) > FLAVORS_KEPT:
                self._flavors.clear()
            self._flavors[key] = _read_flavor(name, specs)
        return self._flavors[key]


def _optional_name(row: Mapping[str, Any], key: str, what: str) -> str | None:
    """The name under `key`; None where it is null, missing or empty."""
    return name_of(row, key, what) if row.get(key) not in (None, "") else None


def _read_flavor(name: str, specs: Mapping[str, str] | None) -> Flavor:
    """The flavor; of one with a count that cannot be read no extra spec counts as known."""
    wanted: dict[str, list[tuple[str, str]]] = {"resources": [], "aliases": []}
    for key, value in sorted((specs or {}).items()):
        if granular := re.fullmatch(r"resources[0-9A-Za-z_-]*:([A-Z0-9_]+)", key):
            wanted["resources"].append((granular[1], value))
        elif key == "pci_passthrough:alias":
            parts = (part.partition(":") for part in value.split(","))
            wanted["aliases"] += [(alias.strip(), count.strip()) for alias, _, count in parts]
    if specs is None or not all(_COUNT.fullmatch(count) for pairs in wanted.values() for _, count in pairs):
        return Flavor(name=name, extra_specs_known=False)
    resources, aliases = (tuple((what, int(count)) for what, count in pairs) for pairs in wanted.values())
    return Flavor(name=name, resources=resources, pci_aliases=aliases)


def aggregate_of(row: Mapping[str, Any]) -> Aggregate:
    """A host aggregate.

    Raises:
        CloudError: Something is missing or of another kind.
    """
    what = "nova: aggregate"
    hosts, metadata = row.get("hosts"), row.get("metadata")
    if not isinstance(hosts, list) or not all(map(is_name, hosts)):
        raise malformed(f"{what}: 'hosts' is no list of names", hosts)
    if len(set(hosts)) < len(hosts):
        raise malformed(f"{what}: 'hosts' names a host twice")
    if not isinstance(metadata, dict):
        raise malformed(f"{what}: 'metadata' is no object", metadata)
    return Aggregate(
        id=whole_number(row, "id", what),
        uuid=optional_text(row, "uuid", what),
        name=name_of(row, "name", what),
        hosts=tuple(hosts),
        metadata={str(key): str(value) for key, value in metadata.items()},
        availability_zone=optional_text(row, "availability_zone", what),
    )


def service_of(row: Mapping[str, Any]) -> ComputeService:
    """A compute service whose cell was heard.

    Raises:
        CloudError: Something is missing or of another kind.
    """
    what = "nova: compute service"
    forced_down = row.get("forced_down", False)
    if not isinstance(forced_down, bool):
        raise malformed(f"{what}: 'forced_down' is neither true nor false", forced_down)
    return ComputeService(
        id=name_of(row, "id", what),
        host=name_of(row, "host", what),
        status=_one_of(_STATUSES, row, "status", what),
        state=_one_of(_STATES, row, "state", what),
        disabled_reason=optional_text(row, "disabled_reason", what),
        forced_down=forced_down,
        zone=optional_text(row, "zone", what),
    )


def _one_of(choices: tuple[str, ...], row: Mapping[str, Any], key: str, what: str) -> str:
    value = text_of(row, key, what)
    if value not in choices:
        raise malformed(f"{what}: {key!r} is neither {' nor '.join(choices)}")
    return value


def next_marker(document: Mapping[str, Any], key: str) -> str | None:
    """The marker in the `next` link of a list; its host part may be a proxy's, so only the query is used.

    Raises:
        CloudError: There is a next page, and no marker to ask for it.
    """
    links = document.get(f"{key}_links") or []
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "next":
            try:
                marker = dict(parse_qsl(urlsplit(str(link.get("href"))).query)).get("marker")
            except ValueError:
                marker = None
            if marker is None:
                raise malformed("nova: the link to the next page has no marker")
            return marker
    return None
