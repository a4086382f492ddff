from collections.abc import Callable
from typing import Any

import pytest
from contract.under_test import Answer, CloudUnderTest, unique

Make = Callable[..., dict[str, Any]]
KEYS = [
    "id",
    "name",
    "hosts",
    "metadata",
    "created_at",
    "updated_at",
    "deleted_at",
    "deleted",
    "availability_zone",
]


def act(cloud: CloudUnderTest, number: int, action: dict[str, Any]) -> Answer:
    return cloud.nova("POST", f"/os-aggregates/{number}/action", json=action)


def add(cloud: CloudUnderTest, number: int, host: str) -> Answer:
    return act(cloud, number, {"add_host": {"host": host}})


def remove(cloud: CloudUnderTest, number: int, host: str) -> Answer:
    return act(cloud, number, {"remove_host": {"host": host}})


def conflict(text: str) -> dict[str, Any]:
    return {"conflictingRequest": {"code": 409, "message": text}}


def missing(text: str) -> dict[str, Any]:
    return {"itemNotFound": {"code": 404, "message": text}}


def bad(text: str) -> dict[str, Any]:
    return {"badRequest": {"code": 400, "message": text}}


@pytest.mark.parametrize(
    ("version", "keys"), [("2.1", KEYS), ("2.40", KEYS), ("2.41", ["id", "uuid", *KEYS[1:]])]
)
def test_aggregates_have_a_uuid_from_2_41(cloud: CloudUnderTest, version: str, keys: list[str]) -> None:
    listed = cloud.nova("GET", "/os-aggregates", version).json()["aggregates"]

    assert listed
    assert all(list(one) == keys for one in listed)


def test_a_new_aggregate_is_answered_without_hosts_and_metadata(
    cloud: CloudUnderTest, aggregate: Make
) -> None:
    made = aggregate()

    shown = cloud.nova("GET", f"/os-aggregates/{made['id']}").json()["aggregate"]
    assert set(made) == {"uuid", *KEYS} - {"hosts", "metadata"}
    assert shown["hosts"] == []
    assert shown["metadata"] == {}


def test_a_host_is_added_once_and_removed_once(cloud: CloudUnderTest, aggregate: Make) -> None:
    number, host = aggregate()["id"], cloud.empty_host()

    first, second = add(cloud, number, host), add(cloud, number, host)
    gone, again = remove(cloud, number, host), remove(cloud, number, host)

    assert (first.status_code, first.json()["aggregate"]["hosts"]) == (200, [host])
    assert (second.status_code, second.json()) == (
        409,
        conflict(f"Aggregate {number} already has host {host}."),
    )
    assert (gone.status_code, gone.json()["aggregate"]["hosts"]) == (200, [])
    text = f"Cannot remove host {host} in aggregate {number}"
    assert (again.status_code, again.json()) == (404, missing(text))


def test_membership_does_not_move_updated_at(cloud: CloudUnderTest, aggregate: Make) -> None:
    number, host = aggregate()["id"], cloud.empty_host()

    changed = add(cloud, number, host).json()["aggregate"]

    assert changed["updated_at"] is None


def test_a_host_may_be_in_two_aggregates_without_zones(cloud: CloudUnderTest, aggregate: Make) -> None:
    first, second, host = aggregate()["id"], aggregate()["id"], cloud.empty_host()

    codes = [add(cloud, number, host).status_code for number in (first, second)]

    assert codes == [200, 200]


@pytest.mark.parametrize("host", ["no-such-host", "control"])
def test_only_compute_hosts_can_be_added(cloud: CloudUnderTest, aggregate: Make, host: str) -> None:
    answer = add(cloud, aggregate()["id"], host)

    assert answer.status_code == 404
    assert answer.json() == missing(f"Compute host {host} could not be found.")


def test_unknown_hosts_and_aggregates_are_404s(cloud: CloudUnderTest, aggregate: Make) -> None:
    number, host = aggregate()["id"], cloud.empty_host()

    stranger = remove(cloud, number, "no-such-host")
    nowhere_in, nowhere_out = add(cloud, 999999, host), remove(cloud, 999999, host)

    assert stranger.json() == missing(f"Cannot remove host no-such-host in aggregate {number}")
    assert nowhere_in.json() == missing("Aggregate 999999 could not be found.")
    assert nowhere_out.json() == missing(f"Cannot remove host {host} in aggregate 999999")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Malformed request body"),
        (
            {"add_host": {}},
            "Invalid input for field/attribute add_host. Value: {}. 'host' is a required property",
        ),
        (
            {"add_host": {"host": ""}},
            "Invalid input for field/attribute host. Value: . '' should be non-empty",
        ),
        (
            {"add_host": {"host": 1}},
            "Invalid input for field/attribute host. Value: 1. 1 is not of type 'string'",
        ),
        ({"bogus": {}}, "There is no such action: bogus"),
    ],
    ids=["empty", "no host", "empty host", "number", "unknown action"],
)
def test_a_malformed_action_is_a_400(
    cloud: CloudUnderTest, aggregate: Make, body: dict[str, Any], text: str
) -> None:
    answer = act(cloud, aggregate()["id"], body)

    assert (answer.status_code, answer.json()) == (400, bad(text))


