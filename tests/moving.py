"""A cloud in memory to try moves on: it keeps Nova's rules, lags as Nova does, and breaks when told."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fleets import FleetBuilder, default_interpretation, gpu_flavor
from standing import Clock

from spotd.clouds.errors import CloudError, Failure
from spotd.fleet.live import Migration, Provider
from spotd.fleet.readings import Source
from spotd.fleet.values import Aggregate, ComputeService, Server
from spotd.moves.executor import Executor
from spotd.moves.guarding import Grounds
from spotd.moves.timing import Timing
from spotd.planning.rules import Rules
from spotd.planning.surroundings import Standing
from spotd.store import Lease, Store, open_store
from spotd.store.records import MoveOrder, MovePlace, MoveRecord

ONDEMAND, SPOT, RUNPOD = "H100-n3", "H100-n3-spot", "H100-n3-runpod"
POOLS = (ONDEMAND, SPOT, RUNPOD)
KINDS = {ONDEMAND: "ondemand", SPOT: "spot", RUNPOD: "runpod"}
HOST = "gpu-1"
TTL = timedelta(seconds=600)
WRITES = ("add_host", "remove_host", "disable_service", "enable_service")

REFUSALS = {
    "409": (Failure.CONFLICT, 409),
    "404": (Failure.NOT_FOUND, 404),
    "403": (Failure.FORBIDDEN, 403),
    "401": (Failure.UNAUTHORIZED, 401),
    "429": (Failure.RATE_LIMITED, 429),
}
LOST = {
    "timeout": (Failure.TIMEOUT, None),
    "reset": (Failure.CONNECTION, None),
    "500": (Failure.SERVER_ERROR, 500),
    "503": (Failure.SERVER_ERROR, 503),
}
FAULTS = (
    *REFUSALS,
    *(f"{kind} {when}" for kind in LOST for when in ("before", "after")),
    "timeout late",
    "reset late",
    "wrong",
)
"""What a write can meet: refused; lost before its effect, after it or long before it; 200 without effect."""


@dataclass
class Boot:
    """A request whose host is chosen; its claim and its row in Nova come later."""

    id: str
    host: str
    pool: frozenset[int]
    """The aggregates that the host was chosen in."""
    claimed_at: float
    shown_at: float


@dataclass
class FakeHost:
    """A compute host."""

    name: str
    status: str = "enabled"
    reason: str | None = None
    trait_at: float | None = None
    """From when the trait shows."""
    mirror: set[str] = field(default_factory=set)


class FakeCloud:
    """Implements `HostCloud`; all times are those of its clock."""

    def __init__(
        self, clock: Clock, hosts: Iterable[str] = (HOST,), *, zones: tuple[str | None, ...] = ()
    ) -> None:
        self.clock = clock
        self.trait_lag = 0.0
        self.mirror_state = "ok"
        """`silent`: Nova answers 200 and Placement learns nothing; `down`: as on a real Nova, a 500."""
        self.outage: str | None = None
        """What every call meets."""
        self.faults: dict[str, list[str]] = {}
        """Faults by operation, one for each call to come; an empty text lets it pass."""
        self.before: Callable[[str, str], None] = lambda _operation, _host: None
        """Told of each call before it does anything."""
        self.after: Callable[[str, str], None] = lambda _operation, _host: None
        """Told of each call that is done, its effect there, before it answers."""
        self.remade: dict[int, str] = {}
        """Uuids of aggregates that were deleted and made anew under their old id."""
        self.landed_late: Callable[[str, str], None] = lambda _operation, _host: None
        """Told of each write that takes effect long after it was sent."""
        self.log: list[tuple[str, ...]] = []
        self.hosts = {name: FakeHost(name) for name in hosts}
        self.zones = dict(enumerate(zones or (None,) * len(POOLS), 1))
        self.members: dict[int, list[str]] = {number: [] for number in range(1, len(POOLS) + 1)}
        self.boots: list[Boot] = []
        self.migrations: list[Migration] = []
        self._late: list[tuple[float, Callable[[], None]]] = []
        for name in self.hosts:
            self._put(1, name)

    # What tests do and look at

    def pass_time(self, seconds: float) -> None:
        """Time goes by, and what was under way takes effect."""
        self.clock.move(seconds)
        due = [action for at, action in self._late if at <= self.clock.seconds]
        self._late = [(at, action) for at, action in self._late if at > self.clock.seconds]
        for action in due:
            action()

    def pools_of(self, host: str) -> list[str]:
        """Names of the aggregates that hold it."""
        return [POOLS[number - 1] for number, names in self.members.items() if host in names]

    def mirror_agrees(self, host: str) -> bool:
        """Whether Placement has it where Nova has it."""
        return self.hosts[host].mirror == {_uuid(n) for n, names in self.members.items() if host in names}

    def boot(self, host: str, *, claim: float = 0.0, show: float = 0.0) -> Boot | None:
        """A scheduler chooses the host, unless it is disabled."""
        if self.hosts[host].status != "enabled":
            return None
        return self.land(host, claim=claim, show=show)

    def land(self, host: str, *, claim: float = 0.0, show: float = 0.0) -> Boot:
        """A server lands, whether the host is disabled or not."""
        now = self.clock.seconds
        pool = frozenset(number for number, names in self.members.items() if host in names)
        made = Boot(f"server-{len(self.log)}-{len(self.boots)}", host, pool, now + claim, now + claim + show)
        self.boots.append(made)
        return made

    def claimed(self, host: str) -> list[Boot]:
        """Who holds an allocation on it now."""
        return [boot for boot in self.boots if boot.host == host and boot.claimed_at <= self.clock.seconds]

    def empty(self, host: str) -> None:
        """All servers leave it."""
        self.boots = [boot for boot in self.boots if boot.host != host]

    def operator_moves(self, host: str, pool: str) -> None:
        """Somebody else moves it, at once, and Placement learns it."""
        for number, names in self.members.items():
            if host in names:
                names.remove(host)
                self.hosts[host].mirror.discard(_uuid(number))
        self._put(POOLS.index(pool) + 1, host)

    def operator_disables(self, host: str, reason: str = "maintenance") -> None:
        """Somebody else disables it."""
        self._disable(host, reason)

    def operator_enables(self, host: str) -> None:
        """Somebody else enables it."""
        self._enable(host)

    def operator_syncs_mirror(self, host: str) -> None:
        """Somebody has Placement learn anew where Nova has the host."""
        self.hosts[host].mirror = {_uuid(n) for n, names in self.members.items() if host in names}

    # What moves ask

    def aggregates(self) -> tuple[Aggregate, ...]:
        with self._reading("aggregates", ""):
            return tuple(
                Aggregate(
                    id=number,
                    uuid=self.remade.get(number, _uuid(number)),
                    name=POOLS[number - 1],
                    hosts=tuple(names),
                    metadata={},
                    availability_zone=self.zones[number],
                )
                for number, names in self.members.items()
            )

    def compute_service(self, host: str) -> ComputeService:
        with self._reading("compute_service", host):
            found = self.hosts[host]
            return ComputeService(
                id=f"service-{host}",
                host=host,
                status=found.status,
                state="up",
                disabled_reason=found.reason,
            )

    def servers_on(self, host: str) -> tuple[Server, ...]:
        with self._reading("servers_on", host):
            now = self.clock.seconds
            return tuple(
                Server(
                    id=boot.id,
                    name=boot.id,
                    host=host,
                    hypervisor_hostname=host,
                    status="ACTIVE",
                    task_state=None,
                    project_id="p",
                    flavor=gpu_flavor(1),
                    updated="2030-01-01T00:00:00Z",
                )
                for boot in self.boots
                if boot.host == host and boot.shown_at <= now
            )

    def unfinished_migrations(self, host: str) -> tuple[Migration, ...]:
        with self._reading("unfinished_migrations", host):
            return tuple(one for one in self.migrations if host in (one.source_host, one.dest_host))

    def provider_tree(self, hypervisor: str) -> tuple[Provider, ...]:
        with self._reading("provider_tree", hypervisor):
            uuid = f"provider-{hypervisor}"
            return (Provider(uuid=uuid, name=hypervisor, root=uuid, generation=1),)

    def consumers(self, provider_uuids: Iterable[str]) -> frozenset[str]:
        host = _host_of(next(iter(provider_uuids)))
        with self._reading("consumers", host):
            return frozenset(boot.id for boot in self.claimed(host))

    def mirror(self, root_uuid: str) -> frozenset[str]:
        host = _host_of(root_uuid)
        with self._reading("mirror", host):
            return frozenset(self.hosts[host].mirror)

    def traits(self, root_uuid: str) -> frozenset[str]:
        host = _host_of(root_uuid)
        with self._reading("traits", host):
            at = self.hosts[host].trait_at
            shows = at is not None and at <= self.clock.seconds
            return frozenset({"COMPUTE_STATUS_DISABLED"} if shows else ())

    def add_host(self, aggregate_id: int, host: str) -> None:
        self._write("add_host", host, lambda: self._add(aggregate_id, host), POOLS[aggregate_id - 1])

    def remove_host(self, aggregate_id: int, host: str) -> None:
        self._write("remove_host", host, lambda: self._remove(aggregate_id, host), POOLS[aggregate_id - 1])

    def disable_service(self, service_id: str, reason: str) -> None:
        host = service_id.removeprefix("service-")
        self._write("disable_service", host, lambda: self._disable(host, reason), reason)

    def enable_service(self, service_id: str) -> None:
        host = service_id.removeprefix("service-")
        self._write("enable_service", host, lambda: self._enable(host), "")

    # How it does it

    @contextmanager
    def _reading(self, operation: str, host: str) -> Iterator[None]:
        self.before(operation, host)
        fault = self._fault(operation)
        if fault:
            raise _error(operation, fault.partition(" ")[0])
        yield

    def _write(self, operation: str, host: str, effect: Callable[[], None], what: str) -> None:
        self.before(operation, host)
        self.log.append((operation, host, what))
        fault = self._fault(operation)
        kind, _, when = fault.partition(" ")
        if not fault:
            effect()
        elif when == "after":
            _quietly(effect)
        elif when == "late":
            self._late.append((self.clock.seconds + 60.0, lambda: self._land_late(operation, host, effect)))
        self.after(operation, host)
        if fault:
            raise _error(operation, kind)

    def _land_late(self, operation: str, host: str, effect: Callable[[], None]) -> None:
        self.landed_late(operation, host)
        _quietly(effect)

    def _fault(self, operation: str) -> str:
        planned = self.faults.get(operation) or self.faults.get("*")
        if planned:
            return planned.pop(0)
        return self.outage or ""

    def _add(self, number: int, host: str) -> None:
        names = self.members[number]
        zone = self.zones[number]
        if zone is not None and zone not in self._zones_of(host) and self._instances(host):
            raise _error("add_host: the availability zone would change", "409")
        if any(other not in (None, zone) for other in self._zones_of(host)) and zone is not None:
            raise _error("add_host: already in another availability zone", "409")
        if host in names:
            raise _error("add_host: already has it", "409")
        names.append(host)
        if self.mirror_state == "down":
            raise _error("add_host: placement is down", "500")
        if self.mirror_state == "ok":
            self.hosts[host].mirror.add(_uuid(number))

    def _remove(self, number: int, host: str) -> None:
        names = self.members[number]
        zone = self.zones[number]
        others = {self.zones[n] for n, hosts in self.members.items() if host in hosts and n != number}
        if host in names and zone is not None and zone not in others and self._instances(host):
            raise _error("remove_host: the availability zone would change", "409")
        if self.mirror_state == "down":
            raise _error("remove_host: placement is down", "500")
        if self.mirror_state == "ok":
            self.hosts[host].mirror.discard(_uuid(number))
        if host not in names:
            raise _error("remove_host: not in it", "404")
        names.remove(host)

    def _zones_of(self, host: str) -> set[str | None]:
        return {self.zones[number] for number, names in self.members.items() if host in names}

    def _instances(self, host: str) -> bool:
        return any(boot.host == host and boot.shown_at <= self.clock.seconds for boot in self.boots)

    def _put(self, number: int, host: str) -> None:
        self.members[number].append(host)
        self.hosts[host].mirror.add(_uuid(number))

    def _disable(self, host: str, reason: str) -> None:
        found = self.hosts[host]
        if found.trait_at is None:
            found.trait_at = self.clock.seconds + self.trait_lag
        found.status, found.reason = "disabled", reason

    def _enable(self, host: str) -> None:
        found = self.hosts[host]
        found.status, found.reason, found.trait_at = "enabled", None, None


class Leaving:
    """The event of a stop whose waiting is the cloud's passing time."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud
        self.after_waits: int | None = None
        """In which wait, counted from 0, the stop comes; None: never."""

    def wait(self, seconds: float) -> bool:
        if self.after_waits is not None:
            if self.after_waits == 0:
                return True
            self.after_waits -= 1
        self._cloud.pass_time(seconds)
        return False

    def is_set(self) -> bool:
        return self.after_waits == 0


