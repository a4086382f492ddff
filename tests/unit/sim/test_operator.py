import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from spotd.sim import CloudSize, EmbeddedCloud
from spotd.sim.errors import ConflictError, NotFoundError

Ask = Callable[..., requests.Response]
SPARE, SPOT, ONDEMAND = "spare-001", "H100-n3-spot", "H100-n3"


def test_the_truth_of_an_idle_host(cloud: EmbeddedCloud) -> None:
    truth = cloud.operator.truth(SPARE)

    assert (truth.status, truth.disabled_reason, truth.is_up, truth.trait) == ("enabled", None, True, False)
    assert (truth.aggregates, truth.mirror, truth.servers, truth.consumers) == ((), (), (), ())
    assert truth.is_empty
    assert truth.agrees


def test_the_truth_of_an_unknown_host_is_an_error(cloud: EmbeddedCloud) -> None:
    with pytest.raises(NotFoundError):
        cloud.operator.truth("nosuch")


def test_the_fleets_truth_is_each_hosts(cloud: EmbeddedCloud) -> None:
    fleet = cloud.operator.fleet()

    assert set(fleet) == set(cloud.world.computes.hosts)
    assert all(truth == cloud.operator.truth(name) for name, truth in fleet.items())
    assert all(truth.agrees for truth in fleet.values())


def test_an_operator_moves_a_host_at_once_in_nova_and_in_the_mirror(cloud: EmbeddedCloud) -> None:
    cloud.world.add_host(ONDEMAND, SPARE)

    cloud.operator.move(SPARE, ONDEMAND, SPOT)

    truth = cloud.operator.truth(SPARE)
    assert truth.aggregates == (SPOT,) == truth.mirror


def test_an_operator_is_bound_by_novas_rules(cloud: EmbeddedCloud) -> None:
    cloud.world.add_host(SPOT, SPARE)
    cloud.world.add_host(ONDEMAND, SPARE)

    with pytest.raises(ConflictError):
        cloud.operator.move(SPARE, ONDEMAND, SPOT)


def test_an_operator_disables_over_anothers_reason_and_enables(cloud: EmbeddedCloud) -> None:
    for reason in ("first", "second"):
        cloud.operator.disable(SPARE, reason)
    disabled = cloud.operator.truth(SPARE)
    cloud.operator.enable(SPARE)
    enabled = cloud.operator.truth(SPARE)

    assert (disabled.status, disabled.disabled_reason, disabled.trait) == ("disabled", "second", True)
    assert (enabled.status, enabled.disabled_reason, enabled.trait) == ("enabled", None, False)


def test_the_trait_follows_the_disable_after_its_delay(cloud: EmbeddedCloud, clock: Any) -> None:
    cloud.world.delays.trait_seconds = 6.0

    cloud.operator.disable(SPARE, "x")
    before = cloud.operator.truth(SPARE)
    clock.move(7)

    assert (before.status, before.trait, cloud.operator.truth(SPARE).trait) == ("disabled", False, True)


