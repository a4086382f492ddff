"""The process without its signals: built in one straight line, started, reloaded, stopped.

Tests start it in their own process on port 0; `cli` adds argv and signals.
"""

import random
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor as JobThreads
from apscheduler.schedulers.background import BackgroundScheduler
from prometheus_client import CollectorRegistry

from spotd import __version__
from spotd.agents.state import AgentName
from spotd.clock import Clock
from spotd.clouds.errors import CloudError, Failure
from spotd.daemon.notify import Notifier
from spotd.daemon.region import Region, build_region
from spotd.fleet.readings import Reading, Source
from spotd.fleet.snapshot import FleetSnapshot
from spotd.fleet.values import Aggregates, ComputeServices, Gpus, Inventory, Servers
from spotd.metrics.own import Metrics
from spotd.settings import ConfigurationError, Settings, needs_restart
from spotd.web.app import make_app
from spotd.web.overview import AgentLine, Overview, page
from spotd.web.scrape import Scrape
from spotd.web.server import WebServer

SAVE_EVERY_SECONDS = 300.0
"""How often readings are stored for a warm restart; they are stored at a clean stop too."""

JITTER = 0.1
"""Part of the period by which collections are shifted, so that several daemons do not ask in step."""

log = structlog.get_logger(__name__)


class Daemon:
    """One region's daemon."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        load: Callable[[], Settings] | None = None,
        directory: Path | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        """Wires everything; asks no cloud and opens no port yet.

        Args:
            settings: The configuration.
            clock: Tells times and ages.
            load: Reads the configuration again, for a reload.
            directory: Where warm readings are kept; None keeps none.
            notifier: Tells systemd.

        Raises:
            CloudError: clouds.yaml does not know the cloud.
        """
        self._settings = settings
        self._clock = clock
        self._load = load
        self._directory = directory
        self._notifier = notifier or Notifier({})
        self._metrics = Metrics(
            CollectorRegistry(),
            self.snapshot,
            clock,
            agents=_configured(settings),
            cache_state=lambda: _cache_state(self._region),
            pool_state=self._pool_state,
            abandoned_calls=lambda: self._region.collection.abandoned(),  # noqa: PLW0108 - the region is swapped
        )
        self._region = self._build(settings)
        self._reloading = threading.Lock()
        self._job_ran_at: float | None = None
        self._exits = ExitStack()
        self._scrape = Scrape(self._metrics, self._requested)
        self.web = WebServer(
            make_app(
                scrape=self._scrape,
                overview=self._overview,
                healthy=self.healthy,
                ready=self.ready,
                reload=self.reload,
                recorder=self._metrics,
            ),
            settings.web.listen_address,
        )

    def start(self) -> None:
        """Opens the port, resumes from stored readings and begins to collect.

        Raises:
            ListenError: The address is taken or not this machine's.
        """
        self.web.start()
        self._exits.callback(self._stopping, "web", self.web.stop)
        self._exits.callback(self._stopping, "region", self._close_region)
        if self._directory is not None:
            self._region.resume(self._directory, resume_seconds=self._settings.collection.resume_seconds)
            self._exits.callback(self._stopping, "stored readings", self._save)
        self._scheduler = self._schedule()
        self._exits.callback(self._stopping, "scheduler", lambda: self._scheduler.shutdown(wait=False))
        self._metrics.reloaded(ok=True)
        self._notifier.ready(f"watching {self._region.cloud}, listening on {self.web.address}")
        log.info("started", version=__version__, cloud=self._region.cloud, listen_address=self.web.address)

    def stop(self) -> None:
        """Stops in the reverse order of starting, each part by name; returns within seconds."""
        self._notifier.stopping()
        self._exits.close()
        log.info("stopped")

    def healthy(self) -> tuple[bool, str]:
        """Whether the scheduler ran a collection within the last periods."""
        period = self._settings.cache.snapshot_seconds
        patience = 3 * period + self._settings.collection.agent_deadline_seconds
        since = None if self._job_ran_at is None else self._clock.monotonic() - self._job_ran_at
        if since is None:
            return True, "no collection is due yet"
        return since <= patience, f"the last collection began {since:.0f} s ago"

    def ready(self) -> tuple[bool, str]:
        """Whether a snapshot exists and is young enough to be believed."""
        snapshot = self._region.collection.latest()
        if snapshot is None:
            return False, "no snapshot yet"
        limit = self._settings.web.ready_max_age_seconds
        now = self._clock.now()
        for name, reading in (
            ("aggregates", snapshot.readings.aggregates),
            ("services", snapshot.readings.services),
        ):
            if reading is None:
                return False, f"{name}: not known yet, or no more"
        services = snapshot.readings.services
        age = services.age_seconds(now) if services is not None else float("inf")
        return age <= limit, f"the snapshot is {age:.0f} s old, at most {limit:.0f} s are allowed"

    def reload(self) -> tuple[bool, str]:
        """Takes up the configuration as it is now, as a whole, or keeps the old one and says why."""
        with self._reloading:
            self._notifier.reloading()
            try:
                sentence = self._reload()
                ok = True
                log.info("configuration reloaded")
            except (ConfigurationError, CloudError) as error:
                ok, sentence = False, f"kept the old configuration: {error}"
                log.error("configuration not reloaded", error=str(error))  # noqa: TRY400 - the sentence is enough
            self._metrics.reloaded(ok=ok)
            self._notifier.ready(sentence.splitlines()[0])
            return ok, sentence

    def snapshot(self) -> FleetSnapshot | None:
        """The last snapshot; None before the first, and once nobody joins new ones any more.

        Each collection joins a snapshot without the readings that are too old. Where collections stopped,
        the last snapshot must not be shown for longer than its shortest-lived readings.
        """
        return self._believable(self._region.collection.latest())

    def _believable(self, snapshot: FleetSnapshot | None) -> FleetSnapshot | None:
        if snapshot is None:
            return None
        cache = self._settings.cache
        limit = min(cache.servers_max_age_seconds, cache.gpus_max_age_seconds)
        age = (self._clock.now() - snapshot.assembled_at).total_seconds()
        return snapshot if age <= limit else None

    def _reload(self) -> str:
        if self._load is None:
            return "nothing to reload: no configuration file was given"
        settings = self._load()
        if keys := needs_restart(self._settings, settings):
            sentence = f"{', '.join(keys)} cannot change while running: restart spotd"
            raise CloudError(Failure.CONFIGURATION, sentence)
        old = self._region
        region = self._build(settings)
        snapshot = old.collection.latest()
        if snapshot is not None and region.cloud == old.cloud:
            region.take_over(
                snapshot.readings, old.servers.position, resume_seconds=settings.collection.resume_seconds
            )
        self._settings, self._region = settings, region
        self._metrics.agents_configured(_configured(settings))
        self._scheduler.reschedule_job("collect", trigger="interval", **self._interval())
        old.close()
        return "reloaded"

    def _build(self, settings: Settings) -> Region:
        return build_region(
            settings, clock=self._clock, recorder=self._metrics, observer=self._metrics.cloud_answered
        )

    def _pool_state(self) -> tuple[int, int, int]:
        return self._region.collection.pool_state()

    def _close_region(self) -> None:
        self._region.close()

    def _requested(self) -> FleetSnapshot | None:
        return self._believable(self._region.collection.requested())

    def _overview(self) -> str:
        now = self._clock.now()
        snapshot = self.snapshot()
        agents = tuple(
            AgentLine(
                name=state.agent,
                answered={True: "yes", False: f"no: {state.last_failure_message}", None: "not asked yet"}[
                    state.succeeded
                ],
                age="never"
                if state.last_success is None
                else f"{(now - state.last_success).total_seconds():.0f} s ago",
            )
            for state in self._region.collection.states()
        )
        ok, sentence = self.ready()
        return page(
            Overview(
                cloud=self._region.cloud,
                state=sentence if ok else f"not ready: {sentence}",
                hosts=None if snapshot is None else len(snapshot.hosts),
                agents=agents,
            )
        )

    def _schedule(self) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(
            executors={"default": JobThreads(max_workers=3)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 5},
            timezone="UTC",
        )
        scheduler.add_listener(
            self._job_event, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        )
        scheduler.add_job(
            self._collect, "interval", id="collect", next_run_time=self._clock.now(), **self._interval()
        )
        if self._directory is not None:
            scheduler.add_job(self._save, "interval", id="save", seconds=SAVE_EVERY_SECONDS)
        if self._notifier.watchdog_seconds is not None:
            scheduler.add_job(
                self._watchdog, "interval", id="watchdog", seconds=self._notifier.watchdog_seconds / 3
            )
        scheduler.start()
        return scheduler

    def _interval(self) -> dict[str, float]:
        period = self._settings.cache.snapshot_seconds
        return {"seconds": period, "jitter": period * JITTER * random.random()}  # noqa: S311 - no secret

    def _collect(self) -> None:
        self._job_ran_at = self._clock.monotonic()
        self._region.collection.collect()
        self._scrape.prepare()
        ok, sentence = self.ready()
        self._notifier.status(sentence if ok else f"not ready: {sentence}")

    def _save(self) -> None:
        if self._directory is not None:
            self._region.save(self._directory)

    def _watchdog(self) -> None:
        ok, sentence = self.healthy()
        if ok:
            self._notifier.alive()
        else:
            log.error("not alive, the watchdog will restart this process", reason=sentence)

    def _job_event(self, event: object) -> None:
        code, job = getattr(event, "code", 0), str(getattr(event, "job_id", ""))
        if code == EVENT_JOB_EXECUTED:
            self._metrics.job_ran(job)
        elif code == EVENT_JOB_ERROR:
            log.error("a job failed", job=job, exc_info=getattr(event, "exception", None))
            if job == "collect":
                self._metrics.collection_missed("failed")
        else:
            self._metrics.job_missed(job)
            if job == "collect":
                self._metrics.collection_missed("overlapped" if code == EVENT_JOB_MAX_INSTANCES else "late")

    def _stopping(self, name: str, stop: Callable[[], None]) -> None:
        """One part's exit must not keep the others from theirs."""
        try:
            stop()
        except Exception:
            log.exception("could not stop cleanly", part=name)


def _configured(settings: Settings) -> tuple[str, ...]:
    """The agents that run under this configuration."""
    return tuple(name for name in AgentName if name is not AgentName.NETBOX or settings.netbox is not None)


def _cache_state(region: Region) -> Mapping[str, tuple[float | None, int | None]]:
    """Age and size of what each layer holds."""
    state: dict[str, tuple[float | None, int | None]] = {}
    snapshot = region.collection.latest()
    for layer in region.collection.layers():
        entries = None
        if snapshot is not None:
            reading = None if layer.name == "snapshot" else snapshot.readings.of(Source(layer.name))
            entries = len(snapshot.hosts) if layer.name == "snapshot" else _size(reading)
        state[layer.name] = (layer.age_seconds(), entries)
    return state


def _size(reading: Reading[object] | None) -> int | None:
    match reading.value if reading is not None else None:
        case Inventory(devices=items) | Aggregates(aggregates=items) | ComputeServices(services=items):
            return len(items)
        case Servers(servers=items) | Gpus(trees=items):
            return len(items)
        case _:
            return None
