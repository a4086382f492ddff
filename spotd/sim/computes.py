"""Compute hosts, their services and the cells that know them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from spotd.sim.errors import ConflictError, NotFoundError
from spotd.sim.ledger import DISABLED_TRAIT, Ledger
from spotd.sim.records import Host

CellMode = Literal["silent", "error"]
REPORT_INTERVAL = timedelta(seconds=60)


class Computes:
    """The hosts by name, and what their compute services say."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.hosts: dict[str, Host] = {}
        self.by_uuid: dict[str, Host] = {}
        self.down_cells: dict[str, CellMode] = {}

    def add(self, host: Host) -> None:
        """Take in a host."""
        self.hosts[host.name] = host
        self.by_uuid[host.service_uuid] = host

    def get(self, name: str) -> Host:
        """The host of this name.

        Raises:
            NotFoundError: no compute service runs there.
        """
        if (host := self.hosts.get(name)) is None:
            raise NotFoundError(f"Compute host {name} could not be found.")
        return host

    def service(self, service_id: str) -> Host:
        """The host with this service uuid, or below 2.53 the integer id.

        Raises:
            NotFoundError: there is none.
        """
        host = self.by_uuid.get(service_id)
        if host is None:
            host = next((one for one in self.hosts.values() if str(one.service_id) == service_id), None)
        if host is None:
            raise NotFoundError(f"Service {service_id} could not be found.")
        return host

    def reachable(self) -> Iterator[Host]:
        """The hosts whose cell answers."""
        return (host for host in self.hosts.values() if host.cell not in self.down_cells)

    def set_status(self, host: Host, *, status: str, reason: str | None) -> None:
        """Enable or disable; the reason is always overwritten, even by nothing."""
        host.status = status
        host.disabled_reason = reason if status == "disabled" else None

    def sync_trait(self, host: Host, now: datetime) -> None:
        """Let the compute mark its provider; a compute that is down does nothing."""
        if host.state == "up":
            disabled = host.status == "disabled"
            self.ledger.set_trait(host.provider_uuid, DISABLED_TRAIT, present=disabled, now=now)

    def set_state(self, host: Host, state: str, now: datetime) -> None:
        """Let the service stop or resume reporting."""
        host.state = state
        host.silent_since = now if state == "down" else None
        self.sync_trait(host, now)

    def remove(self, host: Host, *, instances: int) -> None:
        """Delete a compute service and its providers.

        Raises:
            ConflictError: servers are on the host.
        """
        if instances:
            raise ConflictError(
                "Unable to delete compute service that is hosting instances. "
                "Migrate or delete the instances first."
            )
        del self.hosts[host.name]
        del self.by_uuid[host.service_uuid]
        for provider in list(self.ledger.tree(host.provider_uuid)):
            del self.ledger.providers[provider.uuid]
            del self.ledger.by_name[provider.name]

    def reported_at(self, host: Host, now: datetime) -> datetime:
        """When the service last reported: within the last minute, or when it fell silent."""
        if host.silent_since is not None:
            return host.silent_since
        offset = timedelta(seconds=host.service_id % 60)
        elapsed = (now - host.started_at - offset) % REPORT_INTERVAL
        return now - elapsed
