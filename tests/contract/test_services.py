from typing import Any

import pytest
from contract.under_test import Answer, CloudUnderTest

OLD = ["binary", "host", "id", "zone", "status", "state", "updated_at", "disabled_reason"]
NEW = [*OLD, "forced_down"]
LONG = "x" * 256
NOBODY = "00000000-0000-0000-0000-000000000000"


def put(cloud: CloudUnderTest, service: dict[str, Any], body: dict[str, Any]) -> Answer:
    return cloud.nova("PUT", f"/os-services/{service['id']}", "2.53", json=body)


@pytest.mark.parametrize(
    ("version", "keys", "kind"),
    [("2.1", OLD, int), ("2.11", NEW, int), ("2.53", NEW, str), ("2.96", NEW, str)],
)
def test_services_have_uuids_from_2_53_and_forced_down_from_2_11(
    cloud: CloudUnderTest, version: str, keys: list[str], kind: type
) -> None:
    services = cloud.nova("GET", "/os-services?binary=nova-compute", version).json()["services"]

    assert services
    assert all(list(one) == keys for one in services)
    assert all(isinstance(one["id"], kind) for one in services)


def test_services_are_filtered_by_host_and_binary(cloud: CloudUnderTest) -> None:
    host = cloud.empty_host()

    one = cloud.nova("GET", f"/os-services?host={host}").json()["services"]
    none = cloud.nova("GET", "/os-services?host=nosuch").json()["services"]
    everything = cloud.nova("GET", "/os-services").json()["services"]

    assert [service["host"] for service in one] == [host]
    assert none == []
    assert {"nova-compute", "nova-scheduler", "nova-conductor"} <= {one["binary"] for one in everything}


def test_an_unknown_filter_is_a_400_from_2_75(cloud: CloudUnderTest) -> None:
    new, old = cloud.nova("GET", "/os-services?bogus=1"), cloud.nova("GET", "/os-services?bogus=1", "2.74")

    text = "Additional properties are not allowed ('bogus' was unexpected)"
    assert new.json() == {"badRequest": {"code": 400, "message": text}}
    assert old.status_code == 200


def test_disabling_again_overwrites_or_erases_the_reason(
    cloud: CloudUnderTest, idle_service: dict[str, Any]
) -> None:
    reasons = [
        put(cloud, idle_service, {"status": "disabled", **more}).json()["service"]["disabled_reason"]
        for more in ({"disabled_reason": "first"}, {"disabled_reason": " second"}, {})
    ]

    assert reasons == ["first", " second", None]


def test_enabling_is_idempotent_and_clears_the_reason(
    cloud: CloudUnderTest, idle_service: dict[str, Any]
) -> None:
    put(cloud, idle_service, {"status": "disabled", "disabled_reason": "x"})

    answers = [put(cloud, idle_service, {"status": "enabled"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    shown = answers[0].json()["service"]
    assert list(shown) == NEW
    assert (shown["status"], shown["disabled_reason"]) == ("enabled", None)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"status": "enabled", "disabled_reason": "x"},
            "Specifying 'disabled_reason' with status 'enabled' is invalid.",
        ),
        (
            {"status": "disabled", "disabled_reason": ""},
            "Invalid input for field/attribute disabled_reason. Value: . '' should be non-empty",
        ),
        (
            {"status": "disabled", "disabled_reason": LONG},
            f"Invalid input for field/attribute disabled_reason. Value: {LONG}. '{LONG}' is too long",
        ),
        (
            {"status": "x"},
            "Invalid input for field/attribute status. Value: x. 'x' is not one of ['enabled', 'disabled']",
        ),
        (
            {"host": "h", "binary": "nova-compute"},
            "Additional properties are not allowed ('binary', 'host' were unexpected)",
        ),
    ],
    ids=["enable with reason", "empty", "too long", "unknown status", "old body"],
)
def test_a_wrong_update_is_a_400(
    cloud: CloudUnderTest, idle_service: dict[str, Any], body: dict[str, Any], text: str
) -> None:
    answer = put(cloud, idle_service, body)

    assert (answer.status_code, answer.json()) == (400, {"badRequest": {"code": 400, "message": text}})


def test_the_longest_reason_has_255_characters(cloud: CloudUnderTest, idle_service: dict[str, Any]) -> None:
    answer = put(cloud, idle_service, {"status": "disabled", "disabled_reason": "y" * 255})

    assert answer.json()["service"]["disabled_reason"] == "y" * 255


def test_an_unknown_service_is_a_404(cloud: CloudUnderTest) -> None:
    answer = put(cloud, {"id": NOBODY}, {"status": "disabled"})

    text = f"Service {NOBODY} could not be found."
    assert (answer.status_code, answer.json()) == (404, {"itemNotFound": {"code": 404, "message": text}})


def test_forcing_down_shows_at_once(cloud: CloudUnderTest, idle_service: dict[str, Any]) -> None:
    down = put(cloud, idle_service, {"forced_down": True}).json()["service"]
    up = put(cloud, idle_service, {"forced_down": False}).json()["service"]

    assert (down["state"], down["status"], down["forced_down"]) == ("down", "enabled", True)
    assert (up["state"], up["forced_down"]) == ("up", False)


def test_a_disabled_service_marks_its_provider(cloud: CloudUnderTest, idle_service: dict[str, Any]) -> None:
    path = f"/resource_providers/{cloud.provider(idle_service['host'])['uuid']}/traits"

    def marked() -> bool:
        return "COMPUTE_STATUS_DISABLED" in cloud.placement("GET", path).json()["traits"]

    before = marked()
    put(cloud, idle_service, {"status": "disabled", "disabled_reason": "contract"})
    came = cloud.until(marked)
    put(cloud, idle_service, {"status": "enabled"})
    went = cloud.until(lambda: not marked())

    assert (before, came, went) == (False, True, True)


def test_the_old_calls_work_below_2_53(cloud: CloudUnderTest, idle_service: dict[str, Any]) -> None:
    who = {"host": idle_service["host"], "binary": "nova-compute"}

    disabled = cloud.nova("PUT", "/os-services/disable", "2.1", json=who).json()
    because = cloud.nova(
        "PUT", "/os-services/disable-log-reason", "2.1", json={**who, "disabled_reason": "lab"}
    ).json()
    enabled = cloud.nova("PUT", "/os-services/enable", "2.1", json=who).json()

    assert disabled == {"service": {**who, "status": "disabled"}}
    assert because == {"service": {**who, "status": "disabled", "disabled_reason": "lab"}}
    assert enabled == {"service": {**who, "status": "enabled"}}


def test_a_service_with_servers_is_not_deleted(cloud: CloudUnderTest) -> None:
    if cloud.name != "embedded":
        pytest.skip("on a real cloud a wrong answer would cost a compute service")
    service = cloud.service(cloud.busy_host())

    answer = cloud.nova("DELETE", f"/os-services/{service['id']}")

    text = (
        "Unable to delete compute service that is hosting instances. Migrate or delete the instances first."
    )
    assert (answer.status_code, answer.json()) == (
        409,
        {"conflictingRequest": {"code": 409, "message": text}},
    )
