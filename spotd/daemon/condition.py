"""What a region is in at this moment: whether it can be believed, and what its caches and agents hold."""

from collections.abc import Mapping
from datetime import datetime

from spotd.daemon.region import Region
from spotd.fleet.readings import Reading, Source
from spotd.fleet.snapshot import FleetSnapshot
from spotd.fleet.values import Aggregates, ComputeServices, Gpus, Inventory, Servers
from spotd.web.overview import AgentLine


def readiness(snapshot: FleetSnapshot | None, now: datetime, max_age_seconds: float) -> tuple[bool, str]:
    """Whether a snapshot exists, knows the hosts for sale and is young enough to be believed."""
    if snapshot is None:
        return False, "no snapshot yet"
    aggregates, services = snapshot.readings.aggregates, snapshot.readings.services
    if aggregates is None:
        return False, "aggregates: not known yet, or no more"
    if services is None:
        return False, "services: not known yet, or no more"
    age = services.age_seconds(now)
    sentence = f"the snapshot is {age:.0f} s old, at most {max_age_seconds:.0f} s are allowed"
    return age <= max_age_seconds, sentence


def agent_lines(region: Region, now: datetime) -> tuple[AgentLine, ...]:
    """Each agent's health in words."""
    return tuple(
        AgentLine(
            name=state.agent,
            answered={True: "yes", False: f"no: {state.last_failure_message}", None: "not asked yet"}[
                state.succeeded
            ],
            age="never"
            if state.last_success is None
            else f"{(now - state.last_success).total_seconds():.0f} s ago",
        )
        for state in region.collection.states()
    )


def cache_state(region: Region) -> Mapping[str, tuple[float | None, int | None]]:
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
