"""Hosts and providers of the rarer shapes: sold out, cut into slices, of one-time use, bare metal."""

from dataclasses import replace
from datetime import timedelta

from spotd.sim.build_hosts import CloudSize, add_host
from spotd.sim.fleet_plan import H100, HostGroup
from spotd.sim.identity import stable_id
from spotd.sim.ledger import Inventory, Provider
from spotd.sim.records import Flavor, Host
from spotd.sim.world import World

POOL = "H100-n3"
SLICE_CLASS = "CUSTOM_MIG_1G_10GB"
SLICES = 7
"""Of one GPU. Source: NVIDIA's MIG guide, profile 1g.10gb of an H100."""
PARTS = 4
NODE_CLASS = "CUSTOM_BAREMETAL_H100"
ONE_TIME_USE = "HW_PCI_ONE_TIME_USE"


def add_shapes(world: World, size: CloudSize) -> dict[str, HostGroup]:
    """Add the hosts that the size asks for; the group of each that is a host of its own."""
    placed: dict[str, HostGroup] = {}
    for shape, count in (
        ("full", size.full_hosts),
        ("sliced", size.sliced_hosts),
        ("once", size.one_time_use_hosts),
    ):
        for number in range(count):
            name = f"{shape}-{number + 1:03d}"
            model = replace(size, gpu_model="children") if shape == "once" else size
            add_host(world, model, name, H100.resource_class, len(world.computes.hosts))
            world.add_host(POOL, name)
            placed[name] = HostGroup(POOL, shape, H100, 1)
            if shape == "full":
                fill(world, name)
            elif shape == "sliced":
                slice_gpus(world, name)
            else:
                _use_once(world, name, size.gpus_per_host)
    if size.bare_metal_nodes:
        names = [f"ironic-{number + 1}" for number in range(size.bare_metal_computes)]
        add_bare_metal(world, names, size.bare_metal_nodes)
    return placed


def fill(world: World, host: str) -> None:
    """Boot servers that take all that is left on a host, of every resource class."""
    left: dict[str, int] = {}
    for provider in world.ledger.tree(world.host(host).provider_uuid):
        for name, inventory in provider.inventories.items():
            free = inventory.capacity - provider.used.get(name, 0)
            left[name] = left.get(name, 0) + max(0, free)
    # No server may have more than an inventory's total, of which processors are sold four times.
    for number in range(PARTS):
        part = {name: amount // (PARTS - number) for name, amount in left.items()}
        left = {name: amount - part[name] for name, amount in left.items()}
        vcpus, ram, disk = (part.pop(name) for name in ("VCPU", "MEMORY_MB", "DISK_GB"))
        specs = {f"resources:{name}": str(amount) for name, amount in part.items()}
        world.boot(
            host, world.add_flavor(f"{host}-{number}", vcpus=vcpus, ram=ram, disk=disk, extra_specs=specs)
        )


def slice_gpus(world: World, host: str) -> None:
    """Cut a host's unused GPUs into slices of a class of their own, and sell every slice."""
    flavor = _flavor(world, "mig-1g.10gb", {f"resources:{SLICE_CLASS}": "1"})
    slices = 0
    for provider in world.ledger.tree(world.host(host).provider_uuid):
        for name in [name for name in provider.inventories if name == H100.resource_class]:
            total = provider.inventories.pop(name).total * SLICES
            provider.inventories[SLICE_CLASS] = Inventory(total)
            provider.touch(world.now())
            slices += total
    world.ledger.classes.add(SLICE_CLASS)
    for _ in range(slices):
        world.boot(host, flavor)


def use_once(world: World, host: str) -> None:
    """Make each of a host's GPU providers a one-time-use device: what is claimed stays reserved."""
    for provider in world.ledger.tree(world.host(host).provider_uuid):
        if provider.parent is not None:
            for inventory in provider.inventories.values():
                inventory.one_time_use = True
            world.ledger.set_trait(provider.uuid, ONE_TIME_USE, present=True, now=world.now())


def clean(world: World, host: str) -> None:
    """Clean every one-time-use device of a host that nobody uses: it can be sold again."""
    with world.lock:
        for provider in world.ledger.tree(world.host(host).provider_uuid):
            for name, inventory in provider.inventories.items():
                if inventory.one_time_use and not provider.used.get(name):
                    inventory.reserved = 0
                    provider.touch(world.now())


def add_bare_metal(
    world: World, computes: list[str], nodes: int, *, resource_class: str = NODE_CLASS
) -> list[str]:
    """Bare-metal nodes that ironic compute services share, every second with a server; their uuids.

    Nova names the hypervisor and the provider by the node's uuid; a node has one unit of its class alone.
    """
    now, domain = world.now(), len(world.computes.hosts)
    names = [stable_id(world.seed, "node", computes[0], number) for number in range(nodes)]
    for name in names:
        inventories = {resource_class: Inventory(1)}
        traits = ["COMPUTE_NODE", "OWNER_NOVA"]
        world.ledger.add(Provider(name, name, now, root=name, inventories=inventories, traits=traits))
    for number, compute in enumerate(computes):
        world.computes.add(
            Host(
                name=compute,
                hypervisor_hostname=names[0],
                cell="cell1",
                service_id=domain + number + 4,
                service_uuid=stable_id(world.seed, "service", compute),
                hypervisor_id=domain + number + 1,
                provider_uuid=names[0],
                started_at=now - timedelta(days=30),
                nodes=tuple(names),
            )
        )
    zero = {f"resources:{name}": "0" for name in ("VCPU", "MEMORY_MB", "DISK_GB")}
    flavor = _flavor(world, "bm-H100x8", zero | {f"resources:{resource_class}": "1"})
    for number in range((nodes + 1) // 2):
        world.boot(computes[number % len(computes)], flavor)
    return names


def _use_once(world: World, host: str, gpus: int) -> None:
    use_once(world, host)
    flavor = world.servers.flavor(f"n3-{H100.name}x1")
    for _ in range(gpus // 2):
        world.boot(host, flavor)
    world.delete_server(world.boot(host, flavor).id)


def _flavor(world: World, name: str, extra_specs: dict[str, str]) -> Flavor:
    known = [flavor for flavor in world.servers.flavors.values() if flavor.name == name]
    return known[0] if known else world.add_flavor(name, vcpus=1, ram=4096, disk=10, extra_specs=extra_specs)
