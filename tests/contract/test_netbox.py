import re
from typing import Any
from urllib.parse import urlparse

import pytest
from contract.under_test import NetBoxUnderTest

DEVICE_WORDS = (
    "id url display_url display name device_type role tenant platform serial asset_tag site location "
    "rack position face latitude longitude parent_device status airflow cooling_method primary_ip "
    "primary_ip4 primary_ip6 oob_ip cluster virtual_chassis vc_position vc_priority description owner "
    "comments config_template config_context local_context_data tags custom_fields created last_updated "
    "console_port_count console_server_port_count power_port_count power_outlet_count "
    "cooling_intake_count cooling_outflow_count interface_count front_port_count rear_port_count "
    "device_bay_count module_bay_count inventory_item_count"
)
DEVICE = DEVICE_WORDS.split()
TENANT_WORDS = (
    "id url display_url display name slug group description owner comments tags custom_fields created "
    "last_updated circuit_count device_count ipaddress_count prefix_count rack_count site_count "
    "virtualmachine_count vlan_count vrf_count cluster_count"
)
TENANT = TENANT_WORDS.split()
CHANGE_WORDS = (
    "id url display_url display time user user_name request_id action changed_object_type "
    "changed_object_id changed_object object_repr message prechange_data postchange_data"
)
CHANGE = CHANGE_WORDS.split()
DEVICES = "/api/dcim/devices/"


