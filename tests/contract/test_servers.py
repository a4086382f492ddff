from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from contract.under_test import CloudUnderTest

Boot = Callable[..., str]
HEAD = (
    "accessIPv4 accessIPv6 addresses created flavor hostId id image links metadata name status tenant_id "
    "user_id updated OS-DCF:diskConfig progress OS-EXT-AZ:availability_zone config_drive key_name "
    "OS-SRV-USG:launched_at OS-SRV-USG:terminated_at OS-EXT-SRV-ATTR:host OS-EXT-SRV-ATTR:instance_name "
    "OS-EXT-SRV-ATTR:hypervisor_hostname"
)
SINCE_3 = (
    "OS-EXT-SRV-ATTR:hostname OS-EXT-SRV-ATTR:kernel_id OS-EXT-SRV-ATTR:launch_index "
    "OS-EXT-SRV-ATTR:ramdisk_id OS-EXT-SRV-ATTR:reservation_id OS-EXT-SRV-ATTR:root_device_name "
    "OS-EXT-SRV-ATTR:user_data"
)
STATES = (
    "OS-EXT-STS:task_state OS-EXT-STS:vm_state OS-EXT-STS:power_state os-extended-volumes:volumes_attached"
)
LISTED = {
    "2.1": f"{HEAD} {STATES}",
    "2.3": f"{HEAD} {SINCE_3} {STATES}",
    "2.47": f"{HEAD} {SINCE_3} {STATES} locked description tags host_status",
    "2.96": f"{HEAD} {SINCE_3} {STATES} locked description tags trusted_image_certificates locked_reason "
    "pinned_availability_zone host_status",
}
SHOWN = (
    f"{HEAD} {SINCE_3} {STATES} locked host_status description tags trusted_image_certificates server_groups "
    "locked_reason pinned_availability_zone"
)
EMBEDDED_FLAVOR = ["vcpus", "ram", "disk", "ephemeral", "swap", "original_name", "extra_specs"]


def ids(servers: list[dict[str, Any]]) -> list[str]:
    return [server["id"] for server in servers]


def bad(text: str) -> dict[str, Any]:
    return {"badRequest": {"code": 400, "message": text}}


@pytest.mark.parametrize("version", list(LISTED))
def test_a_listed_server_has_the_keys_of_its_microversion(cloud: CloudUnderTest, version: str) -> None:
    path = "/servers/detail?all_tenants=1&status=ACTIVE&limit=1"
    server = cloud.nova("GET", path, version).json()["servers"][0]

    assert list(server) == LISTED[version].split()


def test_a_shown_server_has_its_own_order_of_keys(cloud: CloudUnderTest) -> None:
    path = "/servers/detail?all_tenants=1&status=ACTIVE&limit=1"
    server = cloud.nova("GET", path).json()["servers"][0]

    shown = cloud.server(server["id"])

    assert list(shown) == SHOWN.split()
    assert all(shown[key] == value for key, value in server.items())


def test_the_flavor_is_embedded_from_2_47(cloud: CloudUnderTest) -> None:
    path = "/servers/detail?all_tenants=1&limit=1"

    old = cloud.nova("GET", path, "2.46").json()["servers"][0]["flavor"]
    new = cloud.nova("GET", path, "2.47").json()["servers"][0]["flavor"]

    assert list(old) == ["id", "links"]
    assert list(new) == EMBEDDED_FLAVOR


def test_a_brief_server_has_three_keys(cloud: CloudUnderTest) -> None:
    server = cloud.nova("GET", "/servers?all_tenants=1&limit=1").json()["servers"][0]

    assert list(server) == ["id", "name", "links"]
    assert [link["rel"] for link in server["links"]] == ["self", "bookmark"]


def test_pages_give_every_server_once_newest_first(cloud: CloudUnderTest) -> None:
    # In a large cloud this is the first page of Nova's own size, and the walk goes as far.
    whole = cloud.nova("GET", "/servers/detail?all_tenants=1").json()["servers"]
    path, seen = f"/servers/detail?all_tenants=1&limit={max(7, len(whole) // 10)}", []
    while path and len(seen) < len(whole):
        page = cloud.nova("GET", path).json()
        seen += page["servers"]
        links = page.get("servers_links", [])
        path = f"/servers/detail?{urlparse(links[0]['href']).query}" if links else ""

    assert ids(seen[: len(whole)]) == ids(whole)
    assert len(set(ids(seen))) == len(seen)
    created = [server["created"] for server in seen]
    assert created == sorted(created, reverse=True)


