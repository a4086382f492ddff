"""Fills the embedded NetBox with devices for the hosts, and some that Nova does not know."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random

from spotd.sim.fleet_plan import GROUPS, KINDS, HostGroup
from spotd.sim.inventory import Device, Tenant, slugify
from spotd.sim.world import World

TENANTS = (
    ("Nexgen Internal", "Nexgen Cloud", 45),
    ("Nexgen Research", "Nexgen Cloud", 5),
    ("Investor Aurora", "Investors", 10),
    ("Investor Boreal", "Investors", 10),
    ("Investor Cobalt", "Investors", 10),
    ("Investor Delta", "Investors", 10),
)
TENANT_GROUPS = {"Nexgen Cloud": 1, "Investors": 2}
ABSENT_STATUSES = ("planned", "failed", "offline", "staged", "decommissioning", "inventory")
RACKS = 20
HOSTS_PER_ABSENT_DEVICE = 12
TROUBLED_SHARE = 0.03


def fill_netbox(world: World, placed: Mapping[str, HostGroup], gpus_per_host: int) -> None:
    """Create tenants, tags and one device per host, and further devices that are not in Nova."""
    rng = Random(f"{world.seed}/netbox/{len(placed)}")
    netbox, now = world.netbox, world.now()
    for number, (name, tenant_group, _) in enumerate(TENANTS, 1):
        netbox.tenants[number] = Tenant(number, name, TENANT_GROUPS[tenant_group], tenant_group, now, now)
    netbox.tags = sorted({tag for kind in KINDS for tag in kind.tags})
    netbox.models = sorted({(k.maker, m) for k in KINDS for m in (k.model, k.nvlink_model)})
    rows = [(name, group, _present_status(rng)) for name, group in placed.items()]
    for number in range(max(2, len(placed) // HOSTS_PER_ABSENT_DEVICE)):
        group = GROUPS[rng.randrange(len(GROUPS))]
        status = ABSENT_STATUSES[number % len(ABSENT_STATUSES)]
        rows.append((f"{group.prefix}-{900 + number:03d}", group, status))
    created = now - timedelta(days=90)
    for number, (name, group, status) in enumerate(rows, 1):
        made = created + timedelta(seconds=number)
        netbox.add(
            _device(number, name, group=group, status=status, gpus=gpus_per_host, rng=rng, created=made)
        )


def _present_status(rng: Random) -> str:
    if rng.random() >= TROUBLED_SHARE:
        return "active"
    return rng.choice(("failed", "offline"))


def _device(
    number: int, name: str, *, group: HostGroup, status: str, gpus: int, rng: Random, created: datetime
) -> Device:
    kind = group.kind
    site = rng.choices(("CA1", "NO1", "US1"), weights=(55, 30, 15))[0]
    tenant = rng.choices(range(1, len(TENANTS) + 1), weights=[row[2] for row in TENANTS])[0]
    return Device(
        id=number,
        name=name,
        status=status,
        site=site,
        rack=f"{site}-R{rng.randint(1, RACKS):02d}",
        tenant_id=tenant,
        model=kind.nvlink_model if group.nvlink else kind.model,
        maker=kind.maker,
        tags=tuple(slugify(tag) for tag in kind.tags),
        custom_fields={
            "Aggregates": f"{kind.inventory_name}-n3",
            "NVLinks": group.nvlink,
            "gpu_count": gpus,
            "nvlinks_capable": group.nvlink,
        },
        created=created,
        last_updated=created,
    )
