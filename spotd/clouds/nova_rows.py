"""Rows of Nova's lists, read whole or refused: what is missing is never filled in."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from spotd.clouds.errors import CloudError, Failure, malformed
from spotd.clouds.shape import object_of, optional_text, text_of, whole_number
from spotd.fleet.values import Aggregate, ComputeService, Flavor, Server

_HOST = "OS-EXT-SRV-ATTR:host"
_HOST_POLICY = "os_compute_api:os-extended-server-attributes"
_HYPERVISOR = "OS-EXT-SRV-ATTR:hypervisor_hostname"

FLAVORS_KEPT = 10_000
"""A cloud that makes a flavor for each server must not fill memory."""


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
        host, hypervisor = optional_text(row, _HOST, what), optional_text(row, _HYPERVISOR, what)
        return Server(
            id=text_of(row, "id", what),
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
        name = str(row.get("original_name") or "")
        key = (name, None if specs is None else tuple(sorted(specs.items())))
        if key not in self._flavors:
            if len(self._flavors) > FLAVORS_KEPT:
                self._flavors.clear()
            self._flavors[key] = _read_flavor(name, specs)
        return self._flavors[key]


def _read_flavor(name: str, specs: Mapping[str, str] | None) -> Flavor:
    resources: list[tuple[str, int]] = []
    aliases: list[tuple[str, int]] = []
    for key, value in sorted((specs or {}).items()):
        granular = re.fullmatch(r"resources[0-9A-Za-z_-]*:([A-Z0-9_]+)", key)
        if granular and str(value).isdecimal():
            resources.append((granular[1], int(value)))
        elif key == "pci_passthrough:alias":
            aliases += [
                (alias.strip(), int(count))
                for alias, _, count in (part.partition(":") for part in str(value).split(","))
                if count.strip().isdecimal()
            ]
    return Flavor(
        name=name, resources=tuple(resources), pci_aliases=tuple(aliases), extra_specs_known=specs is not None
    )


def aggregate_of(row: Mapping[str, Any]) -> Aggregate:
    """A host aggregate.

    Raises:
        CloudError: Something is missing or of another kind.
    """
    what = "nova: aggregate"
    hosts, metadata = row.get("hosts"), row.get("metadata")
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise malformed(f"{what}: 'hosts' is no list of names", hosts)
    if not isinstance(metadata, dict):
        raise malformed(f"{what}: 'metadata' is no object", metadata)
    return Aggregate(
        id=whole_number(row, "id", what),
        uuid=optional_text(row, "uuid", what),
        name=text_of(row, "name", what),
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
    return ComputeService(
        id=str(row.get("id")),
        host=text_of(row, "host", what),
        status=text_of(row, "status", what),
        state=text_of(row, "state", what),
        disabled_reason=optional_text(row, "disabled_reason", what),
        forced_down=bool(row.get("forced_down")),
        zone=optional_text(row, "zone", what),
    )


def moment_of(text: Any) -> datetime | None:
    """A time of Nova, which writes UTC without saying so; None where it is none."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


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