def test_a_full_page_always_has_a_next_link(cloud: CloudUnderTest) -> None:
    host = cloud.busy_host()
    path = f"/servers?all_tenants=1&host={host}"
    count = len(cloud.nova("GET", path).json()["servers"])

    full = cloud.nova("GET", f"{path}&limit={count}").json()
    query = parse_qs(urlparse(full["servers_links"][0]["href"]).query)
    after = cloud.nova("GET", f"{path}&limit={count}&marker={query['marker'][0]}").json()

    marker = full["servers"][-1]["id"]
    assert query == {"all_tenants": ["1"], "host": [host], "limit": [str(count)], "marker": [marker]}
    assert after == {"servers": []}


def test_a_limit_above_the_maximum_is_cut_silently(cloud: CloudUnderTest) -> None:
    answer = cloud.nova("GET", "/servers?all_tenants=1&limit=2000")

    assert answer.status_code == 200
    assert len(answer.json()["servers"]) <= 1000


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("marker=nosuch", "marker [nosuch] not found"),
        ("limit=-1", "Invalid input for query parameters limit. Value: -1. '-1' does not match '^[0-9]*$'"),
        ("limit=x", "Invalid input for query parameters limit. Value: x. 'x' does not match '^[0-9]*$'"),
        (
            "changes-since=yesterday",
            (
                "Invalid input for query parameters changes-since. Value: yesterday. "
                "'yesterday' is not a 'date-time'"
            ),
        ),
        ("status=BOGUS", "Invalid status value"),
        ("bogus=1", "'bogus' does not match any of the regexes: '^_'"),
    ],
    ids=lambda value: value.split("=")[0],
)
def test_a_bad_query_is_a_400(cloud: CloudUnderTest, query: str, text: str) -> None:
    answer = cloud.nova("GET", f"/servers/detail?all_tenants=1&{query}")

    assert (answer.status_code, answer.json()) == (400, bad(text))


def test_the_host_filter_gives_the_servers_of_one_host(cloud: CloudUnderTest) -> None:
    host = cloud.busy_host()

    servers = cloud.nova("GET", f"/servers/detail?all_tenants=1&host={host}").json()["servers"]

    assert {server["OS-EXT-SRV-ATTR:host"] for server in servers} == {host}


def test_an_unknown_server_is_a_404(cloud: CloudUnderTest) -> None:
    shown, deleted = cloud.nova("GET", "/servers/abc"), cloud.nova("DELETE", "/servers/abc")

    expected = {"itemNotFound": {"code": 404, "message": "Instance abc could not be found."}}
    assert (shown.status_code, shown.json()) == (404, expected)
    assert (deleted.status_code, deleted.json()) == (404, expected)


def test_a_pinned_boot_lands_on_its_host(cloud: CloudUnderTest, boot: Boot) -> None:
    host = cloud.empty_host()

    server = cloud.server(boot(host=host))

    assert server["status"] == "ACTIVE"
    assert server["OS-EXT-SRV-ATTR:host"] == host
    assert server["OS-EXT-AZ:availability_zone"] == "nova"
    assert server["OS-EXT-STS:task_state"] is None


def test_a_boot_by_zone_and_host_pins_the_zone(cloud: CloudUnderTest, boot: Boot) -> None:
    host = cloud.empty_host()

    server = cloud.server(boot("2.37", availability_zone=f"nova:{host}"))

    assert server["OS-EXT-SRV-ATTR:host"] == host
    assert server["pinned_availability_zone"] == "nova"


def test_a_boot_answers_202_with_the_links(cloud: CloudUnderTest) -> None:
    body = cloud.boot_body("spotd-contract-links", host=cloud.empty_host())
    answer = cloud.nova("POST", "/servers", "2.74", json=body)

    server = answer.json()["server"]
    cloud.nova("DELETE", f"/servers/{server['id']}")
    assert answer.status_code == 202
    assert list(server) == ["id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"]
    assert answer.headers["location"] == server["links"][0]["href"]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"host": "no-such-host"}, "Compute host no-such-host could not be found."),
        ({"availability_zone": "nope"}, "The requested availability zone is not available"),
    ],
    ids=["host", "zone"],
)
def test_a_boot_to_nowhere_is_a_400(cloud: CloudUnderTest, more: dict[str, str], text: str) -> None:
    answer = cloud.nova("POST", "/servers", "2.74", json=cloud.boot_body("nowhere", **more))

    assert (answer.status_code, answer.json()) == (400, bad(text))