def walk(netbox: NetBoxUnderTest, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while path:
        page = netbox.get(path).json()
        found += page["results"]
        following = urlparse(page["next"] or "")
        path = f"{following.path}?{following.query}" if page["next"] else ""
    return found


def test_a_device_has_all_its_keys(netbox: NetBoxUnderTest) -> None:
    device = netbox.get(f"{DEVICES}?limit=1").json()["results"][0]

    assert list(device) == DEVICE
    assert set(device["status"]) == {"value", "label"}
    assert set(device["tenant"]) == {"id", "url", "display", "name", "slug", "description"}
    assert set(device["rack"]) == {"id", "url", "display", "name", "description"}


def test_fields_cut_a_device_to_those_named(netbox: NetBoxUnderTest) -> None:
    device = netbox.get(f"{DEVICES}?limit=1&fields=id,name,status,bogus").json()["results"][0]

    assert list(device) == ["id", "name", "status"]


def test_omit_leaves_a_field_out(netbox: NetBoxUnderTest) -> None:
    device = netbox.get(f"{DEVICES}?limit=1&omit=config_context").json()["results"][0]

    assert list(device) == [key for key in DEVICE if key != "config_context"]


def test_brief_devices_have_neither_status_nor_tags(netbox: NetBoxUnderTest) -> None:
    device = netbox.get(f"{DEVICES}?limit=1&brief=1").json()["results"][0]

    assert list(device) == ["id", "url", "display", "name", "description"]


def test_offset_pages_go_by_name_and_tell_the_count(netbox: NetBoxUnderTest) -> None:
    first = netbox.get(f"{DEVICES}?limit=7&fields=id,name").json()

    names = [device["name"] for device in walk(netbox, f"{DEVICES}?limit=7&fields=id,name")]
    assert list(first) == ["count", "next", "previous", "results"]
    assert first["next"].endswith(f"{DEVICES}?fields=id%2Cname&limit=7&offset=7")
    assert first["previous"] is None
    assert len(names) == first["count"] == len(set(names))
    assert names == sorted(names, key=natural)


def natural(name: str) -> list[tuple[int, str]]:
    """NetBox sorts names as people do: `node8` before `node10`, without regard to case."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def test_cursor_pages_go_by_id_and_tell_no_count(netbox: NetBoxUnderTest) -> None:
    first = netbox.get(f"{DEVICES}?limit=7&start=0&fields=id").json()

    ids = [device["id"] for device in walk(netbox, f"{DEVICES}?limit=7&start=0&fields=id")]
    last = first["results"][-1]["id"]
    assert first["count"] is None
    assert first["next"].endswith(f"{DEVICES}?fields=id&limit=7&start={last + 1}")
    assert ids == sorted(set(ids))


def test_an_offset_past_the_end_is_an_empty_page(netbox: NetBoxUnderTest) -> None:
    page = netbox.get(f"{DEVICES}?offset=100000&fields=id").json()

    assert page["results"] == []
    assert page["next"] is None
    assert page["previous"].endswith("?fields=id&limit=50&offset=99950")


def test_a_limit_above_the_maximum_is_cut_silently(netbox: NetBoxUnderTest) -> None:
    page = netbox.get(f"{DEVICES}?limit=5000&fields=id").json()

    assert len(page["results"]) <= 1000


def test_an_unknown_parameter_widens_to_the_whole_list(netbox: NetBoxUnderTest) -> None:
    whole = netbox.get(f"{DEVICES}?limit=1").json()["count"]

    assert netbox.get(f"{DEVICES}?limit=1&statsu=failed").json()["count"] == whole


def test_statuses_add_up_and_tags_narrow(netbox: NetBoxUnderTest) -> None:
    active = netbox.get(f"{DEVICES}?status=active&limit=1").json()
    both = netbox.get(f"{DEVICES}?status=active&status=failed&limit=1").json()["count"]
    failed = netbox.get(f"{DEVICES}?status=failed&limit=1").json()["count"]
    tag = active["results"][0]["tags"][0]["slug"]

    tagged = netbox.get(f"{DEVICES}?tag={tag}&limit=0").json()["results"]

    assert both == active["count"] + failed
    assert tagged
    assert all(tag in [one["slug"] for one in device["tags"]] for device in tagged)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("status=bogus", {"status": ["Select a valid choice. bogus is not one of the available choices."]}),
        ("tag=nosuch", {"tag": ["Select a valid choice. nosuch is not one of the available choices."]}),
        ("site=nosuch", {"site": ["Select a valid choice. nosuch is not one of the available choices."]}),
        ("role=nosuch", {"role": ["Select a valid choice. nosuch is not one of the available choices."]}),
        ("id=x", {"id": ["Enter a whole number."]}),
        ("last_updated__gte=yesterday", {"last_updated__gte": ["Enter a valid date/time."]}),
        ("start=0&offset=1", ["'start' and 'offset' are mutually exclusive."]),
        ("start=abc", ["Invalid 'start' parameter: must be a non-negative integer."]),
        (
            "start=0&ordering=name",
            ["Ordering cannot be specified in conjunction with cursor-based pagination."],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_query_is_a_400(netbox: NetBoxUnderTest, query: str, body: object) -> None:
    answer = netbox.get(f"{DEVICES}?{query}")

    assert (answer.status_code, answer.json()) == (400, body)


@pytest.mark.parametrize(
    ("token", "keyword", "detail"),
    [
        (None, "Token", "Authentication credentials were not provided."),
        ("x", "Token", "Invalid v1 token"),
        ("nbt_nosuchkey001.wrong", "Bearer", "Invalid v2 token"),
    ],
    ids=["none", "v1", "v2"],
)
def test_a_bad_token_is_a_403(netbox: NetBoxUnderTest, token: str | None, keyword: str, detail: str) -> None:
    answer = netbox.get("/api/status/", token, keyword)

    assert (answer.status_code, answer.json()) == (403, {"detail": detail})


def test_either_keyword_goes_with_a_token(netbox: NetBoxUnderTest) -> None:
    assert netbox.get("/api/status/", keyword="Bearer").status_code == 200


def test_an_unknown_device_is_json_and_an_unknown_path_is_html(netbox: NetBoxUnderTest) -> None:
    device, path = netbox.get(f"{DEVICES}999999999/"), netbox.get("/api/nosuch/")

    assert (device.status_code, device.json()) == (404, {"detail": "No Device matches the given query."})
    assert path.status_code == 404
    assert path.headers["Content-Type"].startswith("text/html")


def test_a_path_without_its_slash_is_redirected(netbox: NetBoxUnderTest) -> None:
    answer = netbox.get("/api/dcim/devices?limit=1")

    assert answer.status_code == 301
    assert answer.headers["Location"] == "/api/dcim/devices/?limit=1"


def test_the_status_tells_the_version(netbox: NetBoxUnderTest) -> None:
    answer = netbox.get("/api/status/")

    assert answer.json()["netbox-version"].startswith("4.7")
    assert answer.headers["API-Version"] == "4.7"


def test_nothing_has_changed_since_the_future(netbox: NetBoxUnderTest) -> None:
    page = netbox.get(f"{DEVICES}?last_updated__gte=2099-01-01T00:00:00Z").json()

    assert page == {"count": 0, "next": None, "previous": None, "results": []}


def test_everything_has_changed_since_the_past(netbox: NetBoxUnderTest) -> None:
    whole = netbox.get(f"{DEVICES}?limit=1").json()["count"]

    since = netbox.get(f"{DEVICES}?last_updated__gte=2000-01-01T00:00:00Z&limit=1").json()["count"]

    assert since == whole


def test_a_tenant_names_its_group(netbox: NetBoxUnderTest) -> None:
    tenant = netbox.get("/api/tenancy/tenants/?limit=1").json()["results"][0]
    short = netbox.get("/api/tenancy/tenants/?limit=1&fields=id,name,group").json()["results"][0]

    assert list(tenant) == TENANT
    assert list(short) == ["id", "name", "group"]
    assert {"id", "url", "display", "name", "slug", "description", "_depth"} <= set(tenant["group"])


def test_the_change_log_tells_what_happened_to_devices(netbox: NetBoxUnderTest) -> None:
    path = "/api/core/object-changes/?changed_object_type=dcim.device&limit=1"

    change = netbox.get(path).json()["results"][0]

    assert list(change) == CHANGE
    assert change["changed_object_type"] == "dcim.device"
    assert set(change["action"]) == {"value", "label"}


def test_a_bad_question_to_the_change_log_is_a_400(netbox: NetBoxUnderTest) -> None:
    action = netbox.get("/api/core/object-changes/?action=bogus")
    time = netbox.get("/api/core/object-changes/?time_after=bogus")

    text = "Select a valid choice. bogus is not one of the available choices."
    assert (action.status_code, action.json()) == (400, {"action": [text]})
    assert (time.status_code, time.json()) == (400, {"time": ["Enter a valid date/time."]})
