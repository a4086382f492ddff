from collections import Counter
from typing import Any

from spotd.sim import EmbeddedCloud


def test_servers_come_and_go_and_claims_follow(cloud: EmbeddedCloud, clock: Any) -> None:
    world = cloud.world
    before = set(world.servers.by_id)

    for _ in range(60):
        cloud.live.step(1)
        clock.move(2)
        world.advance()

    statuses = Counter(server.status for server in world.servers.by_id.values())
    alive = {s.id for s in world.servers.by_id.values() if not s.is_deleted and s.target is not None}
    assert statuses["DELETED"] > 5
    assert len(set(world.servers.by_id) - before) > 5
    assert alive == set(world.ledger.consumers)


def test_a_step_does_as_much_as_its_rate_says(cloud: EmbeddedCloud) -> None:
    cloud.live.rate_per_second = 0.5

    assert [cloud.live.step(1) for _ in range(4)] == [0, 1, 0, 1]


def idle(cloud: EmbeddedCloud) -> int:
    """On-demand hosts that nobody is on."""
    fleet = cloud.operator.fleet()
    return sum(
        host.is_empty and any(name.endswith("-n3") for name in host.aggregates) for host in fleet.values()
    )


def test_a_tide_empties_on_demand_hosts_and_fills_them_again(cloud: EmbeddedCloud, clock: Any) -> None:
    """So that a demo's rules lend hosts and take them back."""
    cloud.live.tide_seconds = 60.0
    seen = [idle(cloud)]

    for _ in range(2):
        for _ in range(30):
            cloud.live.step(1)
            clock.move(2)
            cloud.world.advance()
        seen.append(idle(cloud))

    start, ebb, flood = seen
    assert ebb > start
    assert flood < ebb
