"""Builds a world of a given size: the same seed and size make the same cloud."""

from datetime import datetime, timedelta
from random import Random

from spotd.sim.build_hosts import CloudSize, add_host
from spotd.sim.build_netbox import fill_netbox
from spotd.sim.fleet_plan import FLAVOR_GPUS, GROUPS, KINDS, HostGroup, host_groups
from spotd.sim.identity import stable_id
from spotd.sim.records import Flavor
from spotd.sim.servers import BootRequest
from spotd.sim.shapes import add_shapes
from spotd.sim.world import World

REASONS = ("HW: GPU 3 fell off the bus", "maintenance: firmware", "ticket 4711", "draining for reinstall")
SMALLEST_FLEET_WITH_A_DOWN_HOST = 12
HOSTS_PER_DISABLED = 40
HISTORY = timedelta(days=30)


def build_world(world: World, size: CloudSize) -> None:
    """Fill an empty world."""
    rng = Random(f"{world.seed}/build/{size.hosts}")
    for number in range(size.projects):
        world.identity.add_project(f"project-{number + 1:04d}")
    _flavors(world)
    groups = list(host_groups(size.hosts))
    for group in GROUPS:
        if group.aggregate is not None and (group in groups or size.hosts >= len(GROUPS)):
            pool = {"gpu_model": group.kind.name, "pool": group.aggregate}
            world.create_aggregate(group.aggregate, metadata=pool)
    placed = _hosts(world, size, groups)
    _servers(world, size, placed, rng)
    _troubles(world, placed, rng)
    placed |= add_shapes(world, size)
    if size.netbox:
        fill_netbox(world, placed, size.gpus_per_host)
        major, _, minor = size.netbox_version.partition(".")
        world.netbox.upgrade((int(major), int(minor)))


def _flavors(world: World) -> None:
    for kind in KINDS:
        for gpus in FLAVOR_GPUS:
            specs = {
                "hw:cpu_policy": "shared",
                "lab:gpu_model": kind.name,
                f"resources:{kind.resource_class}": str(gpus),
            }
            world.add_flavor(
                f"n3-{kind.name}x{gpus}", vcpus=28 * gpus, ram=180_000 * gpus, disk=100, extra_specs=specs
            )
        alias = {"pci_passthrough:alias": f"{kind.name}:8", "lab:gpu_model": kind.name}
        world.add_flavor(f"pci-{kind.name}x8", vcpus=224, ram=1_440_000, disk=100, extra_specs=alias)
    world.add_flavor("cpu-small", vcpus=2, ram=4096, disk=10, extra_specs={})


def _hosts(world: World, size: CloudSize, groups: list[HostGroup]) -> dict[str, HostGroup]:
    placed: dict[str, HostGroup] = {}
    numbers: dict[str, int] = {}
    for index, group in enumerate(groups):
        numbers[group.prefix] = numbers.get(group.prefix, 0) + 1
        name = f"{group.prefix}-{numbers[group.prefix]:03d}"
        add_host(world, size, name, group.kind.resource_class, index)
        placed[name] = group
        if group.aggregate is not None:
            world.add_host(group.aggregate, name)
    return placed


def _servers(world: World, size: CloudSize, placed: dict[str, HostGroup], rng: Random) -> None:
    free = {name: size.gpus_per_host for name, group in placed.items() if group.fill > 0}
    names = list(free)
    rng.shuffle(names)
    wanted: list[tuple[str, str]] = []
    if size.servers is None:
        for name in names:
            wanted += [(name, flavor) for flavor in _fill(placed[name], size.gpus_per_host, rng)]
        wanted += [(name, "cpu-small") for name in names[: max(1, len(names) // 24)]]
    else:
        wanted = _exactly(size.servers, free, placed, rng) if names else []
    projects = [p.id for p in world.identity.projects.values() if p.name.startswith("project-")]
    projects = projects or [world.identity.project("admin").id]
    span = HISTORY.total_seconds() - 60
    ages = sorted(rng.random() * span for _ in wanted)
    for age, (name, flavor) in zip(ages, wanted, strict=True):
        _first_server(
            world,
            name,
            world.servers.flavor(flavor),
            rng.choice(projects),
            world.now() - HISTORY + timedelta(seconds=age),
        )


def _fill(group: HostGroup, gpus: int, rng: Random) -> list[str]:
    """Flavors for one host so that on average `group.fill` of its GPUs are taken."""
    if rng.random() > group.fill:
        goal = 0 if rng.random() < 0.5 else rng.randint(0, gpus // 2)  # noqa: PLR2004 - half of the rest
    else:
        goal = gpus if rng.random() < 0.6 else rng.randint(gpus // 2, gpus)  # noqa: PLR2004 - most are full
    chosen = []
    while goal > 0:
        count = rng.choice([n for n in FLAVOR_GPUS if n <= goal])
        chosen.append(f"n3-{group.kind.name}x{count}")
        goal -= count
    return chosen


def _exactly(
    count: int, free: dict[str, int], placed: dict[str, HostGroup], rng: Random
) -> list[tuple[str, str]]:
    chosen: list[tuple[str, str]] = []
    everywhere = list(free)
    open_hosts = list(free)
    while len(chosen) < count:
        if not open_hosts:
            chosen.append((rng.choice(everywhere), "cpu-small"))
            continue
        at = rng.randrange(len(open_hosts))
        name = open_hosts[at]
        share = sum(free.values()) / (count - len(chosen)) if len(chosen) % 100 == 0 else 1.0
        most = max(1, min(free[name], int(share)))
        gpus = rng.choice([n for n in FLAVOR_GPUS if n <= most])
        chosen.append((name, f"n3-{placed[name].kind.name}x{gpus}"))
        free[name] -= gpus
        if free[name] == 0:
            open_hosts[at] = open_hosts[-1]
            open_hosts.pop()
    return chosen


def _first_server(world: World, host: str, flavor: Flavor, project: str, when: datetime) -> None:
    number = len(world.servers.by_id)
    request = BootRequest(
        name=f"vm-{host}-{number}",
        flavor=flavor,
        project_id=project,
        user_id=stable_id(world.seed, "owner", project).replace("-", ""),
        host=host,
        metadata={"customer": ("acme", "globex", "initech")[number % 3]},
    )
    server = world.servers.create(request, when)
    world.servers.activate(server, when + timedelta(seconds=9))


def _troubles(world: World, placed: dict[str, HostGroup], rng: Random) -> None:
    names = [name for name, group in placed.items() if group.fill > 0]
    rng.shuffle(names)
    count = max(1, len(placed) // HOSTS_PER_DISABLED)
    for number, name in enumerate(names[:count]):
        world.disable(name, REASONS[number % len(REASONS)])
    if len(placed) >= SMALLEST_FLEET_WITH_A_DOWN_HOST and len(names) > count:
        world.set_service_state(names[count], "down")