def test_a_disabled_host_takes_no_new_boot(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.operator.disable(SPARE, "x")
    flavor = cloud.world.servers.flavor("cpu-small").id
    body = {"server": {"name": "late", "flavorRef": flavor, "networks": "none", "host": SPARE}}

    answer = nova("POST", "/servers", json=body)

    server = cloud.world.servers.by_id[answer.json()["server"]["id"]]
    assert (answer.status_code, server.status, server.host) == (202, "ERROR", None)
    assert cloud.operator.truth(SPARE).is_empty


def test_a_boot_that_was_on_its_way_lands_on_a_host_disabled_meanwhile(
    cloud: EmbeddedCloud, clock: Any, nova: Ask, placement: Ask
) -> None:
    """First Placement shows it, seconds later Nova, as measured on a real control plane."""
    world = cloud.world
    world.delays.claim_seconds, world.delays.host_seconds, world.delays.active_seconds = 2.3, 9.4, 12.0
    flavor = world.servers.flavor("cpu-small").id
    body = {"server": {"name": "late", "flavorRef": flavor, "networks": "none", "host": SPARE}}
    server_id = nova("POST", "/servers", json=body).json()["server"]["id"]
    cloud.operator.disable(SPARE, "fence")
    path = f"/resource_providers/{world.host(SPARE).provider_uuid}/allocations"

    def look() -> tuple[bool, bool]:
        held = server_id in placement("GET", path).json()["allocations"]
        shown = nova("GET", f"/servers?all_tenants=1&host={SPARE}").json()["servers"]
        return held, [one["id"] for one in shown] == [server_id]

    looks = [look()]
    landing = cloud.operator.truth(SPARE)
    for seconds in (2.4, 9.5):
        clock.move(seconds)
        looks.append(look())

    assert looks == [(False, False), (True, False), (True, True)]
    assert landing.landing == (server_id,)
    assert not landing.is_empty


def test_a_late_claim_that_finds_no_room_is_an_error_and_holds_nothing(
    cloud: EmbeddedCloud, clock: Any
) -> None:
    cloud.world.delays.claim_seconds = 2.0
    first = cloud.world.boot(SPARE, "n3-H100x8", slowly=True)
    second = cloud.world.boot(SPARE, "n3-H100x8", slowly=True)

    clock.move(10)
    truth = cloud.operator.truth(SPARE)

    assert (first.status, second.status, second.host) == ("ACTIVE", "ERROR", None)
    assert truth.consumers == (first.id,) == truth.servers


@pytest.mark.parametrize("slowly", [False, True])
def test_a_landing_can_be_forced_on_a_disabled_host(cloud: EmbeddedCloud, clock: Any, slowly: bool) -> None:
    cloud.operator.disable(SPARE, "fence")

    server = cloud.operator.land(SPARE, slowly=slowly)
    at_once = cloud.operator.truth(SPARE)
    clock.move(5)
    later = cloud.operator.truth(SPARE)

    assert at_once.consumers == (server.id,) == later.consumers
    assert at_once.servers == (() if slowly else (server.id,))
    assert later.servers == (server.id,)


def test_a_resize_holds_both_hosts_until_it_is_confirmed(cloud: EmbeddedCloud, clock: Any, nova: Ask) -> None:
    server = cloud.world.boot(SPARE, "cpu-small")
    migration = cloud.world.resize(server.id, "h100-n3-001", slowly=True)
    going = cloud.operator.truth(SPARE)
    clock.move(1)
    waiting, there = cloud.operator.truth(SPARE), cloud.operator.truth("h100-n3-001")
    listed = nova("GET", f"/os-migrations?host={SPARE}", "2.59").json()["migrations"]

    cloud.world.confirm_resize(server.id)

    assert (going.servers, going.consumers) == ((server.id,), (migration.uuid,))
    assert (waiting.servers, waiting.consumers, waiting.migrations) == (
        (),
        (migration.uuid,),
        (migration.id,),
    )
    assert server.id in there.servers
    assert server.id in there.consumers
    assert [(one["uuid"], one["status"]) for one in listed] == [(migration.uuid, "finished")]
    assert cloud.operator.truth(SPARE).is_empty
    assert (server.status, migration.status) == ("ACTIVE", "confirmed")


def test_deleting_a_server_that_waits_for_its_confirmation_frees_the_source(cloud: EmbeddedCloud) -> None:
    server = cloud.world.boot(SPARE, "cpu-small")
    cloud.world.resize(server.id, "h100-n3-001")

    cloud.world.delete_server(server.id)

    assert cloud.operator.truth(SPARE).is_empty


def test_migrations_come_in_pages_newest_first(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.world.max_limit = 2
    server = cloud.world.boot(SPARE, "cpu-small")
    made = [cloud.world.plant_migration(server.id, dest).uuid for dest in ("a", "b", "c")]

    first = nova("GET", f"/os-migrations?host={SPARE}", "2.59").json()
    link = first["migrations_links"][0]["href"]
    second = nova("GET", link.removeprefix(cloud.nova_url), "2.59").json()

    assert [one["uuid"] for one in first["migrations"]] == made[:0:-1]
    assert [one["uuid"] for one in second["migrations"]] == made[:1]
    assert "migrations_links" not in second


def test_migrations_of_a_cell_that_is_down_are_missing_without_a_word(
    cloud: EmbeddedCloud, nova: Ask
) -> None:
    server = cloud.world.boot(SPARE, "cpu-small")
    cloud.world.plant_migration(server.id, None)

    cloud.world.cell_down()

    answer = nova("GET", "/os-migrations", "2.59")
    assert (answer.status_code, answer.json()["migrations"]) == (200, [])


def test_placement_down_means_added_in_nova_and_not_removed(cloud: EmbeddedCloud, nova: Ask) -> None:
    number = cloud.world.aggregate(SPOT).id
    path = f"/os-aggregates/{number}/action"

    def act(action: str) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
        code = nova("POST", path, json={action: {"host": SPARE}}).status_code
        truth = cloud.operator.truth(SPARE)
        return code, truth.aggregates, truth.mirror

    with cloud.placement_outage():
        during = [act(action) for action in ("add_host", "add_host", "remove_host")]
        with pytest.raises(requests.ConnectionError):
            requests.get(cloud.placement_url, timeout=10)
    after = [act(action) for action in ("add_host", "remove_host", "add_host")]

    assert during == [(500, (SPOT,), ()), (409, (SPOT,), ()), (500, (SPOT,), ())]
    assert after == [(409, (SPOT,), ()), (200, (), ()), (200, (SPOT,), (SPOT,))]
    assert requests.get(cloud.placement_url, timeout=10).status_code == 200


def test_looking_is_fast_enough_for_many_steps() -> None:
    """Ten thousand steps of a search look at the whole fleet after each."""
    cloud = EmbeddedCloud(CloudSize(hosts=24, projects=2, netbox=False))
    started = time.perf_counter()
    for _ in range(100):
        cloud.operator.fleet()

    assert (time.perf_counter() - started) / 100 < 0.01
