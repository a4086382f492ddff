"""What the API is given of a daemon."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spotd.agents.collection import Collection
from spotd.agents.history import PastRun
from spotd.agents.state import AgentName, AgentState
from spotd.clock import Clock
from spotd.clouds.aggregate_calls import AggregateCalls
from spotd.clouds.host_calls import HostCalls
from spotd.clouds.identity import TokenOwner, token_owner
from spotd.daemon.condition import cache_state
from spotd.daemon.region import Region
from spotd.fleet.snapshot import FleetSnapshot
from spotd.fleet.values import Server
from spotd.metrics.own import Metrics
from spotd.settings import Settings
from spotd.settings.description import public_settings
from spotd.web.api.acting import Acting, AggregateChanges
from spotd.web.api.backing import Backing
from spotd.web.api.refresh import Refresher, RefreshOutcome
from spotd.web.api.upkeep_views import CacheLayerView, Run, SourceView
from spotd.web.config.file import WebConfigFile
from spotd.web.config.tls import FollowingContext
from spotd.web.events import EventHub


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The parts of a daemon that the API looks at; settings and region are asked for: reloads swap them."""

    settings: Callable[[], Settings]
    region: Callable[[], Region]
    metrics: Metrics
    clock: Clock
    events: EventHub
    collect: Callable[[], RefreshOutcome]
    """Forces a collection and tells its progress to the events."""
    snapshot: Callable[[], FleetSnapshot | None]
    """The latest that may be believed."""
    acting: Acting | None = None
    """None: there is no journal, and so nothing moves."""


def backing_of(watched: Watched) -> Backing:
    """The daemon as the API sees it."""
    region = watched.region
    return Backing(
        settings=lambda: watched.settings().api,
        now=watched.clock.now,
        snapshot=watched.snapshot,
        sources=lambda: sources(region().collection, watched.clock),
        cache_layers=lambda: cache_layers(region(), watched.metrics),
        configuration=lambda: public_settings(watched.settings()),
        host_servers=lambda host: host_servers(region(), host),
        expire=lambda agents: region().collection.expire(agents),  # noqa: PLW0108 - the region is swapped
        refresher=Refresher(
            watched.collect, spacing_seconds=lambda: watched.settings().api.refresh_spacing_seconds
        ),
        events=watched.events,
        aggregates=aggregate_changes(region),
        audit=None if watched.acting is None else watched.acting.journal.record_audit,
        acting=watched.acting,
    )


def web_config_of(settings: Settings) -> WebConfigFile | None:
    """The web configuration, where the settings name one.

    Raises:
        WebConfigError: It is not right.
    """
    path = settings.web.config_file
    return None if path is None else WebConfigFile(path)


def tls_of(web_config: WebConfigFile | None) -> ssl.SSLContext | None:
    """TLS that follows the file, where it asks for TLS."""
    if web_config is None or not web_config.has_tls:
        return None
    return FollowingContext.of(web_config.context)


def host_servers(region: Region, host: str) -> tuple[Server, ...]:
    """A host's servers as Nova has them now.

    Raises:
        CloudError: Nova did not answer.
    """
    return HostCalls(region.session).servers_on(host)


def aggregate_changes(region: Callable[[], Region]) -> AggregateChanges:
    """Changes of aggregates by the region's own session."""
    return AggregateChanges(
        live=lambda: HostCalls(region().session).aggregates(),
        create=lambda name, zone: AggregateCalls(region().session).create(name, zone),
        set_metadata=lambda number, metadata: AggregateCalls(region().session).set_metadata(number, metadata),
        delete=lambda number: AggregateCalls(region().session).delete(number),
    )


def token_owner_of(region: Region, token: str) -> TokenOwner | None:
    """Whose Keystone token it is; None where Keystone does not take it.

    Raises:
        CloudError: Keystone did not say.
    """
    return token_owner(region.session, token)


def sources(collection: Collection, clock: Clock) -> tuple[SourceView, ...]:
    """Each agent's health with its last runs."""
    history, now = collection.history(), clock.now()
    return tuple(
        SourceView(
            agent=state.agent,
            running=state.running_since is not None,
            succeeded=state.succeeded,
            last_success_timestamp=_timestamp(state, "last_success"),
            last_failure_timestamp=_timestamp(state, "last_failure"),
            last_error=state.last_failure_message,
            last_error_reason=state.last_failure_reason,
            duration=state.duration_seconds,
            age=None if state.last_success is None else max(0.0, (now - state.last_success).total_seconds()),
            retry_timestamp=_timestamp(state, "retry_at"),
            successes=[_run(run) for run in history.successes(state.agent)],
            failures=[_run(run) for run in history.failures(state.agent)],
        )
        for state in collection.states()
    )


def cache_layers(region: Region, metrics: Metrics) -> tuple[CacheLayerView, ...]:
    """Each layer with its counts since the start."""
    held = cache_state(region)
    return tuple(
        _layer_view(layer.name, layer.lifetime_seconds, layer.max_age_seconds, held, metrics)
        for layer in region.collection.layers()
    )


def _layer_view(
    name: str,
    lifetime: float,
    max_age: float,
    held: Mapping[str, tuple[float | None, int | None]],
    metrics: Metrics,
) -> CacheLayerView:
    age, entries = held.get(name, (None, None))
    requests, hits = metrics.cache_counts(name)
    return CacheLayerView(
        layer=name,
        age=age,
        entries=entries,
        lifetime=lifetime,
        max_age=None if max_age == float("inf") else max_age,
        requests=requests,
        hits=hits,
        hit_ratio=hits / requests if requests else None,
    )


def forced(collection: Collection, events: EventHub) -> RefreshOutcome:
    """Asks every cloud; each agent's start and end is an event."""

    def progress(agent: AgentName, what: str) -> None:
        events.publish("refresh", {"agent": agent.value, "what": what})

    events.publish("refresh", {"agent": None, "what": "started"})
    result = collection.collect(force=frozenset(AgentName), progress=progress)
    events.publish("refresh", {"agent": None, "what": "finished", "seconds": round(result.seconds, 3)})
    return RefreshOutcome(
        seconds=result.seconds,
        failures={agent.value: sentence for agent, sentence in result.failures.items()},
        unfinished=tuple(agent.value for agent in (*result.unfinished, *result.skipped)),
    )


def _timestamp(state: AgentState, fact: str) -> float | None:
    moment = getattr(state, fact)
    return None if moment is None else float(moment.timestamp())


def _run(run: PastRun) -> Run:
    return Run(
        timestamp=run.ended_at.timestamp(), duration=run.seconds, reason=run.reason, message=run.message
    )
