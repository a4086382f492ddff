"""The process without its signals: built in one straight line, started, reloaded, stopped.

Tests start it in their own process on port 0; `cli` adds argv and signals.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from spotd import __version__
from spotd.agents.state import AgentName
from spotd.clock import Clock
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.host_calls import HostCalls
from spotd.daemon.acting import ORDERS_SECONDS, PRUNE_SECONDS, Acting, Surrounding
from spotd.daemon.announce import MoveEvents, publish_plan
from spotd.daemon.api import Watched, backing_of, forced, tls_of, token_owner_of, web_config_of
from spotd.daemon.api_acting import acting_backing
from spotd.daemon.condition import agent_lines, cache_state, readiness
from spotd.daemon.interpretation import interpretation_of
from spotd.daemon.notify import Notifier
from spotd.daemon.region import Region, build_region
from spotd.daemon.schedule import Schedule
from spotd.fleet.snapshot import FleetSnapshot
from spotd.logs import mask_text
from spotd.metrics.own import Metrics
from spotd.planning.load import load_rules
from spotd.planning.rules import Rules
from spotd.settings import ConfigurationError, Settings, changed_keys, needs_restart
from spotd.store.store import Store
from spotd.web.api.keystone import KeystoneTokens
from spotd.web.api.refresh import RefreshOutcome
from spotd.web.app import make_app
from spotd.web.events import EventHub
from spotd.web.overview import Overview, page
from spotd.web.scrape import Scrape
from spotd.web.server import WebServer

SAVE_EVERY_SECONDS = 300.0
"""How often readings are stored for a warm restart; they are stored at a clean stop too."""

log = structlog.get_logger(__name__)


class Daemon:
    """One region's daemon."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        load: Callable[[], Settings] | None = None,
        on_reload: Callable[[Settings], None] | None = None,
        directory: Path | None = None,
        notifier: Notifier | None = None,
        store: Store | None = None,
        rules: Rules | None = None,
    ) -> None:
        """Wires everything; asks no cloud and opens no port yet.

        Args:
            settings: The configuration.
            clock: Tells times and ages.
            load: Reads the configuration again, for a reload.
            on_reload: Is told of the settings that a reload took up.
            directory: Where warm readings are kept; None keeps none.
            notifier: Tells systemd.
            store: The journal; None: this daemon only looks on.
            rules: What decides; None: nothing moves but what people ask for.

        Raises:
            CloudError: clouds.yaml does not know the cloud.
            WebConfigError: The web configuration is not right.
        """
        self._settings = settings
        self._clock = clock
        self._load = load
        self._on_reload = on_reload
        self._directory = directory
        self._notifier = notifier or Notifier({})
        self._metrics = Metrics(
            CollectorRegistry(),
            self.snapshot,
            clock,
            agents=_configured(settings),
            cache_state=lambda: cache_state(self._region),
            pool_state=self._pool_state,
            abandoned_calls=lambda: self._region.collection.abandoned(),  # noqa: PLW0108 - the region is swapped
            acting_state=lambda: None if self.acting is None else self.acting.state(),
        )
        self._region = self._build(settings)
        self._retired: list[Region] = []
        self._reloading = threading.Lock()
        self._collecting = threading.Lock()
        self._collected_at: float | None = None
        self._schedule = Schedule(self._metrics, clock)
        self._is_leaving = False
        self._refused_reload: str | None = None
        self._exits = ExitStack()
        self._scrape = Scrape(self._metrics, self._requested)
        self._events = EventHub()
        self.acting = None if store is None else self._make_acting(store, rules)
        self._api = backing_of(
            Watched(
                settings=lambda: self._settings,
                region=lambda: self._region,
                metrics=self._metrics,
                clock=clock,
                events=self._events,
                collect=self._refresh,
                snapshot=self._requested,
                acting=acting_backing(self.acting, self.snapshot, clock),
            )
        )
        web_config = web_config_of(settings)
        self.web = WebServer(
            make_app(
                scrape=self._scrape,
                overview=self._overview,
                healthy=self.healthy,
                ready=self.ready,
                reload=self.reload,
                recorder=self._metrics,
                backing=self._api,
                web_config=None if web_config is None else lambda: web_config.current().config,
                web=lambda: self._settings.web,
                keystone=KeystoneTokens(
                    self._api.settings, clock.now, lambda token: token_owner_of(self._region, token)
                ),
            ),
            settings.web.listen_address,
            tls=tls_of(web_config),
            most_per_address=lambda: self._settings.web.connections_per_address,
            refused=self._metrics.http_refused,
        )

    def start(self) -> None:
        """Opens the port, resumes from stored readings and begins to collect.

        Raises:
            ListenError: The address is taken or not this machine's.
        """
        self.web.start()
        self._exits.callback(self._stopping, "web", self.web.stop)
        self._exits.callback(self._stopping, "event streams", self._events.close)
        self._exits.callback(self._stopping, "refreshes", self._api.refresher.close)
        self._exits.callback(self._stopping, "region", self._close_region)
        if self._directory is not None:
            self._region.resume(self._directory, resume_seconds=self._settings.collection.resume_seconds)
            self._exits.callback(self._stopping, "stored readings", self._save)
        self._collected_at = self._clock.monotonic()
        if self.acting is not None:
            self._exits.callback(self._stopping, "acting", self.acting.stop)
        self._start_schedule()
        self._exits.callback(self._stopping, "schedule", self._schedule.stop)
        self._metrics.reloaded(ok=True)
        self._notifier.ready(f"watching {self._region.cloud}, listening on {self.web.address}")
        log.info("started", version=__version__, cloud=self._region.cloud, listen_address=self.web.address)

    def stop(self) -> None:
        """Stops in the reverse order of starting, each part by name; returns within seconds."""
        self._is_leaving = True
        self._notifier.stopping()
        self._exits.close()
        log.info("stopped")

    def healthy(self) -> tuple[bool, str]:
        """Whether a collection began within the last periods."""
        period = self._settings.cache.snapshot_seconds
        patience = 3 * period + self._settings.collection.agent_deadline_seconds
        if self._collected_at is None:
            return False, "not started"
        since = self._clock.monotonic() - self._collected_at
        return since <= patience, f"the last collection began {since:.0f} s ago"

    def ready(self) -> tuple[bool, str]:
        """Whether a snapshot exists and is young enough to be believed."""
        return readiness(self.snapshot(), self._clock.now(), self._settings.web.ready_max_age_seconds)

    def reload(self) -> tuple[bool, str]:
        """Takes up the configuration as it is now, as a whole, or keeps the old one and says why."""
        with self._reloading:
            self._notifier.reloading()
            ok, sentence = self._reload()
            self._metrics.reloaded(ok=ok)
            self._refused_reload = None if ok else sentence.splitlines()[0]
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

    def _reload(self) -> tuple[bool, str]:
        try:
            return True, self._take_up()
        except (ConfigurationError, CloudError) as error:
            log.error("configuration not reloaded", error=str(error))  # noqa: TRY400 - the sentence is enough
            return False, mask_text(f"kept the old configuration: {error}")
        except Exception as error:  # the edge of a request or a signal: neither may end the daemon
            log.exception("configuration not reloaded")
            return False, f"kept the old configuration: {type(error).__name__}: see the log"

    def _take_up(self) -> str:
        if self._load is None:
            return "nothing to reload: no configuration file was given"
        settings = self._load()
        rules = self._load_rules(settings)
        if keys := needs_restart(self._settings, settings):
            sentence = f"{', '.join(keys)} cannot change while running: restart spotd"
            raise CloudError(Failure.CONFIGURATION, sentence)
        old = self._region
        region = self._build(settings)
        if self.acting is not None and region.identity != old.identity:
            region.close()
            # A move under way would go on with the hosts of another cloud.
            sentence = (
                f"{region.identity} is another cloud than {old.identity}, and hosts are moved: restart spotd"
            )
            raise CloudError(Failure.CONFIGURATION, sentence)
        if old.collection.latest() is not None and region.identity == old.identity:
            region.take_over(*old.handover(), resume_seconds=settings.collection.resume_seconds)
        changed = changed_keys(self._settings, settings)
        self._settings, self._region = settings, region
        self._metrics.agents_configured(_configured(settings))
        # A collection under way goes on with the new region by itself.
        self._schedule.change_period(settings.cache.snapshot_seconds, at_once=not self._collecting.locked())
        old.retire()
        self._retired = [*(region for region in self._retired if not region.lending.is_over), old]
        if self.acting is not None and rules is not None:
            self.acting.take_up(rules)
        if self._on_reload is not None:
            self._on_reload(settings)
        log.info("configuration reloaded", changed=changed)
        return "reloaded"

    def _load_rules(self, settings: Settings) -> Rules | None:
        """The rules of this configuration, or an exception that keeps the old ones."""
        if self.acting is None:
            if settings.rules.file is not None:
                sentence = (
                    "rules.file needs a journal (collection.state_directory or journal.url): restart spotd"
                )
                raise CloudError(Failure.CONFIGURATION, sentence)
            return None
        try:
            return Rules() if settings.rules.file is None else load_rules(settings.rules.file)
        except ConfigurationError:
            self._metrics.rules_loaded(False, None)
            raise

    def _make_acting(self, store: Store, rules: Rules | None) -> Acting:
        around = Surrounding(
            cloud=self._lent,
            snapshot=self.snapshot,
            interpretation=lambda: interpretation_of(self._settings),
            moved=lambda order: self._region.moved(order.host, order.origin.id, order.destination.id),
            planned=lambda plan: publish_plan(self._events, plan),
        )
        return Acting(
            self._settings,
            rules or Rules(),
            store,
            clock=self._clock,
            around=around,
            recorder=self._metrics,
            observer=MoveEvents(self._events, self._metrics),
        )

    @contextmanager
    def _lent(self) -> Iterator[HostCalls]:
        """The calls about one host, for the length of one call: no reload takes it from whoever makes it."""
        region = self._region
        while not region.lending.borrow():
            region = self._region  # a reload has put another in its place
        try:
            yield region.host_calls(write_timeout_seconds=self._settings.moves.write_timeout_seconds)
        finally:
            region.lending.give_back()

    def _build(self, settings: Settings) -> Region:
        return build_region(
            settings, clock=self._clock, recorder=self._metrics, observer=self._metrics.cloud_answered
        )

    def _pool_state(self) -> tuple[int, int, int]:
        return self._region.collection.pool_state()

    def _close_region(self) -> None:
        # A call that a reload left to end must not keep the process from leaving.
        for region in (self._region, *self._retired):
            region.close()

    def _requested(self) -> FleetSnapshot | None:
        return self._believable(self._region.collection.requested())

    def _overview(self) -> str:
        snapshot = self.snapshot()
        ok, sentence = self.ready()
        return page(
            Overview(
                cloud=self._region.cloud,
                state=sentence if ok else f"not ready: {sentence}",
                hosts=None if snapshot is None else len(snapshot.hosts),
                agents=agent_lines(self._region, self._clock.now()),
            )
        )

    def _start_schedule(self) -> None:
        self._schedule.collect_every(self._settings.cache.snapshot_seconds, self._collect)
        if self._directory is not None:
            self._schedule.every(SAVE_EVERY_SECONDS, "save", self._save)
        if self.acting is not None:
            self._schedule.every(self.acting.renew_seconds, "lease", self.acting.renew, at_once=True)
            self._schedule.every(self._settings.cache.snapshot_seconds, "rebalance", self.acting.cycle)
            self._schedule.every(ORDERS_SECONDS, "orders", self.acting.orders)
            self._schedule.every(PRUNE_SECONDS, "prune", self.acting.prune)
        if self._notifier.watchdog_seconds is not None:
            self._schedule.every(self._notifier.watchdog_seconds / 3, "watchdog", self._watchdog)
        self._schedule.start()

    def _collect(self) -> None:
        """Collects; where a reload swapped the region meanwhile, from the new one too."""
        with self._collecting:
            region = None
            while region is not self._region and not self._is_leaving:
                region = self._region
                self._collected_at = self._clock.monotonic()
                try:
                    region.collection.collect()
                    self._tell_snapshot(region)
                except RuntimeError:  # a closed collection starts nothing
                    if region is self._region and not self._is_leaving:
                        raise
            self._scrape.prepare()
        ok, sentence = self.ready()
        status = sentence if ok else f"not ready: {sentence}"
        self._notifier.status("; ".join(filter(None, (status, self._refused_reload))))

    def _refresh(self) -> RefreshOutcome:
        """Collects from every cloud at once, for whoever asked over HTTP."""
        region = self._region
        outcome = forced(region.collection, self._events)
        self._scrape.prepare()
        self._tell_snapshot(region)
        return outcome

    def _tell_snapshot(self, region: Region) -> None:
        snapshot = region.collection.latest()
        if snapshot is not None:
            self._events.publish(
                "snapshot", {"timestamp": snapshot.assembled_at.timestamp(), "hosts": len(snapshot.hosts)}
            )

    def _save(self) -> None:
        if self._directory is not None:
            self._region.save(self._directory)

    def _watchdog(self) -> None:
        ok, sentence = self.healthy()
        if ok:
            self._notifier.alive()
        else:
            log.error("not alive, the watchdog will restart this process", reason=sentence)

    def _stopping(self, name: str, stop: Callable[[], None]) -> None:
        """One part's exit must not keep the others from theirs."""
        try:
            stop()
        except Exception:
            log.exception("could not stop cleanly", part=name)


def _configured(settings: Settings) -> tuple[str, ...]:
    """The agents that run under this configuration."""
    return tuple(name for name in AgentName if name is not AgentName.NETBOX or settings.netbox is not None)
