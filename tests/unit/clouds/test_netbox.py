"""NetBox is read to the last page, by the right scheme, and never at another address."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clouds_under_test import Watched, settings_of, watching

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.netbox import NetBox
from spotd.sim import EmbeddedCloud, Fault, FaultKind
from spotd.sim.inventory import TOKEN_V2, TOKEN_WITHOUT_RIGHTS
from spotd.sim.wire import Answer, Call


@pytest.fixture
def netbox(watched: Watched) -> NetBox:
    found = watched.region.netbox
    assert found is not None
    return found


def answer(cloud: EmbeddedCloud, path: str, *documents: Any) -> None:
    """Orders these documents for the next requests to a path."""
    for document in documents:
        cloud.faults.add(
            Fault(
                kind=FaultKind.STATUS,
                status=200,
                body=json.dumps(document),
                service="netbox",
                path=path,
                times=1,
            )
        )


def fails(call: Any, reason: Failure) -> CloudError:
    with pytest.raises(CloudError) as caught:
        call()
    assert reason == caught.value.reason
    return caught.value


@pytest.mark.parametrize(
    ("token", "scheme"),
    [("simv1token0000000000000000000000000000ab", "Token"), (TOKEN_V2, "Bearer")],
    ids=["v1", "v2"],
)
def test_each_version_of_token_has_its_scheme(cloud: EmbeddedCloud, token: str, scheme: str) -> None:
    """Version 2 tokens are refused under the old one."""
    seen: list[str] = []
    server = cloud._servers["netbox"]
    original = server.serve_call

    def look(call: Call) -> Answer:
        seen.append(call.headers["authorization"])
        return original(call)

    server.serve_call = look
    with watching(cloud, settings=settings_of(cloud, netbox={"token": token})) as watched:
        watched.region.netbox.version()

    assert [f"{scheme} {token}"] == seen


def test_the_next_page_is_asked_of_the_configured_address(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """Behind a proxy `next` may name a host that only the proxy knows; the token must not go there."""
    first = {"count": 2, "results": [{"id": 1, "group": {"name": "Investors"}}]}
    elsewhere = "http://internal.invalid:1/api/tenancy/tenants/?limit=1000&offset=1"
    answer(
        cloud,
        "/tenants/",
        {**first, "next": elsewhere},
        {"count": 2, "next": None, "results": [{"id": 2, "group": None}]},
    )

    assert {1: "Investors", 2: None} == netbox.tenant_groups()
    assert cloud.requests.snapshot()[-1].query == "limit=1000&offset=1"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused(cloud: EmbeddedCloud, netbox: NetBox, status: int) -> None:
    """Following it would send the token to wherever it points."""
    there = {"Location": "http://elsewhere.invalid/"}
    cloud.faults.add(Fault(kind=FaultKind.STATUS, status=status, headers=there, service="netbox"))

    error = fails(netbox.version, Failure.CONFIGURATION)

    assert "netbox.url" in str(error)


def test_fewer_rows_than_counted_are_incomplete(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """A page that lost some."""
    answer(cloud, "/tenants/", {"count": 3, "next": None, "results": [{"id": 1, "group": None}]})

    fails(netbox.tenant_groups, Failure.INCOMPLETE)


def test_a_missing_right_is_told_apart_from_a_bad_token(cloud: EmbeddedCloud) -> None:
    """NetBox answers 403 to both."""
    for token, reason in [(TOKEN_WITHOUT_RIGHTS, Failure.FORBIDDEN), ("wrong", Failure.UNAUTHORIZED)]:
        with watching(cloud, settings=settings_of(cloud, netbox={"token": token})) as watched:
            fails(watched.region.netbox.tenant_groups, reason)


def test_devices_bring_their_facts(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """And NetBox's clock before the first page."""
    devices, clock = netbox.devices(netbox.tenant_groups())
    real = cloud.world.netbox.devices

    assert len(real) == len(devices)
    assert clock is not None
    assert abs(clock - datetime.now(UTC)) < timedelta(seconds=5)
    one = devices[0]
    assert (real[one.id].name, real[one.id].status, 8) == (one.name, one.status, one.gpu_count)
    assert one.tenant_group in {"Nexgen Cloud", "Investors"}


