"""What a move asks of the clouds, as a protocol: `clouds.HostCalls` on the live cloud, fakes in tests."""

from collections.abc import Iterable
from typing import Protocol

from spotd.fleet.live import Migration, Provider
from spotd.fleet.values import Aggregate, ComputeService, Server


class HostCloud(Protocol):
    """The calls about one host; each raises `CloudError`, and sends a write once."""

    def aggregates(self) -> tuple[Aggregate, ...]:
        """All host aggregates."""
        ...

    def add_host(self, aggregate_id: int, host: str) -> None:
        """Puts a host into an aggregate."""
        ...

    def remove_host(self, aggregate_id: int, host: str) -> None:
        """Takes a host out of an aggregate."""
        ...

    def compute_service(self, host: str) -> ComputeService:
        """The host's compute service."""
        ...

    def disable_service(self, service_id: str, reason: str) -> None:
        """Disables a compute service."""
        ...

    def enable_service(self, service_id: str) -> None:
        """Enables a compute service."""
        ...

    def servers_on(self, host: str) -> tuple[Server, ...]:
        """All servers on a host."""
        ...

    def unfinished_migrations(self, host: str) -> tuple[Migration, ...]:
        """Migrations to or from a host that are not over."""
        ...

    def provider_tree(self, hypervisor: str) -> tuple[Provider, ...]:
        """The root provider first, and every provider below it."""
        ...

    def consumers(self, provider_uuids: Iterable[str]) -> frozenset[str]:
        """Who holds an allocation on any of these providers."""
        ...

    def mirror(self, root_uuid: str) -> frozenset[str]:
        """Uuids of the aggregates that Placement has the provider in."""
        ...

    def traits(self, root_uuid: str) -> frozenset[str]:
        """The provider's traits."""
        ...