@dataclass
class Observed:
    """What a move told of itself."""

    steps: list[tuple[str, str, str]] = field(default_factory=list)
    ended: list[MoveRecord] = field(default_factory=list)

    def move_stepped(self, record: MoveRecord, step: str, phase: str, outcome: str, seconds: float) -> None:
        self.steps.append((step, phase, outcome))

    def move_ended(self, record: MoveRecord) -> None:
        self.ended.append(record)


class Spotd:
    """One daemon's executor over a fake cloud, with a lease of its own on a store."""

    def __init__(self, cloud: FakeCloud, store: Store, name: str = "a", **timing: float) -> None:
        self.cloud = cloud
        self.clock = cloud.clock
        self.journal = store.journal
        self.lease: Lease = store.lease(name, TTL)
        self.observed = Observed()
        self.leaving = Leaving(cloud)
        self.timing = Timing(**timing)
        self.has_snapshot = True
        self.moved: list[MoveOrder] = []
        self.rules = Rules()
        self.standing = Standing()
        self.executor = self.made(self.journal)

    def made(self, journal: Any) -> Executor:
        """An executor that writes into this journal."""
        return Executor(
            self.cloud,
            journal,
            grounds=self.grounds,
            timing=self.timing,
            clock=self.clock,
            observer=self.observed,
            leaving=self.leaving,  # type: ignore[arg-type]
            moved=self.moved.append,
            leads=lambda token: token == self.lease.token,
            sleep=self.cloud.pass_time,
        )

    def grounds(self) -> Grounds | None:
        """A snapshot as a daemon has it, read a moment ago."""
        if not self.has_snapshot:
            return None
        return Grounds(
            rules=self.rules,
            snapshot=snapshot_of(self.cloud, self.clock.now()),
            interpretation=default_interpretation(),
            standing=self.standing,
        )

    @property
    def token(self) -> int:
        """The token of a lease that this daemon must be able to have."""
        token = self.lease.try_acquire()
        assert token is not None
        return token

    def begin(self, order: MoveOrder) -> MoveRecord:
        """A move that holds its host."""
        return self.journal.begin(order, token=self.token, now=self.clock.now())

    def run(self, order: MoveOrder) -> MoveRecord:
        """A whole move."""
        return self.executor.run(self.begin(order), token=self.token)

    def settle(self) -> list[MoveRecord]:
        """All open moves, once."""
        return [self.executor.settle(record, token=self.token) for record in self.journal.open_moves()]


