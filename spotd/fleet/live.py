"""Frozen values of the live look at one host, which a move takes before it acts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A server on its way to or from a host, or a resize that waits for its owner.

    Source: GET /os-migrations?host= (Nova 2.59 and later).
    """

    id: int
    uuid: str
    """While a migration runs, Placement may hold the source's allocation under this uuid."""
    status: str
    source_host: str | None
    dest_host: str | None
    """None until a destination is chosen."""
    server_id: str
    type: str
    """`live-migration`, `migration` (cold), `resize` or `evacuation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A resource provider's place in its tree. Source: GET /resource_providers (Placement)."""

    uuid: str
    name: str
    """Of a root provider: the hypervisor hostname, which may differ from the host."""
    root: str
    """Uuid of the tree's root; its own where it is the root."""
    generation: int

    @property
    def is_root(self) -> bool:
        """Whether it is the root of its tree."""
        return self.uuid == self.root
