"""Everything that watches one region, made from the settings in one straight line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from spotd.agents import warm
from spotd.agents.aggregates import AggregatesAgent
from spotd.agents.cache import CacheLayer, make_layer
from spotd.agents.collection import Agent, Collection
from spotd.agents.gpus import GpusAgent
from spotd.agents.netbox import NetBoxAgent
from spotd.agents.recorder import CollectionRecorder
from spotd.agents.servers import ServersAgent
from spotd.agents.state import AgentName, Changes, Outcome
from spotd.clock import Clock
from spotd.clouds.host_calls import HostCalls
from spotd.clouds.keystone import CloudSession
from spotd.clouds.netbox import NetBox
from spotd.clouds.nova import Nova
from spotd.clouds.placement import Placement
from spotd.clouds.transport import Observer
from spotd.daemon.interpretation import interpretation_of
from spotd.daemon.lending import Lending
from spotd.fleet.readings import Reading, Source
from spotd.fleet.snapshot import Readings
from spotd.fleet.values import Aggregates, Inventory
from spotd.settings import Settings

WALK_PATIENCE_SECONDS = 3600.0
"""How long a one-off collection waits for the walk over all servers: 5 ms each, so enough for 700,000."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The collection of one region and what must be closed with it."""

    cloud: str
    """Cloud and region, for people."""
    identity: str
    """Cloud, region and where they are: readings kept for another identity are another cloud's."""
    collection: Collection
    servers: ServersAgent
    gpus: GpusAgent
    layers: Mapping[Source, CacheLayer]
    session: CloudSession
    netbox: NetBox | None
    clock: Clock
    lending: Lending
    """Lends the session to moves."""

    def handover(self) -> tuple[Readings, datetime | None]:
        """What is known, and how far the server list was followed, for whoever goes on from here."""
        # In this order, and not from the snapshot: a list that is older than its position misses changes.
        position = self.servers.position
        return self.collection.known(), position

    def save(self, directory: Path) -> None:
        """Stores the readings for a warm restart; a failure costs a log line."""
        if self.collection.latest() is None:
            return
        readings, position = self.handover()
        state = warm.WarmState(
            cloud=self.identity, saved_at=self.clock.now(), readings=readings, servers_position=position
        )
        try:
            warm.save(directory, state)
        except OSError as error:
            log.warning("readings not stored", directory=str(directory), reason=error.strerror)

    def resume(self, directory: Path, *, resume_seconds: float) -> bool:
        """Goes on from stored readings of the same cloud; False: a cold start."""
        state = warm.load(directory, self.identity, now=self.clock.now())
        if state is None:
            return False
        self.take_over(state.readings, state.servers_position, resume_seconds=resume_seconds)
        log.info("resumed from stored readings", saved_at=state.saved_at.isoformat())
        return True

    def take_over(self, readings: Readings, position: datetime | None, *, resume_seconds: float) -> None:
        """Shows these readings, with their age, until newer ones come."""
        for source, layer in self.layers.items():
            reading = readings.of(source)
            if reading is not None:
                layer.keep(reading)
        young = position is not None and (self.clock.now() - position).total_seconds() <= resume_seconds
        if readings.servers is not None and position is not None and young:
            self.servers.resume(readings.servers.value.servers, position)
        if readings.gpus is not None:
            self.gpus.resume(readings.gpus.value)
        self.collection.publish()

    def host_calls(self, *, write_timeout_seconds: float) -> HostCalls:
        """The calls about one host, on this region's session."""
        return HostCalls(self.session, write_timeout_seconds=write_timeout_seconds)

    def moved(self, host: str, origin: int, destination: int) -> None:
        """Shows a move at once: corrects the aggregates that are known, and has them read anew soon."""
        layer = self.layers[Source.AGGREGATES]
        # Told first: a run that asked before the move must not have the last word.
        self.collection.expire(frozenset({AgentName.AGGREGATES}))
        reading: Any = layer.last_good()
        if reading is None:
            return
        corrected = tuple(
            replace(found, hosts=_corrected(found.hosts, host, leaves=found.id == origin))
            if found.id in (origin, destination)
            else found
            for found in reading.value.aggregates
        )
        layer.put(Reading(value=Aggregates(aggregates=corrected), read_at=reading.read_at))
        self.collection.publish()

    def close(self) -> None:
        """Stops what runs and closes all connections."""
        self._stop()
        self.session.close()

    def retire(self) -> None:
        """Another region takes its place: agents stop at once, a move's call is left to end."""
        self._stop()
        self.lending.retire()

    def _stop(self) -> None:
        self.servers.close()
        self.collection.close()
        if self.netbox is not None:
            self.netbox.close()