def test_a_boot_on_a_disabled_host_ends_in_error(
    cloud: CloudUnderTest, boot: Boot, idle_service: dict[str, Any]
) -> None:
    body = {"status": "disabled", "disabled_reason": "contract"}
    cloud.nova("PUT", f"/os-services/{idle_service['id']}", json=body)

    server = cloud.server(boot(host=idle_service["host"]))

    assert server["status"] == "ERROR"
    assert server["OS-EXT-SRV-ATTR:host"] is None
    assert server["fault"]["message"] == "No valid host was found. "
    assert set(server["fault"]) == {"code", "created", "message", "details"}


def test_a_deleted_server_shows_in_changes_since(cloud: CloudUnderTest, boot: Boot) -> None:
    since = (datetime.now(UTC) - timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    host = cloud.empty_host()
    server_id = boot(host=host)
    path = f"/servers/detail?all_tenants=1&changes-since={since}"

    alive = {s["id"]: s["status"] for s in cloud.nova("GET", path).json()["servers"]}
    accepted = cloud.nova("DELETE", f"/servers/{server_id}")
    cloud.until(lambda: cloud.nova("GET", f"/servers/{server_id}").status_code == 404)
    gone = {s["id"]: s for s in cloud.nova("GET", path).json()["servers"]}[server_id]
    listed = ids(cloud.nova("GET", "/servers?all_tenants=1").json()["servers"])

    assert alive[server_id] == "ACTIVE"
    assert (accepted.status_code, accepted.text) == (204, "")
    assert (gone["status"], gone["OS-EXT-STS:vm_state"]) == ("DELETED", "deleted")
    assert gone["OS-EXT-SRV-ATTR:host"] == host
    assert gone["OS-SRV-USG:terminated_at"] is not None
    assert "progress" not in gone
    assert server_id not in listed


def test_an_administrator_lists_deleted_servers(cloud: CloudUnderTest, boot: Boot) -> None:
    server_id = boot(host=cloud.empty_host())
    cloud.nova("DELETE", f"/servers/{server_id}")
    cloud.until(lambda: cloud.nova("GET", f"/servers/{server_id}").status_code == 404)

    deleted = cloud.nova("GET", "/servers/detail?all_tenants=1&deleted=true").json()["servers"]

    assert server_id in ids(deleted)
    assert {server["status"] for server in deleted} == {"DELETED"}


def test_nothing_has_changed_since_the_future(cloud: CloudUnderTest) -> None:
    answer = cloud.nova("GET", "/servers/detail?all_tenants=1&changes-since=2099-01-01T00:00:00Z")

    assert answer.json() == {"servers": []}


def test_changes_before_is_a_filter_from_2_66(cloud: CloudUnderTest) -> None:
    path = "/servers?all_tenants=1&changes-before=2020-01-01T00:00:00Z"

    new, old = cloud.nova("GET", path, "2.66").json(), cloud.nova("GET", path, "2.65").json()

    assert new == {"servers": []}
    assert old["servers"]


def test_flavors_show_extra_specs_from_2_61(cloud: CloudUnderTest) -> None:
    old = cloud.nova("GET", "/flavors/detail?limit=1", "2.1").json()
    new = cloud.nova("GET", "/flavors/detail?limit=1").json()

    assert "extra_specs" not in old["flavors"][0]
    assert old["flavors"][0]["swap"] == ""
    assert list(new["flavors"][0])[-3:] == ["links", "description", "extra_specs"]
    assert "marker=" in new["flavors_links"][0]["href"]


def test_hypervisors_lose_their_resources_at_2_88(cloud: CloudUnderTest) -> None:
    old = cloud.nova("GET", "/os-hypervisors/detail?limit=1", "2.53").json()["hypervisors"][0]
    new = cloud.nova("GET", "/os-hypervisors/detail?limit=1", "2.88").json()["hypervisors"][0]

    base = {"id", "hypervisor_hostname", "state", "status", "hypervisor_type", "hypervisor_version"}
    assert base | {"vcpus", "memory_mb", "running_vms", "cpu_info"} <= set(old)
    assert set(new) == base | {"host_ip", "service", "uptime"}
    assert set(new["service"]) == {"id", "host", "disabled_reason"}


def test_zones_list_their_hosts_to_administrators(cloud: CloudUnderTest) -> None:
    zones = cloud.nova("GET", "/os-availability-zone/detail").json()["availabilityZoneInfo"]

    by_name = {zone["zoneName"]: zone["hosts"] for zone in zones}
    assert set(by_name["internal"]["control"]) == {"nova-scheduler", "nova-conductor"}
    some = next(iter(by_name["nova"].values()))["nova-compute"]
    assert set(some) == {"available", "active", "updated_at"}


def test_migrations_are_filtered_by_host(cloud: CloudUnderTest) -> None:
    answer = cloud.nova("GET", "/os-migrations?host=nosuch")

    assert answer.json() == {"migrations": []}
