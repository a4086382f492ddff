"""Hosts that a move of spotd closed and that no move in this journal holds: nobody would ever open them."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

import structlog

from spotd.fleet.snapshot import FleetSnapshot, Host
from spotd.moves.hands import OWNER_TAG

SURE_AFTER = timedelta(seconds=60)
"""Between two readings that both show it: a move that ends is in the journal before the reading is."""

log = structlog.get_logger(__name__)


def closed_by(host: Host) -> str | None:
    """The id of the move that closed it; None where it is open, or closed by somebody else."""
    reason = host.disabled_reason or ""
    if host.service_status != "disabled" or not reason.startswith(OWNER_TAG):
        return None
    return reason.removeprefix(OWNER_TAG).partition(" ")[0]


def closed_by_others(snapshot: FleetSnapshot, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Host and move, for each that a move closed which is not among the known ones."""
    for host in snapshot.hosts.values():
        move_id = closed_by(host)
        if move_id is not None and move_id not in known:
            yield host.name, move_id


class Forsaken:
    """Remembers since which reading hosts are closed so: a journal was lost, or is not the only one."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], datetime] = {}
        self._told: set[tuple[str, str]] = set()

    def look(self, snapshot: FleetSnapshot, known: Collection[str]) -> tuple[str, ...]:
        """The hosts that surely are so; each is logged once. `known`: the ids of all open moves."""
        services = snapshot.readings.services
        if services is None:
            return ()
        now = services.read_at
        self._since = {found: self._since.get(found, now) for found in closed_by_others(snapshot, known)}
        sure = {found for found, since in self._since.items() if now - since >= SURE_AFTER}
        for host, move_id in sorted(sure - self._told):
            log.error("host is closed by a move that the journal does not have", host=host, move_id=move_id)
        self._told = sure
        return tuple(sorted(host for host, _ in sure))
