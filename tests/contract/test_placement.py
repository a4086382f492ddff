from collections.abc import Callable
from typing import Any

import pytest
from contract.under_test import CloudUnderTest

Boot = Callable[..., str]
NOBODY = "00000000-0000-0000-0000-000000000000"
LINKS = {
    "1.0": ["self", "inventories", "usages"],
    "1.1": ["self", "inventories", "usages", "aggregates"],
    "1.6": ["self", "inventories", "usages", "aggregates", "traits"],
    "1.11": ["self", "inventories", "usages", "aggregates", "traits", "allocations"],
}
BAD = "The server could not comply with the request since it is either malformed or otherwise incorrect."


def error(answer: Any) -> dict[str, Any]:
    found = answer.json()["errors"]
    assert len(found) == 1
    assert set(found[0]) == {"status", "title", "detail", "code", "request_id"}
    assert found[0]["status"] == answer.status_code
    return dict(found[0])


@pytest.mark.parametrize("version", list(LINKS))
def test_a_provider_links_what_its_microversion_knows(cloud: CloudUnderTest, version: str) -> None:
    provider = cloud.placement("GET", "/resource_providers", version).json()["resource_providers"][0]

    assert list(provider) == ["uuid", "name", "generation", "links"]
    assert [link["rel"] for link in provider["links"]] == LINKS[version]


def test_a_provider_knows_its_tree_from_1_14(cloud: CloudUnderTest) -> None:
    provider = cloud.placement("GET", "/resource_providers", "1.14").json()["resource_providers"][0]

    assert list(provider)[-2:] == ["parent_provider_uuid", "root_provider_uuid"]


def test_a_provider_shows_its_parts(cloud: CloudUnderTest) -> None:
    path = f"/resource_providers/{cloud.provider(cloud.busy_host())['uuid']}"

    parts = {
        name: cloud.placement("GET", f"{path}/{name}").json()
        for name in ("inventories", "usages", "aggregates", "traits", "allocations")
    }

    assert all(set(part) == {name, "resource_provider_generation"} for name, part in parts.items())
    assert set(parts["inventories"]["inventories"]["VCPU"]) == {
        "total",
        "reserved",
        "min_unit",
        "max_unit",
        "step_size",
        "allocation_ratio",
    }
    assert set(parts["usages"]["usages"]) == set(parts["inventories"]["inventories"])
    allocation = next(iter(parts["allocations"]["allocations"].values()))
    assert set(allocation) == {"resources", "consumer_generation"}


@pytest.mark.parametrize("path", ["", "/inventories", "/usages", "/aggregates", "/traits", "/allocations"])
def test_an_unknown_provider_is_a_404(cloud: CloudUnderTest, path: str) -> None:
    answer = cloud.placement("GET", f"/resource_providers/{NOBODY}{path}")

    detail = error(answer)["detail"]
    assert answer.status_code == 404
    assert detail.startswith("The resource could not be found.\n\n ")
    assert f"No resource provider with uuid {NOBODY} found" in detail


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "/resource_providers?resources=NOPE:1",
            "Invalid resource class in resources parameter: No such resource class NOPE.",
        ),
        (
            "/resource_providers?resources=VCPU:x",
            "Requested resource VCPU expected positive integer amount. Got: x.",
        ),
        (
            "/resource_providers?required=NOPE",
            'Invalid trait(s) in "required" parameter: No such trait(s): NOPE.',
        ),
        ("/allocation_candidates?resources=VCPU:1&required=NOPE", "No such trait(s): NOPE."),
        ("/allocation_candidates", "There must be at least one resources or resources[$S] parameter."),
        (
            "/resource_providers?member_of=x",
            (
                "Invalid query string parameters: "
                "Expected 'member_of' parameter to contain valid UUID(s). Got: x"
            ),
        ),
    ],
    ids=["class", "amount", "trait", "candidates trait", "no resources", "member_of"],
)
def test_a_bad_query_is_a_400(cloud: CloudUnderTest, path: str, text: str) -> None:
    answer = cloud.placement("GET", path)

    assert answer.status_code == 400
    assert error(answer)["detail"] == f"{BAD}\n\n {text}  "


