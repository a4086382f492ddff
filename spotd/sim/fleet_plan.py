"""What a seeded fleet is made of: GPU kinds, host groups with their weights, and the order they come in."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuKind:
    """One GPU type with the words Placement, Nova and NetBox have for it."""

    name: str
    resource_class: str
    inventory_name: str
    tags: tuple[str, ...]
    model: str
    nvlink_model: str
    maker: str


@dataclass(frozen=True, slots=True)
class HostGroup:
    """Hosts that begin in one aggregate (None: in none); `weight` of 24 hosts, at most `most`."""

    aggregate: str | None
    prefix: str
    kind: GpuKind
    weight: int
    most: int | None = None
    nvlink: bool = False
    fill: float = 0.72
    """The share of its GPUs that the first servers take."""


H100 = GpuKind(
    "H100",
    "CUSTOM_GPU_H100",
    "H100-PCIe",
    ("h100", "nvidia-h100-pcie"),
    "ESC8000-H100-PCIe",
    "ESC8000-H100-NVLink",
    "ASUS",
)
A100 = GpuKind(
    "A100",
    "CUSTOM_GPU_A100",
    "A100-PCIe",
    ("a100", "nvidia-a100-pcie"),
    "ESC8000-A100-PCIe",
    "ESC8000-A100-NVLink",
    "ASUS",
)
L40 = GpuKind("L40", "CUSTOM_GPU_L40", "L40", ("l40",), "ESC8000-L40", "ESC8000-L40", "ASUS")
A6000 = GpuKind(
    "RTX-A6000",
    "CUSTOM_GPU_RTX_A6000",
    "RTX-A6000",
    ("rtx-a6000",),
    "SYS-4029GP-A6000",
    "SYS-4029GP-A6000",
    "Supermicro",
)
KINDS = (H100, A100, L40, A6000)
FLAVOR_GPUS = (1, 2, 4, 8)

GROUPS = (
    HostGroup("H100-n3", "h100-n3", H100, 5),
    HostGroup("H100-n3-NVLink", "h100-nvl", H100, 2, nvlink=True),
    HostGroup("H100-n3-spot", "h100-spot", H100, 2, fill=0.45),
    HostGroup("H100-n3-runpod", "h100-rp", H100, 2),
    HostGroup("A100-n3", "a100-n3", A100, 2),
    HostGroup("A100-n3-spot", "a100-spot", A100, 1, fill=0.45),
    HostGroup("L40-n3", "l40-n3", L40, 2),
    HostGroup("L40-n3-spot", "l40-spot", L40, 1, fill=0.45),
    HostGroup("RTX-A6000-n3", "a6000-n3", A6000, 2),
    HostGroup("RTX-A6000-n3-spot", "a6000-spot", A6000, 1, fill=0.45),
    HostGroup("Contract-ACME-16xH100", "h100-acme", H100, 2, most=2, fill=0.85),
    HostGroup("tempest", "tempest", L40, 1, most=4, fill=0.0),
    HostGroup(None, "spare", H100, 1, fill=0.0),
)


def host_groups(count: int) -> Iterator[HostGroup]:
    """The group of each of `count` hosts, mixed so that small fleets have most groups too."""
    credit = dict.fromkeys(range(len(GROUPS)), 0)
    taken = dict.fromkeys(range(len(GROUPS)), 0)
    for _ in range(count):
        open_groups = [i for i, group in enumerate(GROUPS) if group.most is None or taken[i] < group.most]
        for i in open_groups:
            credit[i] += GROUPS[i].weight
        best = max(open_groups, key=lambda i: (credit[i], -i))
        credit[best] -= sum(GROUPS[i].weight for i in open_groups)
        taken[best] += 1
        yield GROUPS[best]
