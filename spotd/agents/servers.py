"""The servers agent: compute services each time, all servers once, and then only what changed.

A refresh proves that it is whole before it counts. Nova leaves the servers of a cell that is down out
of a list and answers 200; its service list names that cell's hosts `UNKNOWN`. So what changed is asked
for after a service list that heard every cell, while the next one is asked for or after it, and a position
in time is trusted only once a service list after that heard every cell too.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import structlog

from spotd.agents.ahead import Ahead
from spotd.agents.position import AHEAD, position_at
from spotd.agents.state import Changes, Outcome
from spotd.clock import Clock
from spotd.clouds.errors import CloudError, Failure, incomplete
from spotd.clouds.nova import Nova, ServerChanges, ServicesAnswer
from spotd.fleet.readings import Reading, Source
from spotd.fleet.values import ComputeServices, Server, Servers

MISSING_CHECKED = 10
"""Servers that a walk no longer found and no deletion explains are asked for one by one, up to so many."""

WALK_AGAIN_SECONDS = 60.0
"""Earliest start of a walk after one that failed, where a list is followed anyway: a walk costs Nova dear."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Walk:
    """A full walk under way in its own thread, so that refreshes go on meanwhile."""

    began: datetime
    """Nova's clock before the first page."""
    started_at: float = 0.0
    """By our clock that only goes forward."""
    thread: threading.Thread | None = None
    servers: dict[str, Server] | None = None
    walked: int = 0
    error: Exception | None = None
    stopped: bool = False

    @property
    def is_under_way(self) -> bool:
        """Whether its thread still reads, or its result waits to be taken in."""
        is_alive = self.thread is not None and self.thread.is_alive()
        return is_alive or self.servers is not None or self.error is not None


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
        self._heard_all_cells = False
        self._walk: _Walk | None = None
        self._walk_due_at: float | None = None
        self._walk_again_at = float("-inf")
        self._is_distrusted = False

    def resume(self, servers: Mapping[str, Server], position: datetime) -> None:
        """Goes on from a stored list instead of walking all servers first."""
        self._servers = dict(servers)
        self._confirmed = self._pending = position
        self._walk_due_at = self._clock.monotonic() + self._full_resync_seconds

    @property
    def position(self) -> datetime | None:
        """The time up to which the list is proved whole; None while there is no list that can be trusted."""
        return None if self._servers is None or self._is_distrusted else self._confirmed

    def distrust(self) -> None:
        """Another source contradicts the list: all servers are walked anew, as soon as that is decent."""
        self._is_distrusted = True

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
        finished = self._finished_walk()
        asked_at = self._clock.monotonic()
        ahead = self._ask_ahead() if finished is None else None
        answer = self._hear_services()
        heartbeat = self._nova_time(answer.heartbeat, read_at)
        services: Reading[object] = Reading(value=ComputeServices(services=answer.services), read_at=read_at)
        items = {"services": len(answer.services)}
        publish(Outcome(readings={Source.SERVICES: services}, items=items))
        self._start_walk_if_due(heartbeat)
        if wait and self._servers is None and self._walk is not None and self._walk.thread is not None:
            self._walk.thread.join()
            finished = self._finished_walk()
            self._hear_services()
        if ahead is not None:
            # No later than the question for changes: the services were answered in the time since.
            heartbeat -= timedelta(seconds=self._clock.monotonic() - asked_at)
        touched = self._follow(finished, heartbeat, ahead)
        if touched is None or self._servers is None:
            return Outcome(readings={Source.SERVICES: services}, items=items | {"walked": self.walked or 0})
        changes.tell(_hypervisors(touched))
        changed = frozenset(server.host for server in touched if server.host is not None)
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

    def _hear_services(self) -> ServicesAnswer:
        """The services; once all cells are heard, what was read before counts as whole."""
        self._heard_all_cells = False
        try:
            answer = self._nova.compute_services()
            if not answer.services and self._servers:
                raise incomplete("nova: no compute service at all, where there were servers before")
        except CloudError as error:
            self._pending = self._confirmed  # what was read since may lack a cell
            if error.reason is Failure.INCOMPLETE:
                self._drop_walk()
            raise
        self._confirmed = self._pending
        self._heard_all_cells = True
        return answer

    def _nova_time(self, heartbeat: datetime | None, now: datetime) -> datetime:
        """A time that Nova's clock has surely reached, by which the list can be followed.

        Raises:
            CloudError: `MALFORMED` where its clock and ours are too far apart.
        """
        if heartbeat is None:
            return self._confirmed or now - AHEAD
        try:
            return position_at(heartbeat, now, self._overlap, "nova: compute services that are up say")
        except CloudError:
            self._pending = self._confirmed
            raise

    def _ask_ahead(self) -> Ahead[ServerChanges] | None:
        """Asks what changed while the services are asked for; None where that would prove nothing.

        After a service list that failed, a cell may still be down now and be back when the next is answered.
        """
        if self._servers is None or self._confirmed is None or not self._heard_all_cells:
            return None
        since = self._confirmed - self._overlap
        return Ahead(lambda: self._nova.server_changes(since), "server changes")

    def _finished_walk(self) -> _Walk | None:
        """The walk that ended before now: only the next service list proves that it met every cell."""
        walk = self._walk
        return walk if walk is not None and (walk.servers is not None or walk.error is not None) else None

    def _end_walk(self) -> None:
        """The walk is taken in or has failed; the next waits where a list is followed anyway."""
        now = self._clock.monotonic()
        took = now - self._walk.started_at if self._walk is not None else 0.0
        self._walk = None
        self._walk_due_at = now + WALK_AGAIN_SECONDS if self._servers else None
        # A list that is distrusted is walked again, and Nova is left alone for as long as that took.
        self._walk_again_at = now + min(took, WALK_AGAIN_SECONDS)

    def _drop_walk(self) -> None:
        self.close()
        self._walk = None

    def _follow(
        self, walk: _Walk | None, heartbeat: datetime, ahead: Ahead[ServerChanges] | None
    ) -> tuple[Server, ...] | None:
        """Brings the list up to date; the servers touched, None while there is no list yet."""
        if walk is not None and walk.error is not None:
            self._end_walk()
            raise walk.error
        before, confirmed = self._servers, self._confirmed
        walked = walk.servers if walk is not None else None
        if before is None and walked is None:
            return None
        began = walk.began if walk is not None else None
        since = min((moment for moment in (began, confirmed) if moment is not None), default=heartbeat)
        found = self._nova.server_changes(since - self._overlap) if ahead is None else ahead.answer()
        base = walked if walked is not None else before
        after = _applied(base or {}, found)
        if walked is not None:
            self._end_walk()
            self._prove_whole(before, after, found)
            self._walk_due_at = self._clock.monotonic() + self._full_resync_seconds
            self._is_distrusted = False
            log.info("all servers walked", servers=len(after))
        self._servers = after
        self._pending = heartbeat if self._pending is None else max(heartbeat, self._pending)
        if self._confirmed is None:
            self._confirmed = since
        return touched_servers(before or {}, after)

    def _prove_whole(
        self, before: Mapping[str, Server] | None, after: Mapping[str, Server], found: ServerChanges
    ) -> None:
        """A server that the walk lost must be gone: a cell that failed during it leaves its servers out."""
        if before is None:
            return
        lost = [
            server_id for server_id in before if server_id not in after and server_id not in found.deleted
        ]
        # Spread over the list, so that some of each cell's are among them.
        for server_id in islice(lost[:: max(1, len(lost) // MISSING_CHECKED)], MISSING_CHECKED):
            if self._nova.server_exists(server_id):
                raise incomplete(f"nova: the walk over all servers lost {len(lost)} that still exist")

    def _start_walk_if_due(self, heartbeat: datetime) -> None:
        if self._walk is not None and self._walk.is_under_way:
            return
        now = self._clock.monotonic()
        is_early = self._walk_due_at is not None and now < self._walk_due_at
        if is_early and not (self._is_distrusted and now >= self._walk_again_at):
            return
        walk = _Walk(began=heartbeat, started_at=now)
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


def _applied(base: Mapping[str, Server], found: ServerChanges) -> dict[str, Server]:
    after = dict(base)
    after.update((server.id, server) for server in found.changed)
    for server_id in found.deleted:
        after.pop(server_id, None)
    return after


def _hypervisors(servers: Iterable[Server]) -> frozenset[str]:
    """The names that Placement knows the servers' hosts by."""
    names = (server.hypervisor_hostname or server.host for server in servers)
    return frozenset(name for name in names if name is not None)


def touched_servers(before: Mapping[str, Server], after: Mapping[str, Server]) -> tuple[Server, ...]:
    """Servers that came, went or changed between two lists, as they were and as they are."""
    touched: list[Server] = []
    for server_id, server in after.items():
        old = before.get(server_id)
        if old is not server and old != server:
            touched += [server] if old is None else [old, server]
    touched += [before[server_id] for server_id in before.keys() - after.keys()]
    return tuple(touched)