@pytest.mark.parametrize(
    "path", ["/resource_providers?bogus=1", "/allocation_candidates?resources=VCPU:1&bogus=1"]
)
def test_an_unknown_parameter_is_a_400(cloud: CloudUnderTest, path: str) -> None:
    answer = cloud.placement("GET", path)

    assert answer.status_code == 400
    assert "Invalid query string parameters: " in error(answer)["detail"]


def test_what_a_microversion_lacks_is_a_404_without_a_code(cloud: CloudUnderTest) -> None:
    answer = cloud.placement("GET", "/allocation_candidates?resources=VCPU:1", "1.9")

    assert answer.status_code == 404
    assert set(answer.json()["errors"][0]) == {"status", "title", "detail", "request_id"}


def test_summaries_tell_capacity_and_use_of_whole_trees(cloud: CloudUnderTest) -> None:
    answer = cloud.placement("GET", "/allocation_candidates?resources=MEMORY_MB:1").json()

    providers = cloud.placement("GET", "/resource_providers").json()["resource_providers"]
    assert set(answer) == {"allocation_requests", "provider_summaries"}
    assert set(answer["allocation_requests"][0]) == {"allocations", "mappings"}
    assert set(answer["provider_summaries"]) == {one["uuid"] for one in providers}
    for uuid, summary in answer["provider_summaries"].items():
        assert list(summary) == ["resources", "traits", "parent_provider_uuid", "root_provider_uuid"]
        assert all(set(one) == {"capacity", "used"} for one in summary["resources"].values())
        assert uuid


def test_a_summary_agrees_with_inventory_and_usage(cloud: CloudUnderTest) -> None:
    uuid = cloud.provider(cloud.busy_host())["uuid"]
    inventory = cloud.placement("GET", f"/resource_providers/{uuid}/inventories").json()["inventories"]
    usage = cloud.placement("GET", f"/resource_providers/{uuid}/usages").json()["usages"]

    answer = cloud.placement("GET", f"/allocation_candidates?resources=MEMORY_MB:1&in_tree={uuid}").json()

    summary = answer["provider_summaries"][uuid]["resources"]
    assert {name: one["used"] for name, one in summary.items()} == usage
    assert {name: one["capacity"] for name, one in summary.items()} == {
        name: int((one["total"] - one["reserved"]) * one["allocation_ratio"])
        for name, one in inventory.items()
    }


@pytest.mark.parametrize(
    ("version", "keys", "all_classes"),
    [
        ("1.12", ["resources"], False),
        ("1.17", ["resources", "traits"], False),
        ("1.27", ["resources", "traits"], True),
        ("1.29", ["resources", "traits", "parent_provider_uuid", "root_provider_uuid"], True),
    ],
)
def test_summaries_grow_with_the_microversion(
    cloud: CloudUnderTest, version: str, keys: list[str], *, all_classes: bool
) -> None:
    path = "/allocation_candidates?resources=MEMORY_MB:1"
    answer = cloud.placement("GET", path, version).json()

    summary = next(iter(answer["provider_summaries"].values()))
    assert list(summary) == keys
    assert ("VCPU" in summary["resources"]) is all_classes


def test_a_host_without_room_in_the_class_asked_for_vanishes(cloud: CloudUnderTest) -> None:
    whole = cloud.placement("GET", "/allocation_candidates?resources=MEMORY_MB:1").json()
    full, name = next(
        (uuid, name)
        for uuid, summary in whole["provider_summaries"].items()
        for name, one in summary["resources"].items()
        if name.startswith("CUSTOM_") and one["used"] == one["capacity"]
    )

    asked = cloud.placement("GET", f"/allocation_candidates?resources={name}:1").json()

    assert full in whole["provider_summaries"]
    assert full not in asked["provider_summaries"]