def test_deleted_devices_are_in_the_change_log_only(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """And changed ones in the list of devices."""
    now = datetime.now(UTC)
    names = [device.name for device in cloud.world.netbox.devices.values()][:2]
    gone = cloud.world.netbox.device(names[0]).id
    cloud.world.netbox.delete(names[0], now)
    cloud.world.netbox.edit(names[1], now, status="failed")

    changes, _ = netbox.device_changes(now - timedelta(seconds=30), {})

    assert frozenset({gone}) == changes.gone
    assert [(names[1], "failed")] == [(device.name, device.status) for device in changes.changed]


def test_a_device_that_leaves_the_query_is_gone(cloud: EmbeddedCloud) -> None:
    """It changed, and the filtered list no longer shows it."""
    settings = settings_of(cloud, netbox={"query": {"status": ["active"]}})
    now = datetime.now(UTC)
    left = next(device for device in cloud.world.netbox.devices.values() if device.status == "active")
    with watching(cloud, settings=settings) as watched:
        cloud.world.netbox.edit(left.name, now, status="failed")

        changes, _ = watched.region.netbox.device_changes(now - timedelta(seconds=30), {})

    assert frozenset({left.id}) == changes.gone


def test_a_device_that_is_logged_but_not_newer_is_still_there(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """A change that does not move `last_updated` is no departure."""
    now = datetime.now(UTC)
    touched = next(iter(cloud.world.netbox.devices.values()))
    before = touched.last_updated
    cloud.world.netbox.edit(touched.name, now)
    touched.last_updated = before
    touched.fragments.clear()

    changes, _ = netbox.device_changes(now - timedelta(seconds=30), {})

    assert frozenset() == changes.gone


@pytest.mark.parametrize(
    "row",
    [
        {"id": "1", "name": "d", "status": {"value": "active"}, "custom_fields": {}},
        {"id": 1, "name": "d", "status": 1, "custom_fields": {}},
        {"id": 1, "name": "d", "status": {"value": None}, "custom_fields": {}},
        {"id": 1, "name": "d", "status": {"value": "active"}, "custom_fields": []},
        {"id": 1, "name": ["d"], "status": {"value": "active"}, "custom_fields": {}},
        "device",
    ],
    ids=["id", "status", "status-value", "custom-fields", "name", "no-object"],
)
def test_a_device_of_another_shape_fails_the_read(cloud: EmbeddedCloud, netbox: NetBox, row: Any) -> None:
    """Rather than lacking facts in silence."""
    answer(cloud, "/devices/", {"count": 1, "next": None, "results": [row]})

    fails(lambda: netbox.devices({}), Failure.MALFORMED)


def test_a_device_without_a_name_is_left_out(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """Nothing can be joined to it."""
    row = {"id": 1, "name": None, "status": {"value": "active"}, "custom_fields": {}}
    answer(cloud, "/devices/", {"count": 1, "next": None, "results": [row]})

    assert ((),) == netbox.devices({})[:1]


DEVICE = {"id": 1, "name": "d", "status": {"value": "active"}, "custom_fields": {}}
TENANT = {"id": 1, "name": "t", "group": None}


def page(*rows: Any, **more: Any) -> dict[str, Any]:
    return {"count": len(rows), "next": None, "results": list(rows), **more}


@pytest.mark.parametrize(
    "document",
    [
        page(DEVICE, DEVICE, count=2),
        page({key: value for key, value in DEVICE.items() if key != "id"}),
        page({**DEVICE, "id": -1}),
        page(DEVICE, count=-1),
        page(DEVICE, count="1"),
        page(DEVICE, count=1.0),
        page(DEVICE, count=True),
        page(DEVICE, next=1),
        page(DEVICE, next=["/api/dcim/devices/?limit=1000&offset=1000"]),
        page(DEVICE, next=False),
        page(DEVICE, next="/api/dcim/devices/"),
        page(DEVICE, next="https://netbox/api/dcim/racks/?limit=1000&offset=1000"),
        page(DEVICE, next="http://[bad/api/dcim/devices/?limit=1000&offset=1000"),
        {"count": 1, "results": [DEVICE]},
    ],
    ids=[
        "twice",
        "no-id",
        "negative-id",
        "negative-count",
        "count-as-text",
        "count-as-fraction",
        "count-as-truth",
        "next-as-number",
        "next-as-list",
        "next-as-truth",
        "next-without-query",
        "next-of-another-list",
        "next-no-address",
        "no-next",
    ],
)
def test_a_list_that_cannot_be_is_one_failed_reading(
    cloud: EmbeddedCloud, netbox: NetBox, document: Any
) -> None:
    """The next good one heals it."""
    answer(cloud, "/devices/", document)

    fails(lambda: netbox.devices({}), Failure.MALFORMED)

    assert len(cloud.world.netbox.devices) == len(netbox.devices({})[0])


@pytest.mark.parametrize(
    "document",
    [
        page(TENANT, TENANT),
        page({"name": "t", "group": None}),
        page({**TENANT, "id": -1}),
        page({**TENANT, "group": 3}),
        page({**TENANT, "group": {"id": 3}}),
    ],
    ids=["twice", "no-id", "negative-id", "group-as-number", "group-without-name"],
)
def test_tenants_that_cannot_be_are_one_failed_reading(
    cloud: EmbeddedCloud, netbox: NetBox, document: Any
) -> None:
    """The next good one heals it."""
    answer(cloud, "/tenants/", document)

    fails(netbox.tenant_groups, Failure.MALFORMED)

    assert len(cloud.world.netbox.tenants) == len(netbox.tenant_groups())


@pytest.mark.parametrize(
    "row",
    [
        {"changed_object_type": "dcim.device", "action": {"value": "delete"}},
        {"changed_object_type": "dcim.device", "action": {"value": "delete"}, "changed_object_id": -1},
        {"changed_object_type": "dcim.device", "action": "delete", "changed_object_id": 1},
        {"changed_object_type": "dcim.device", "action": {"value": None}, "changed_object_id": 1},
        {"action": {"value": "delete"}, "changed_object_id": 1},
    ],
    ids=["no-id", "negative-id", "action-as-text", "action-without-value", "no-type"],
)
def test_a_change_that_cannot_be_is_one_failed_reading(
    cloud: EmbeddedCloud, netbox: NetBox, row: Any
) -> None:
    """What it says of a device would be a guess."""
    answer(cloud, "/object-changes/", page(row))

    fails(lambda: netbox.device_changes(datetime.now(UTC), {}), Failure.MALFORMED)


def test_the_last_page_by_id_must_hold_what_it_counts(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """The count of a page by id is of what is left."""
    cloud.world.max_limit = 4
    cloud.faults.add(
        Fault(
            kind=FaultKind.REWRITTEN,
            rewrite=lambda found: {**found, "results": found["results"][:-1]} if not found["next"] else found,
            service="netbox",
            path="/devices/",
        )
    )

    fails(lambda: netbox.devices({}), Failure.INCOMPLETE)
