"""What the daemon hands to the API: everything that it reads or does, as plain callables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from spotd.agents.state import AgentName
from spotd.fleet.snapshot import FleetSnapshot
from spotd.fleet.values import Server
from spotd.settings.api import ApiSettings
from spotd.store.records import AuditRecord
from spotd.web.api.acting import Acting, AggregateChanges
from spotd.web.api.kept import Kept
from spotd.web.api.refresh import Refresher
from spotd.web.api.upkeep_views import CacheLayerView, SourceView
from spotd.web.events import EventHub

PREFIX = "/api"
"""Where the API is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """The daemon as the API sees it. None of the reads may wait, but `host_servers`, which asks Nova."""

    settings: Callable[[], ApiSettings]
    """As they are now: a reload changes them."""
    now: Callable[[], datetime]
    snapshot: Callable[[], FleetSnapshot | None]
    """The latest that may be believed; counts as a request to the snapshot's cache layer."""
    sources: Callable[[], tuple[SourceView, ...]]
    cache_layers: Callable[[], tuple[CacheLayerView, ...]]
    configuration: Callable[[], Mapping[str, Any]]
    """With every secret hidden."""
    host_servers: Callable[[str], tuple[Server, ...]]
    """Raises `CloudError`."""
    expire: Callable[[frozenset[AgentName]], None]
    """The next collection asks these agents' clouds, however fresh what they have is."""
    refresher: Refresher
    events: EventHub
    aggregates: AggregateChanges
    audit: Callable[[AuditRecord], None] | None = None
    """Writes down who asked for what; None: there is no journal. Raises `StoreError`."""
    acting: Acting | None = None
    """None: there is no journal, and so nothing moves."""
    kept: Kept = field(default_factory=Kept)
