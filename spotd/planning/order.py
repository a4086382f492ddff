"""Which of the hosts that may move are taken first."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from spotd.fleet.snapshot import Host
from spotd.planning.models import Criterion

_NEVER_SEEN = datetime.max.replace(tzinfo=UTC)


def in_order(
    hosts: Sequence[Host], criteria: Sequence[Criterion], empty_since: Mapping[str, datetime]
) -> list[Host]:
    """The hosts by these criteria, the first the most important; servers first of all, the name at last.

    Hosts of which nobody knows since when they are empty come after those of which it is known.
    """
    keys: dict[Criterion, Callable[[Host], Any]] = {
        "longest-empty": lambda host: empty_since.get(host.name, _NEVER_SEEN),
        # Unknown counts as NVLink here: those hosts are the last to be given away.
        "nvlink-last": lambda host: host.nvlink is not False,
        "site": lambda host: (host.site is None, host.site or ""),
        "name": lambda host: host.name,
    }
    ordered = sorted(hosts, key=keys["name"])
    for criterion in reversed(criteria):
        ordered.sort(key=_rack_turns(ordered) if criterion == "rack-spread" else keys[criterion])
    ordered.sort(key=lambda host: len(host.server_ids or ()))
    return ordered


def _rack_turns(ordered: Sequence[Host]) -> Callable[[Host], int]:
    """One host of each rack, then a second of each, and so on."""
    seen: Counter[tuple[str | None, str | None]] = Counter()
    turns: dict[str, int] = {}
    for host in ordered:
        rack = (host.site, host.rack)
        turns[host.name] = seen[rack]
        seen[rack] += 1
    return lambda host: turns[host.name]
