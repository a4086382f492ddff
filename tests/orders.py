"""Orders and times for tests of what is kept of moves."""

from datetime import UTC, datetime, timedelta
from typing import Any

from spotd.store.records import MoveOrder, MovePlace

NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
LATER = NOW + timedelta(seconds=90)
TTL = timedelta(seconds=10)


def place(name: str = "H100-n3", **changed: Any) -> MovePlace:
    return MovePlace(**{"id": 3, "uuid": f"uuid of {name}", "name": name, "pool": "ondemand"} | changed)


def order(host: str = "gpu-1", **changed: Any) -> MoveOrder:
    values = {
        "host": host,
        "origin": place(),
        "destination": place("H100-n3-spot", id=4, uuid=None, pool="spot"),
        "gpu_type": "H100",
        "rule": "lend",
        "asked_by": "rule lend",
        "reason": "7 free hosts",
        "drain_deadline": None,
    }
    return MoveOrder(**values | changed)