def snapshot_of(cloud: FakeCloud, now: datetime) -> Any:
    """What a daemon would have collected."""
    builder = FleetBuilder()
    for number, name in enumerate(POOLS, 1):
        builder.aggregate(name, zone=cloud.zones[number])
    for host in cloud.hosts:
        shown = sum(boot.shown_at <= cloud.clock.seconds for boot in cloud.claimed(host))
        builder.host(host, *cloud.pools_of(host), servers=(1,) * shown, netbox="active")
    for source in Source:
        builder.read(source, now)
    return builder.snapshot()


def place(pool: str) -> MovePlace:
    """The aggregate that stands for a pool."""
    number = POOLS.index(pool) + 1
    return MovePlace(id=number, uuid=_uuid(number), name=pool, pool=KINDS[pool])


def order(
    host: str = HOST, origin: str = ONDEMAND, to: str = SPOT, *, drain: float | None = None
) -> MoveOrder:
    """A move that a person asks for."""
    return MoveOrder(
        host=host,
        origin=place(origin),
        destination=place(to),
        gpu_type="H100",
        rule=None,
        asked_by="cli tester",
        reason="a trial",
        drain_deadline=None if drain is None else timedelta(seconds=drain),
    )


def store_on(clock: Clock) -> Store:
    """A journal in memory whose lease goes by this clock."""
    return open_store("sqlite://", clock=clock)


def _uuid(number: int) -> str:
    return f"aggregate-{number}"


def _host_of(provider: str) -> str:
    return provider.removeprefix("provider-")


def _quietly(effect: Callable[[], None]) -> None:
    """Nova refuses it, or not: nobody is told."""
    try:
        effect()
    except CloudError:
        return


def _error(what: str, kind: str) -> CloudError:
    reason, status = {**REFUSALS, **LOST, "wrong": (Failure.MALFORMED, 200)}[kind]
    return CloudError(reason, f"{what}: {kind}", status=status)
