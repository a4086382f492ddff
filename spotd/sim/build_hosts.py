"""How large a cloud is built, and its hosts with their provider trees."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from spotd.sim.identity import stable_id
from spotd.sim.ledger import TRAITS, Inventory, Provider
from spotd.sim.records import Host
from spotd.sim.world import World


@dataclass(frozen=True, slots=True)
class CloudSize:
    """How large a cloud to build."""

    hosts: int = 120
    servers: int | None = None
    """How many servers; None fills roughly 60 % of the GPUs."""
    projects: int = 20
    gpus_per_host: int = 8
    gpu_model: Literal["root", "children"] = "root"
    """Whether GPUs are inventory of the host's provider, or a child provider each."""
    netbox: bool = True
    compute_path: str = "/v2.1"
    """Path of the compute endpoint in the catalog: also `/v2`, none at all, either below the path that a web
    server gives Nova, such as `/compute`, and with `/%(tenant_id)s` at its end."""
    netbox_version: str = "4.7"
    """The release that NetBox answers like: 3.5 and those after it."""
    hypervisor_domain: str = ""
    """Appended to host names to make hypervisor hostnames, such as `.gpu.example`."""
    full_hosts: int = 0
    """More hosts, whose servers leave nothing free of any resource class."""
    sliced_hosts: int = 0
    """More hosts, whose GPUs are cut into slices of a class of their own, all of them sold."""
    one_time_use_hosts: int = 0
    """More hosts with one-time-use GPUs: half of them in use, one used and not cleaned, the others clean."""
    bare_metal_nodes: int = 0
    """Bare-metal nodes behind one ironic compute service, every second with a server."""
    bare_metal_computes: int = 1
    """How many ironic compute services share these nodes."""


def add_host(world: World, size: CloudSize, name: str, gpu_class: str, index: int) -> Host:
    """Take a compute host with its provider tree into the world."""
    now = world.now()
    hypervisor = name + size.hypervisor_domain
    root = stable_id("provider", hypervisor)
    host = Host(
        name=name,
        hypervisor_hostname=hypervisor,
        cell="cell1" if index % 5 < 3 else "cell2",  # noqa: PLR2004 - three fifths
        service_id=index + 4,
        service_uuid=stable_id(world.seed, "service", name),
        hypervisor_id=index + 1,
        provider_uuid=root,
        started_at=now - timedelta(days=30, seconds=index % 60),
        gpu_class=gpu_class,
        gpus=size.gpus_per_host,
    )
    world.computes.add(host)
    world.ledger.add(_root(host, size))
    if size.gpu_model == "children":
        for number in range(size.gpus_per_host):
            world.ledger.add(_child(host, number))
    return host


def _root(host: Host, size: CloudSize) -> Provider:
    inventories = {
        "VCPU": Inventory(256, allocation_ratio=4.0),
        "MEMORY_MB": Inventory(2_000_000, reserved=512),
        "DISK_GB": Inventory(30_000),
    }
    if size.gpu_model == "root" and host.gpu_class is not None:
        inventories[host.gpu_class] = Inventory(host.gpus)
    kind = (host.gpu_class or "").replace("CUSTOM_GPU_", "CUSTOM_GPUTYPE_")
    return Provider(
        host.provider_uuid,
        host.hypervisor_hostname,
        host.started_at,
        root=host.provider_uuid,
        generation=2,
        inventories=inventories,
        traits=[*TRAITS, kind] if kind else list(TRAITS),
    )


def _child(host: Host, number: int) -> Provider:
    name = f"{host.hypervisor_hostname}_0000:{0x17 + 8 * number:02x}:00.0"
    return Provider(
        stable_id("provider", name),
        name,
        host.started_at,
        root=host.provider_uuid,
        parent=host.provider_uuid,
        generation=2,
        inventories={host.gpu_class or "PCI_DEVICE": Inventory(1)},
        traits=["OWNER_NOVA", "COMPUTE_MANAGED_PCI_DEVICE"],
    )