def test_the_limit_cuts_requests_and_summaries(cloud: CloudUnderTest) -> None:
    answer = cloud.placement("GET", "/allocation_candidates?resources=MEMORY_MB:1&limit=2").json()

    roots = {one["root_provider_uuid"] for one in answer["provider_summaries"].values()}
    assert len(answer["allocation_requests"]) == 2
    assert len(roots) == 2


def test_members_of_an_aggregate_are_found(cloud: CloudUnderTest) -> None:
    aggregates = cloud.nova("GET", "/os-aggregates").json()["aggregates"]
    one = next(aggregate for aggregate in aggregates if aggregate["hosts"])

    found = cloud.placement("GET", f"/resource_providers?member_of={one['uuid']}").json()[
        "resource_providers"
    ]

    assert {provider["uuid"] for provider in found} == {cloud.provider(host)["uuid"] for host in one["hosts"]}


def test_a_claim_bumps_the_generation_and_a_deletion_does_not(cloud: CloudUnderTest, boot: Boot) -> None:
    host = cloud.empty_host()
    before = cloud.provider(host)

    server_id = boot(host=host)
    claimed = cloud.provider(host)["generation"]
    path = f"/resource_providers/{before['uuid']}/allocations"
    holders = cloud.placement("GET", path).json()["allocations"]
    cloud.nova("DELETE", f"/servers/{server_id}")
    freed = cloud.until(lambda: not cloud.placement("GET", path).json()["allocations"])
    after = cloud.provider(host)["generation"]

    assert claimed > before["generation"]
    assert list(holders) == [server_id]
    assert freed
    assert after == claimed


def test_a_stale_generation_is_a_conflict(cloud: CloudUnderTest) -> None:
    provider = cloud.provider(cloud.empty_host())
    path = f"/resource_providers/{provider['uuid']}/aggregates"
    body = cloud.placement("GET", path).json()

    stale = cloud.placement("PUT", path, json={**body, "resource_provider_generation": 99999})
    good = cloud.placement("PUT", path, json=body)

    assert stale.status_code == 409
    assert error(stale)["code"] == "placement.concurrent_update"
    assert good.status_code == 200
    assert set(good.json()["aggregates"]) == set(body["aggregates"])
    assert good.json()["resource_provider_generation"] == body["resource_provider_generation"] + 1


def test_a_project_that_has_nothing_uses_nothing(cloud: CloudUnderTest) -> None:
    answer = cloud.placement("GET", "/usages?project_id=nosuch")

    assert answer.json() == {"usages": {}}


def test_usages_are_by_consumer_type_from_1_38(cloud: CloudUnderTest) -> None:
    path = "/servers/detail?all_tenants=1&status=ACTIVE&limit=1"
    project = cloud.nova("GET", path).json()["servers"][0]["tenant_id"]

    old = cloud.placement("GET", f"/usages?project_id={project}", "1.37").json()["usages"]
    new = cloud.placement("GET", f"/usages?project_id={project}&consumer_type=all").json()["usages"]

    assert new["all"].pop("consumer_count") >= 1
    assert new["all"] == old


def test_classes_and_traits_are_listed(cloud: CloudUnderTest) -> None:
    classes = cloud.placement("GET", "/resource_classes").json()["resource_classes"]
    traits = cloud.placement("GET", "/traits?name=startswith:COMPUTE_STATUS").json()["traits"]

    assert {"VCPU", "MEMORY_MB", "DISK_GB"} <= {one["name"] for one in classes}
    assert traits == ["COMPUTE_STATUS_DISABLED"]


def test_nobodys_allocations_are_an_empty_object(cloud: CloudUnderTest) -> None:
    shown = cloud.placement("GET", f"/allocations/{NOBODY}")
    deleted = cloud.placement("DELETE", f"/allocations/{NOBODY}")

    assert shown.json() == {"allocations": {}}
    assert deleted.status_code == 404
    assert f"No allocations for consumer '{NOBODY}'" in error(deleted)["detail"]


def test_a_wrong_method_is_a_405(cloud: CloudUnderTest) -> None:
    answer = cloud.placement("POST", "/usages", json={})

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
