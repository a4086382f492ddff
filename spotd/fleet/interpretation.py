"""How names are read: what an aggregate, a resource class, a PCI alias or a flavor name stands for.

The fleet room takes these as plain values so that it knows no configuration format; the daemon
makes them from the settings. Nothing about a GPU type is written here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePattern:
    """An aggregate whose whole name fits `name` stands for `pool`; groups of the pattern fill in the rest."""

    name: re.Pattern[str]
    pool: str
    variant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpretation:
    """Everything needed to turn names into GPU types, pools and counts."""

    patterns: tuple[NamePattern, ...]
    resource_classes: tuple[re.Pattern[str], ...]
    """Resource classes that are GPUs; a group `gpu_type` names the type."""
    other_classes: tuple[re.Pattern[str], ...] = ()
    """Resource classes and PCI aliases that are no GPUs; `class_types` and `pci_aliases` go before."""
    class_types: Mapping[str, str] = field(default_factory=dict)
    pci_aliases: Mapping[str, str] = field(default_factory=dict)
    gpu_tags: Mapping[str, str] = field(default_factory=dict)
    gpu_roles: frozenset[str] = frozenset()
    gpus_per_host: Mapping[str, int] = field(default_factory=dict)
    flavor_name: re.Pattern[str]
    """Whole flavor names that tell a number of GPUs in the group `gpus`."""


NEVER_GPUS = frozenset(
    {
        *(
            "VCPU",
            "PCPU",
            "MEMORY_MB",
            "DISK_GB",
            "IPV4_ADDRESS",
            "FPGA",
            "SRIOV_NET_VF",
            "VGPU_DISPLAY_HEAD",
        ),
        *("NUMA_SOCKET", "NUMA_CORE", "NUMA_THREAD", "NUMA_MEMORY_MB", "MEM_ENCRYPTION_CONTEXT"),
        *("NET_BW_EGR_KILOBIT_PER_SEC", "NET_BW_IGR_KILOBIT_PER_SEC", "NET_PACKET_RATE_KILOPACKET_PER_SEC"),
        *("NET_PACKET_RATE_EGR_KILOPACKET_PER_SEC", "NET_PACKET_RATE_IGR_KILOPACKET_PER_SEC"),
    }
)
"""Standard resource classes that are no GPU on any cloud; VGPU, PGPU and PCI_DEVICE may be.

Source: os-resource-classes 1.1, `STANDARDS`.
"""


EXPLAINED_BY = "gpus.class_types, resource_classes or pci_aliases; gpus.other_classes where they are none"
"""Settings that say of a resource class whether its units are GPUs."""


def canonical(name: str) -> str:
    """A GPU type's spelling for comparison: `RTX-A6000`, `RTX_A6000` and `rtx-a6000` are one type."""
    return re.sub(r"[^0-9A-Z]+", "_", name.upper()).strip("_")
