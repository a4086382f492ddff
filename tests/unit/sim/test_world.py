from collections.abc import Callable
from typing import Any

import pytest
import requests

from spotd.sim import CloudSize, EmbeddedCloud
from spotd.sim.errors import ConflictError

Ask = Callable[..., requests.Response]
COMPUTES = "/os-services?binary=nova-compute"
CANDIDATES = "/allocation_candidates?resources=MEMORY_MB:1"


def servers(nova: Ask, query: str = "") -> list[dict[str, Any]]:
    return list(nova("GET", f"/servers/detail?all_tenants=1{query}").json()["servers"])


def test_a_slow_boot_claims_first_shows_its_host_later_and_is_active_last(
    cloud: EmbeddedCloud, clock: Any, nova: Ask
) -> None:
    world = cloud.world
    server = world.boot("spare-001", "n3-H100x8", slowly=True)
    root = world.ledger.providers[world.host("spare-001").provider_uuid]

    def look() -> tuple[str, str | None, int]:
        shown = nova("GET", f"/servers/{server.id}").json()["server"]
        return shown["status"], shown["OS-EXT-SRV-ATTR:host"], root.used["CUSTOM_GPU_H100"]

    seen = [look()]
    for seconds in (0.6, 0.6):
        clock.move(seconds)
        seen.append(look())

    assert seen == [("BUILD", None, 8), ("BUILD", "spare-001", 8), ("ACTIVE", "spare-001", 8)]


def test_a_delete_frees_the_claim_without_a_new_generation(cloud: EmbeddedCloud, nova: Ask) -> None:
    world = cloud.world
    server = world.boot("spare-001", "n3-H100x8")
    root = world.ledger.providers[world.host("spare-001").provider_uuid]
    generation = root.generation

    world.delete_server(server.id)

    assert (root.used["CUSTOM_GPU_H100"], root.generation) == (0, generation)
    assert nova("GET", f"/servers/{server.id}").status_code == 404


@pytest.mark.parametrize("why", ["full", "disabled", "down"])
def test_a_boot_that_fits_nowhere_ends_in_error(cloud: EmbeddedCloud, why: str) -> None:
    world = cloud.world
    if why == "full":
        world.boot("spare-001", "n3-H100x8")
    elif why == "disabled":
        world.disable("spare-001", "test")
    else:
        world.set_service_state("spare-001", "down")

    server = world.boot("spare-001", "n3-H100x1")

    assert (server.status, server.host) == ("ERROR", None)


def test_a_silent_cell_drops_only_its_part_of_a_filtered_list(cloud: EmbeddedCloud, nova: Ask) -> None:
    whole = servers(nova, "&limit=1000")

    cloud.world.cell_down(cell="cell1")
    part = servers(nova, "&limit=1000")
    cloud.world.cell_down(False, cell="cell1")

    hosts = {server["OS-EXT-SRV-ATTR:host"] for server in part}
    assert 0 < len(part) < len(whole)
    assert {cloud.world.host(host).cell for host in hosts} == {"cell2"}
    assert len(servers(nova, "&limit=1000")) == len(whole)


