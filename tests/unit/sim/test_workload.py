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
