"""The servers agent: compute services each time, all servers once, and then only what changed.

A refresh proves that it is whole before it counts. Nova leaves the servers of a cell that is down out
of a list and answers 200; its service list names that cell's hosts `UNKNOWN`. So the services are read
first, and a position in time is trusted only after the *next* service list heard every cell too.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import structlog

from spotd.agents.state import Changes, Outcome
from spotd.clock import Clock
from spotd.clouds.errors import CloudError, incomplete
from spotd.clouds.nova import Nova, ServerChanges, ServicesAnswer
from spotd.fleet.readings import Reading, Source
from spotd.fleet.values import ComputeServices, Server, Servers

MISSING_CHECKED = 10
"""Servers that a walk no longer found and no deletion explains are asked for one by one, up to so many."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far the server list has been followed, by Nova's clock."""

    time: datetime
    """Every change before this is in the list."""


@dataclass(slots=True)
class _Walk:
    """A full walk under way in its own thread, so that refreshes go on meanwhile."""

    began: datetime
    """Nova's clock before the first page."""
    thread: threading.Thread | None = None
    servers: dict[str, Server] | None = None
    walked: int = 0
    error: Exception | None = None
    stopped: bool = False


class ServersAgent:
    """Keeps the list of all servers; one thread at a time may call `collect`."""

    def __init__(
        self, nova: Nova, clock: Clock, *, full_resync_seconds: float, overlap_seconds: float
    ) -> None:
        self._nova = nova
        self._clock = clock
        self._full_resync_seconds = full_resync_seconds
        self._overlap = timedelta(seconds=overlap_seconds)
        self._servers: dict[str, Server] | None = None
        self._confirmed: datetime | None = None
        self._pending: datetime | None = None
        self._walk: _Walk | None = None
        self._walked_at: float | None = None

    def resume(self, servers: Mapping[str, Server], position: datetime) -> None:
        """Goes on from a stored list instead of walking all servers first."""
        self._servers = dict(servers)
        self._confirmed = self._pending = position
        self._walked_at = self._clock.monotonic()

    @property
    def position(self) -> datetime | None:
        """The time up to which the list is proved whole; None before the first walk is done."""
        return self._confirmed if self._servers is not None else None

    @property
    def walked(self) -> int | None:
        """Servers that the walk under way has read; None when none is under way."""
        return self._walk.walked if self._walk is not None else None

    def collect(self, changes: Changes, publish: Callable[[Outcome], None], *, wait: bool = False) -> Outcome:
        """Services, and the servers where they are known.

        Args:
            changes: Told which hosts' servers changed.
            publish: Given the services as soon as they are known.
            wait: Wait for a walk that is needed, instead of leaving the servers unknown until it is done.

        Raises:
            CloudError: No whole answer; `INCOMPLETE` where a cell is down or a walk lost servers.
        """
        read_at = self._clock.now()
        try:
            answer = self._nova.compute_services()
        except CloudError:
            self._pending = self._confirmed  # what was read since may lack a cell
            raise
        if not answer.services and self._servers:
            self._pending = self._confirmed
            raise incomplete("nova: no compute service at all, where there were servers before")
        services: Reading[object] = Reading(value=ComputeServices(services=answer.services), read_at=read_at)
        publish(Outcome(readings={Source.SERVICES: services}, items={"services": len(answer.services)}))
        self._confirmed = self._pending
        heartbeat = answer.heartbeat or self._confirmed or read_at
        self._start_walk_if_due(heartbeat)
        if wait and self._servers is None and self._walk is not None and self._walk.thread is not None:
            self._walk.thread.join()
        changed = self._follow(answer, heartbeat)
        items = {"services": len(answer.services)}
        if changed is None or self._servers is None:
            return Outcome(readings={Source.SERVICES: services}, items=items | {"walked": self.walked or 0})
        changes.tell(changed)
        servers: Reading[object] = Reading(
            value=Servers(servers=dict(self._servers), changed_hosts=changed), read_at=read_at
        )
        return Outcome(
            readings={Source.SERVICES: services, Source.SERVERS: servers},
            items=items | {"servers": len(self._servers), "changed_hosts": len(changed)},
        )

    def close(self) -> None:
        """Tells a walk to stop after its page."""
        if self._walk is not None:
            self._walk.stopped = True

    def _follow(self, answer: ServicesAnswer, heartbeat: datetime) -> frozenset[str] | None:
        """Brings the list up to date; the hosts touched, None while there is no list yet."""
        walk = self._walk
        if walk is not None and walk.error is not None:
            self._walk = None
            raise walk.error
        done = walk is not None and walk.servers is not None
        if self._servers is None and not done:
            return None
        since = walk.began if done and walk else self._confirmed
        if self._confirmed is not None and since is not None:
            since = min(since, self._confirmed)
        found = self._nova.server_changes((since or heartbeat) - self._overlap)
        before = self._servers
        base = walk.servers if done and walk and walk.servers is not None else dict(before or {})
        after = _applied(base, found)
        if done:
            self._walk = None
            self._prove_whole(before, after, found)
            self._walked_at = self._clock.monotonic()
            log.info("all servers walked", servers=len(after))
        self._servers = after
        self._pending = heartbeat if self._pending is None else max(heartbeat, self._pending)
        if self._confirmed is None:
            self._confirmed = since
        return touched_hosts(before or {}, after)

    def _prove_whole(
        self, before: Mapping[str, Server] | None, after: Mapping[str, Server], found: ServerChanges
    ) -> None:
        """A server that the walk lost must be gone: a cell that failed during it leaves its servers out."""
        if before is None:
            return
        lost = [
            server_id for server_id in before if server_id not in after and server_id not in found.deleted
        ]
        for server_id in islice(lost, MISSING_CHECKED):
            if self._nova.server_exists(server_id):
                raise incomplete(f"nova: the walk over all servers lost {len(lost)} that still exist")

    def _start_walk_if_due(self, heartbeat: datetime) -> None:
        if self._walk is not None:
            return
        if (
            self._walked_at is not None
            and self._clock.monotonic() - self._walked_at < self._full_resync_seconds
        ):
            return
        walk = _Walk(began=heartbeat)
        walk.thread = threading.Thread(
            target=self._run_walk, args=(walk,), name="spotd server walk", daemon=True
        )
        self._walk = walk
        walk.thread.start()

    def _run_walk(self, walk: _Walk) -> None:
        servers: dict[str, Server] = {}
        try:
            for page in self._nova.server_pages():
                servers.update((server.id, server) for server in page)
                walk.walked = len(servers)
                if walk.stopped:
                    return
        except Exception as error:  # noqa: BLE001 - the edge of a thread: the next `collect` raises it
            walk.error = error
        else:
            walk.servers = servers


def _applied(base: dict[str, Server], found: ServerChanges) -> dict[str, Server]:
    for server in found.changed:
        base[server.id] = server
    for server_id in found.deleted:
        base.pop(server_id, None)
    return base


def touched_hosts(before: Mapping[str, Server], after: Mapping[str, Server]) -> frozenset[str]:
    """Hosts on which a server came, went or changed between two lists."""
    hosts: set[str | None] = set()
    for server_id, server in after.items():
        old = before.get(server_id)
        if old is not server and old != server:
            hosts.add(server.host)
            hosts.add(old.host if old else None)
    if len(before) + len(after) and before.keys() != after.keys():
        hosts.update(before[server_id].host for server_id in before.keys() - after.keys())
    return frozenset(host for host in hosts if host is not None)