def test_a_silent_cell_leaves_unknown_records_in_a_bare_list(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.world.cell_down()

    new = nova("GET", "/servers?all_tenants=1").json()["servers"]
    old = nova("GET", "/servers?all_tenants=1", "2.68").json()["servers"]

    assert {tuple(server) for server in new} == {("id", "status", "links")}
    assert {server["status"] for server in new} == {"UNKNOWN"}
    assert old == []


def test_a_silent_cell_leaves_unknown_services_from_2_69(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.world.cell_down()

    new, old = nova("GET", COMPUTES).json()["services"], nova("GET", COMPUTES, "2.68").json()["services"]

    assert len(new) == 24
    assert {tuple(service) for service in new} == {("binary", "host", "status")}
    assert {service["status"] for service in new} == {"UNKNOWN"}
    assert old == []


def test_a_failing_cell_is_a_500(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.world.cell_down(mode="error")

    answer = nova("GET", "/servers/detail?all_tenants=1&limit=3")

    assert answer.status_code == 500
    assert "<class 'TypeError'>" in answer.json()["computeFault"]["message"]


@pytest.mark.parametrize("how", ["expire_tokens", "revoke_tokens"])
def test_old_tokens_are_401s_everywhere(cloud: EmbeddedCloud, nova: Ask, placement: Ask, how: str) -> None:
    getattr(cloud.world, how)()

    assert nova("GET", "/servers").status_code == 401
    assert placement("GET", "/resource_providers").status_code == 401


def test_a_token_ends_by_the_clouds_clock(cloud: EmbeddedCloud, clock: Any, nova: Ask) -> None:
    clock.move(3599)
    before = nova("GET", "/servers").status_code
    clock.move(1)

    assert (before, nova("GET", "/servers").status_code) == (200, 401)


def test_with_placement_down_an_add_fails_and_the_host_is_in(cloud: EmbeddedCloud, nova: Ask) -> None:
    world = cloud.world
    aggregate = world.aggregate("H100-n3-spot")
    action = f"/os-aggregates/{aggregate.id}/action"
    world.aggregates.mirror = "down"

    added = nova("POST", action, json={"add_host": {"host": "spare-001"}}).status_code
    again = nova("POST", action, json={"add_host": {"host": "spare-001"}}).status_code
    removed = nova("POST", action, json={"remove_host": {"host": "spare-001"}}).status_code

    provider = world.ledger.providers[world.host("spare-001").provider_uuid]
    assert (added, again, removed) == (500, 409, 500)
    assert world.aggregates_of("spare-001") == ["H100-n3-spot"]
    assert provider.aggregates == []


def test_a_silent_mirror_answers_200_and_placement_learns_nothing(cloud: EmbeddedCloud) -> None:
    cloud.world.aggregates.mirror = "silent"

    cloud.world.add_host("H100-n3-spot", "spare-001")

    provider = cloud.world.ledger.providers[cloud.world.host("spare-001").provider_uuid]
    assert provider.aggregates == []


def test_the_trait_comes_after_its_delay_and_never_from_a_dead_compute(
    cloud: EmbeddedCloud, clock: Any, placement: Ask
) -> None:
    world = cloud.world
    world.delays.trait_seconds = 5
    world.set_service_state("h100-n3-001", "down")
    world.disable("spare-001", "a")
    world.disable("h100-n3-001", "b")

    def marked() -> set[str]:
        path = "/resource_providers?required=COMPUTE_STATUS_DISABLED"
        return {provider["name"] for provider in placement("GET", path).json()["resource_providers"]}

    early = marked()
    clock.move(6)
    late = marked()
    world.set_service_state("h100-n3-001", "up")

    assert "spare-001" not in early
    assert late - early == {"spare-001"}
    assert marked() - late == {"h100-n3-001"}


def test_planted_migrations_and_foreign_claims_show(cloud: EmbeddedCloud, nova: Ask, placement: Ask) -> None:
    world = cloud.world
    server = world.boot("spare-001", "cpu-small")
    world.plant_migration(server.id, "h100-n3-001")
    consumer = world.claim("spare-001", {"CUSTOM_GPU_H100": 1})

    migrations = nova("GET", "/os-migrations?host=h100-n3-001").json()["migrations"]
    uuid = world.host("spare-001").provider_uuid
    holders = placement("GET", f"/resource_providers/{uuid}/allocations").json()["allocations"]

    assert [one["instance_uuid"] for one in migrations] == [server.id]
    assert set(holders) == {server.id, consumer}


def test_a_deleted_device_shows_in_the_change_log_only(cloud: EmbeddedCloud, clock: Any, netbox: Ask) -> None:
    clock.move(60)
    since = clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    cloud.world.netbox.edit("spare-001", clock(), status="failed")
    cloud.world.netbox.delete("h100-n3-001", clock())

    changed = netbox(f"/api/dcim/devices/?last_updated__gte={since}&fields=name").json()["results"]
    deleted = netbox(f"/api/core/object-changes/?time_after={since}&action=delete").json()["results"]

    assert [device["name"] for device in changed] == ["spare-001"]
    assert [change["object_repr"] for change in deleted] == ["h100-n3-001"]


def test_the_catalogue_can_lose_and_move_services(cloud: EmbeddedCloud) -> None:
    identity = cloud.world.identity
    identity.remove_service("placement")
    identity.move_endpoint("compute", "http://127.0.0.1:1/v2.1")

    catalog = {entry["type"]: entry["endpoints"][0]["url"] for entry in identity.catalog_view()}

    assert set(catalog) == {"identity", "compute"}
    assert catalog["compute"] == "http://127.0.0.1:1/v2.1"


def test_gpus_can_be_child_providers() -> None:
    size = CloudSize(hosts=2, servers=0, gpu_model="children", hypervisor_domain=".gpu.example")
    with EmbeddedCloud(size) as cloud:
        world = cloud.world
        name, host = next(iter(world.computes.hosts.items()))
        world.boot(name, "n3-H100x2")
        tree = list(world.ledger.tree(host.provider_uuid))

    assert len(tree) == 9
    assert host.hypervisor_hostname == f"{name}.gpu.example"
    assert tree[1].name == f"{host.hypervisor_hostname}_0000:17:00.0"
    assert [child.used.get("CUSTOM_GPU_H100", 0) for child in tree[1:]] == [1, 1, 0, 0, 0, 0, 0, 0]


def test_a_reader_sees_all_when_the_policy_says_so(cloud: EmbeddedCloud) -> None:
    token = cloud.world.identity.issue("auditor", "lab", "admin")

    before = cloud.world.identity.may_read(token)
    cloud.world.identity.reader_sees_all = True

    assert (before, cloud.world.identity.may_read(token)) == (False, True)


def test_rules_hold_for_direct_edits_too(cloud: EmbeddedCloud) -> None:
    cloud.world.add_host("H100-n3-spot", "spare-001")

    with pytest.raises(ConflictError):
        cloud.world.add_host("H100-n3-spot", "spare-001")


def test_archived_servers_are_forgotten(cloud: EmbeddedCloud, clock: Any, nova: Ask) -> None:
    server = cloud.world.boot("spare-001", "cpu-small")
    cloud.world.delete_server(server.id)
    before = nova("GET", "/servers?all_tenants=1&deleted=true").json()["servers"]
    clock.move(60)

    gone = cloud.world.servers.archive(clock())

    assert ([one["id"] for one in before], gone) == ([server.id], 1)
    assert nova("GET", f"/servers?all_tenants=1&marker={server.id}").status_code == 400
