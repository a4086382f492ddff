"""The embedded NetBox answers as each release does that spotd works with."""

from collections.abc import Iterator
from typing import Any

import pytest
from contract.under_test import NetBoxUnderTest

from spotd.sim import CloudSize, EmbeddedCloud
from spotd.sim.inventory import TOKEN_V2

DEVICES = "/api/dcim/devices/"


def at(version: str) -> Iterator[NetBoxUnderTest]:
    with EmbeddedCloud(CloudSize(hosts=12, projects=1, netbox_version=version), seed=3) as cloud:
        yield NetBoxUnderTest(version, cloud.netbox_url, cloud.netbox_token)


@pytest.fixture(params=["3.5", "4.0", "4.7"])
def netbox(request: pytest.FixtureRequest) -> Iterator[NetBoxUnderTest]:
    yield from at(request.param)


def first(netbox: NetBoxUnderTest, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = netbox.get(f"{DEVICES}?limit=1{query}").json()["results"][0]
    return found


def test_every_answer_and_the_status_name_the_release(netbox: NetBoxUnderTest) -> None:
    answers = [netbox.get(path) for path in ("/api/status/", DEVICES, "/api/nosuch/")]

    assert [answer.headers["API-Version"] for answer in answers] == [netbox.name] * 3
    assert answers[0].json()["netbox-version"].startswith(f"{netbox.name}.")


@pytest.mark.parametrize(
    ("version", "there", "absent"),
    [
        ("3.5", {"device_role"}, {"role", "interface_count", "display_url", "owner"}),
        ("3.6", {"device_role", "role", "interface_count"}, {"display_url", "owner"}),
        ("4.0", {"role", "interface_count"}, {"device_role", "display_url", "owner"}),
        ("4.7", {"role", "interface_count", "display_url", "owner"}, {"device_role"}),
    ],
)
def test_a_device_has_the_keys_of_its_release(version: str, there: set[str], absent: set[str]) -> None:
    for netbox in at(version):
        keys = set(first(netbox))

        assert (there - keys, absent & keys) == (set(), set())


@pytest.mark.parametrize(("version", "is_cut"), [("3.5", False), ("4.0", True), ("4.7", True)])
def test_fields_are_ignored_before_4_0(version: str, is_cut: bool) -> None:
    for netbox in at(version):
        assert (set(first(netbox, "&fields=id,name")) == {"id", "name"}) is is_cut


@pytest.mark.parametrize(("version", "is_left_out"), [("3.5", True), ("4.0", True), ("4.7", False)])
def test_config_context_is_excluded_before_4_7(version: str, is_left_out: bool) -> None:
    for netbox in at(version):
        assert ("config_context" not in first(netbox, "&exclude=config_context")) is is_left_out


@pytest.mark.parametrize(("version", "is_cursor"), [("3.5", False), ("4.0", False), ("4.6", True)])
def test_a_cursor_is_ignored_before_4_6(version: str, is_cursor: bool) -> None:
    for netbox in at(version):
        page = netbox.get(f"{DEVICES}?limit=2&start=0").json()

        assert (page["count"] is None) is is_cursor


def test_every_release_orders_by_id_and_begins_at_one(netbox: NetBoxUnderTest) -> None:
    page = netbox.get(f"{DEVICES}?limit=3&ordering=id&id__gte=5").json()

    assert [device["id"] for device in page["results"]] == [5, 6, 7]


@pytest.mark.parametrize(
    ("version", "here", "gone"),
    [("3.5", "extras", "core"), ("4.0", "extras", "core"), ("4.1", "core", "extras")],
)
def test_the_change_log_moved_with_4_1(version: str, here: str, gone: str) -> None:
    for netbox in at(version):
        there = netbox.get(f"/api/{here}/object-changes/?changed_object_type=dcim.device")
        elsewhere = netbox.get(f"/api/{gone}/object-changes/")

        assert (there.status_code, there.json()["results"][0]["changed_object_type"]) == (200, "dcim.device")
        assert (elsewhere.status_code, elsewhere.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("version", "detail"),
    [("4.4", "Authentication credentials were not provided."), ("4.5", None)],
)
def test_tokens_of_version_2_came_with_4_5(version: str, detail: str | None) -> None:
    for netbox in at(version):
        answer = netbox.get("/api/status/", TOKEN_V2, "Bearer")

        assert answer.json().get("detail") == detail
