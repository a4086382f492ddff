"""One colour for one thing, on every board, readable on light and dark: pools, reasons, outcomes, states.

Green, yellow and red belong to thresholds and outcomes: nothing that is named here wears them otherwise. What
only a region can name (GPU types, instances) takes Grafana's palette in the order of its names.
"""

from collections.abc import Mapping

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import OutOfStock, Pool

GOOD = "#56A64B"
WARN = "#E0B400"
BAD = "#E02F44"
CALM = "#3274D9"
"""A value that has no good and no bad."""
MUTED = "#8E8E8E"

POOLS: Mapping[str, str] = {
    Pool.ONDEMAND: "#3274D9",
    Pool.SPOT: "#A352CC",
    Pool.RUNPOD: "#1F9E9E",
    Pool.CONTRACT: "#C4643B",
    Pool.TESTING: "#8E8E8E",
}

REASONS: Mapping[str, str] = {
    OutOfStock.NETBOX_STATUS: "#5AA0D8",
    OutOfStock.NO_COMPUTE_SERVICE: "#55779F",
    OutOfStock.BARE_METAL: "#7C6F64",
    OutOfStock.TESTING: "#8E8E8E",
    OutOfStock.NO_POOL: "#B877D9",
    OutOfStock.SEVERAL_POOLS: "#8440AD",
    OutOfStock.SERVICE_DISABLED: "#C98A4B",
    OutOfStock.SERVICE_DOWN: "#B5602E",
}
"""Why a host is out of stock."""

SOURCES: Mapping[str, str] = {
    Source.NETBOX: "#C98A4B",
    Source.AGGREGATES: "#B877D9",
    Source.SERVICES: "#8AB8FF",
    Source.SERVERS: "#3274D9",
    Source.GPUS: "#1F9E9E",
    "snapshot": MUTED,
}
"""Who asks the clouds, what they tell, and the layer of the cache that keeps it."""

CLOUDS: Mapping[str, str] = {
    "keystone": "#B877D9",
    "nova": "#3274D9",
    "placement": "#1F9E9E",
    "netbox": "#C98A4B",
}
"""The services that are asked."""

OUTCOMES: Mapping[str, str] = {"done": GOOD, "undone": WARN, "refused": MUTED, "stranded": BAD}
"""How a move ended."""

CYCLES: Mapping[str, str] = {
    "observing": "#B8B8B8",
    "not_leader": MUTED,
    "frozen": "#8AB8FF",
    "blocked": WARN,
    "settled": "#1F9E9E",
    "planned": CALM,
    "moved": GOOD,
    "failed": BAD,
}
"""What became of a cycle of rebalancing."""

NO_WORD = ("none known", MUTED)
"""For an empty label: the fact does not exist, or nobody tells it."""


def named(colours: Mapping[str, str], *, without: str | None = None) -> dict[str, tuple[str, str]]:
    """Each name in its colour, spelled with blanks; `without`: what an empty label is called."""
    spelled = {name: (name.replace("_", " "), colour) for name, colour in colours.items()}
    return spelled if without is None else {**spelled, "": (without, MUTED)}