def build_region(
    settings: Settings,
    *,
    clock: Clock,
    recorder: CollectionRecorder,
    observer: Observer,
    wait_for_walk: bool = False,
) -> Region:
    """Wires the agents, their cache and the collection in one straight line; asks no cloud yet.

    Args:
        settings: The configuration.
        clock: Tells times and ages.
        recorder: Counts runs, failures and cache requests.
        observer: Is told of every request.
        wait_for_walk: A collection ends when all servers are walked, however long that takes.

    Raises:
        CloudError: clouds.yaml does not know the cloud.
    """
    session = CloudSession(settings, observer)
    nova = Nova(
        session,
        page_size=settings.openstack.page_size,
        page_timeout_seconds=settings.openstack.servers_page_timeout_seconds,
    )
    interpretation = interpretation_of(settings)
    cloud = f"{session.name}/{session.region_name}"
    identity = f"{cloud}@{session.auth_url}"
    layers = _layers(settings, identity, clock, recorder)
    timing = settings.collection
    deadline = WALK_PATIENCE_SECONDS if wait_for_walk else timing.agent_deadline_seconds

    servers = ServersAgent(
        nova,
        clock,
        full_resync_seconds=timing.servers_full_resync_seconds,
        overlap_seconds=timing.changes_overlap_seconds,
    )
    gpus = GpusAgent(
        Placement(session),
        clock,
        gpu_classes=interpretation.resource_classes,
        class_types=interpretation.class_types,
        full_resync_seconds=settings.gpus.full_resync_seconds,
        wait_seconds=timing.agent_deadline_seconds / 2,
        max_age_seconds=settings.cache.gpus_max_age_seconds,
    )
    agents = [
        Agent(
            name=AgentName.SERVERS,
            collect=lambda changes, publish, _force: servers.collect(changes, publish, wait=wait_for_walk),
            layers={source: layers[source] for source in (Source.SERVICES, Source.SERVERS)},
            distrust=servers.distrust,
        ),
        Agent(
            name=AgentName.GPUS,
            collect=lambda changes, _publish, force: gpus.collect(changes, force=force),
            layers={Source.GPUS: layers[Source.GPUS]},
            distrust=gpus.distrust,
        ),
        _cached_agent(AgentName.AGGREGATES, AggregatesAgent(nova, clock).collect, layers[Source.AGGREGATES]),
    ]
    netbox = None
    if settings.netbox is not None:
        netbox = NetBox(settings.netbox, observer)
        inventory = NetBoxAgent(netbox, clock, full_resync_seconds=settings.netbox.full_resync_seconds)
        agents.append(_cached_agent(AgentName.NETBOX, inventory.collect, layers[Source.NETBOX]))

    collection = Collection(
        tuple(agents),
        interpretation=interpretation,
        deadline_seconds=deadline,
        wait_seconds=deadline if wait_for_walk else settings.cache.snapshot_seconds,
        clock=clock,
        recorder=recorder,
        snapshots=make_layer(
            "snapshot",
            settings.cache,
            scope=identity,
            lifetime_seconds=settings.cache.snapshot_seconds,
            max_age_seconds=float("inf"),
            clock=clock,
            recorder=recorder,
        ),
        forget_token=session.forget_token,
    )
    return Region(
        cloud=cloud,
        identity=identity,
        collection=collection,
        servers=servers,
        gpus=gpus,
        layers=layers,
        session=session,
        netbox=netbox,
        clock=clock,
        lending=Lending(session.close),
    )


def _corrected(hosts: tuple[str, ...], host: str, *, leaves: bool) -> tuple[str, ...]:
    others = tuple(name for name in hosts if name != host)
    return others if leaves else (*others, host)


def _layers(
    settings: Settings, identity: str, clock: Clock, recorder: CollectionRecorder
) -> dict[Source, CacheLayer]:
    cache = settings.cache
    # Servers, services and GPUs are always asked for: their layers only keep the last good reading.
    plan: dict[Source, tuple[float, float, type[Aggregates | Inventory] | None]] = {
        Source.SERVICES: (0.0, cache.servers_max_age_seconds, None),
        Source.SERVERS: (0.0, cache.servers_max_age_seconds, None),
        Source.GPUS: (0.0, cache.gpus_max_age_seconds, None),
        Source.AGGREGATES: (cache.aggregates_seconds, cache.aggregates_max_age_seconds, Aggregates),
        Source.NETBOX: (cache.netbox_seconds, cache.netbox_max_age_seconds, Inventory),
    }
    return {
        source: make_layer(
            source.value,
            cache,
            scope=f"{identity}+{settings.netbox.url}"
            if settings.netbox and stores is Inventory
            else identity,
            lifetime_seconds=lifetime,
            max_age_seconds=max_age,
            clock=clock,
            recorder=recorder,
            stores=stores,
        )
        for source, (lifetime, max_age, stores) in plan.items()
    }


def _cached_agent(name: AgentName, ask: Callable[[], Outcome], layer: CacheLayer) -> Agent:
    """An agent that is only run when its layer's reading is no longer fresh."""
    source = Source(name.value)

    def collect(_changes: Changes, _publish: Callable[[Outcome], None], force: bool) -> Outcome:  # noqa: FBT001
        items: dict[str, int] = {}

        def create() -> Reading[object]:
            outcome = ask()
            items.update(outcome.items)
            return outcome.readings[source]

        reading, hit = layer.get(create, force=force)
        return Outcome(readings={source: reading}, items=items, from_cache=hit)

    return Agent(name=name, collect=collect, layers={source: layer})