def test_a_name_is_taken_once(cloud: CloudUnderTest, aggregate: Make) -> None:
    name = aggregate()["name"]

    answer = cloud.nova("POST", "/os-aggregates", json={"aggregate": {"name": name}})

    assert (answer.status_code, answer.json()) == (409, conflict(f"Aggregate {name} already exists."))


def test_only_an_empty_aggregate_is_deleted(cloud: CloudUnderTest, aggregate: Make) -> None:
    number, host = aggregate()["id"], cloud.empty_host()
    add(cloud, number, host)

    full = cloud.nova("DELETE", f"/os-aggregates/{number}")
    remove(cloud, number, host)
    empty = cloud.nova("DELETE", f"/os-aggregates/{number}")
    again = cloud.nova("DELETE", f"/os-aggregates/{number}")

    text = f"Cannot remove host from aggregate {number}. Reason: Host aggregate is not empty."
    assert (full.status_code, full.json()) == (400, bad(text))
    assert (empty.status_code, empty.text) == (200, "")
    assert (again.status_code, again.json()) == (404, missing(f"Aggregate {number} could not be found."))


def test_metadata_is_merged_and_null_removes(cloud: CloudUnderTest, aggregate: Make) -> None:
    number = aggregate()["id"]

    added = act(cloud, number, {"set_metadata": {"metadata": {"k": "v", "l": "w"}}}).json()["aggregate"]
    taken = act(cloud, number, {"set_metadata": {"metadata": {"k": None}}}).json()["aggregate"]

    assert added["metadata"] == {"k": "v", "l": "w"}
    assert added["updated_at"] is not None
    assert taken["metadata"] == {"l": "w"}


def test_a_host_is_in_one_zone_only(cloud: CloudUnderTest, aggregate: Make) -> None:
    zone, other, host = unique("zone"), unique("zone"), cloud.empty_host()
    first, second = aggregate(zone)["id"], aggregate(other)["id"]

    inside = add(cloud, first, host)
    refused = add(cloud, second, host)

    reason = f"One or more hosts already in availability zone(s) ['{zone}']."
    assert inside.json()["aggregate"]["metadata"] == {"availability_zone": zone}
    assert refused.status_code == 409
    assert refused.json() == conflict(f"Cannot add host to aggregate {second}. Reason: {reason}")


def test_a_host_with_servers_does_not_change_its_zone(cloud: CloudUnderTest, aggregate: Make) -> None:
    zone, host = unique("zone"), cloud.busy_host()
    number = aggregate(zone)["id"]

    answer = add(cloud, number, host)

    message = answer.json()["conflictingRequest"]["message"]
    assert answer.status_code == 409
    assert message.startswith(
        f"Cannot add host to aggregate {number}. Reason: The host cannot be added to the aggregate as the "
        f"availability zone of the host would change from 'None' to '{zone}' but the host already has "
    )
    assert message.endswith("you can use shelve_offload and unshelve to achieve this..")


def test_a_host_with_servers_moves_freely_without_zones(cloud: CloudUnderTest, aggregate: Make) -> None:
    host, first, second = cloud.busy_host(), aggregate()["id"], aggregate()["id"]

    codes = [
        answer.status_code
        for answer in (add(cloud, first, host), remove(cloud, first, host), add(cloud, second, host))
    ]

    assert codes == [200, 200, 200]


def test_a_zone_is_not_given_to_hosts_with_servers(cloud: CloudUnderTest, aggregate: Make) -> None:
    number = aggregate()["id"]
    add(cloud, number, cloud.busy_host())

    answer = act(cloud, number, {"set_metadata": {"metadata": {"availability_zone": unique("zone")}}})

    reason = "One or more hosts contain instances in this zone."
    text = f"Cannot update metadata of aggregate {number}. Reason: {reason}"
    assert (answer.status_code, answer.json()) == (400, bad(text))


def test_a_host_with_servers_does_not_leave_its_zone(
    cloud: CloudUnderTest, aggregate: Make, boot: Callable[..., str]
) -> None:
    zone, host = unique("zone"), cloud.empty_host()
    number = aggregate(zone)["id"]
    add(cloud, number, host)
    server_id = boot(host=host)

    stuck = remove(cloud, number, host)
    cloud.nova("DELETE", f"/servers/{server_id}")
    cloud.until(lambda: cloud.nova("GET", f"/servers/{server_id}").status_code == 404)
    free = remove(cloud, number, host)

    message = stuck.json()["conflictingRequest"]["message"]
    assert stuck.status_code == 409
    assert f"would change from '{zone}' to 'None' but the host already has 1 instance(s)." in message
    assert free.status_code == 200


def test_placement_learns_of_membership(cloud: CloudUnderTest, aggregate: Make) -> None:
    made, host = aggregate(), cloud.empty_host()
    path = f"/resource_providers/{cloud.provider(host)['uuid']}/aggregates"

    add(cloud, made["id"], host)
    inside = cloud.placement("GET", path).json()["aggregates"]
    remove(cloud, made["id"], host)
    outside = cloud.placement("GET", path).json()["aggregates"]

    assert made["uuid"] in inside
    assert made["uuid"] not in outside


def test_an_aggregate_id_is_a_number(cloud: CloudUnderTest) -> None:
    answer = cloud.nova("GET", "/os-aggregates/abc")

    assert (answer.status_code, answer.json()) == (400, bad("Invalid input received: id must be an integer"))
