"""Whom the agents, their cache and the collection tell how they fare."""

from collections.abc import Mapping
from typing import Protocol


class CacheRecorder(Protocol):
    """Is told how each request to a layer was answered."""

    def cache_requested(self, layer: str, *, hit: bool) -> None:
        """`hit`: the stored reading was fresh and nobody had to be asked."""
        ...


class CollectionRecorder(CacheRecorder, Protocol):
    """Is told how agents and collections fared; the metrics implement it."""

    def agent_ran(self, agent: str, seconds: float, items: Mapping[str, int]) -> None:
        """The agent brought whole readings."""
        ...

    def agent_failed(self, agent: str, seconds: float, reason: str) -> None:
        """The agent brought nothing; the last good reading stays."""
        ...

    def agent_skipped(self, agent: str, reason: str) -> None:
        """The agent was not started: it still runs, or its cloud asked for a pause."""
        ...

    def collection_finished(self, seconds: float, speedup: float, hosts_per_second: float) -> None:
        """A collection is over."""
        ...
