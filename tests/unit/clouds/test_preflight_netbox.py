"""Before the daemon runs, NetBox's release, filters and custom fields are looked at."""

from datetime import UTC, datetime
from typing import Any

import pytest
from clouds_under_test import settings_of, watching

from spotd.clouds.finding import Finding
from spotd.clouds.preflight import look
from spotd.clouds.preflight_netbox import look_at_netbox
from spotd.clouds.preflight_versions import look_at_versions
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind


def findings(cloud: EmbeddedCloud, **netbox: Any) -> dict[str, Finding]:
    settings = settings_of(cloud, netbox=netbox)
    with watching(cloud, settings=settings) as watched:
        assert watched.region.netbox is not None
        return {one.need: one for one in look_at_netbox(watched.region.netbox)}


def unmet(cloud: EmbeddedCloud, **netbox: Any) -> dict[str, Finding]:
    return {need: one for need, one in findings(cloud, **netbox).items() if not one.is_met}


def set_fields(cloud: EmbeddedCloud, count: int, **fields: Any) -> list[str]:
    """The names of the devices whose custom fields are changed."""
    names = sorted(device.name for device in cloud.world.netbox.devices.values())[:count]
    for name in names:
        cloud.world.netbox.edit(name, datetime.now(UTC), custom_fields=fields)
    return names


@pytest.mark.parametrize("release", ["3.5", "4.0", "4.7"])
def test_nothing_is_missing_in_any_release(release: str) -> None:
    with EmbeddedCloud(CloudSize(hosts=12, projects=2, netbox_version=release), seed=3) as cloud:
        found = findings(cloud, query={"role": "gpu-hypervisor", "status": ["active", "failed", "offline"]})

    assert all(one.is_met for one in found.values())
    assert found["NetBox answers"].detail == f"version {release}.3; spotd needs NetBox 3.5 (2023) or newer"
    assert "NetBox: filter devices" in found


def test_an_older_release_is_named() -> None:
    with EmbeddedCloud(CloudSize(hosts=12, projects=2, netbox_version="3.4"), seed=3) as cloud:
        (finding,) = findings(cloud).values()

    assert not finding.is_met
    assert finding.detail == "netbox: spotd needs NetBox 3.5 (2023) or newer; this is 3.4"


@pytest.mark.parametrize(
    "query",
    [{"statsu": "active"}, {"statsu": ["active", "failed"]}, {"roel": "x"}, {"statsu__n": "active"}],
    ids=str,
)
def test_a_filter_that_netbox_does_not_know_is_named(cloud: EmbeddedCloud, query: dict[str, Any]) -> None:
    """It would bring devices of every kind."""
    found = unmet(cloud, query={"role": "gpu-hypervisor", **query})

    assert ["NetBox: filter devices"] == list(found)
    assert f"netbox.query.{next(iter(query))}: " in found["NetBox: filter devices"].detail
    assert not found["NetBox: filter devices"].is_optional


@pytest.mark.parametrize(
    "query",
    [{"role": "gpu-hypervisor"}, {"status__n": "failed"}, {"name__ic": "-"}, {"site": ["ca1", "no1", "us1"]}],
    ids=str,
)
def test_a_filter_that_all_devices_pass_is_not_named(cloud: EmbeddedCloud, query: dict[str, Any]) -> None:
    """A value that nothing has tells it from one that is ignored."""
    assert unmet(cloud, query=query) == {}


def test_a_failure_while_a_filter_is_looked_at_is_told(cloud: EmbeddedCloud) -> None:
    cloud.faults.add(Fault(kind=FaultKind.STATUS, status=500, service="netbox", path="no-such-value"))

    found = unmet(cloud, query={"role": "gpu-hypervisor"})

    assert ["NetBox"] == list(found)
    assert "count devices answered 500" in found["NetBox"].detail


@pytest.mark.parametrize("setting", ["gpu_count_field", "nvlink_field"])
def test_a_custom_field_that_no_device_has_is_named(cloud: EmbeddedCloud, setting: str) -> None:
    found = unmet(cloud, **{setting: "gpu_cuont"})

    assert [f"NetBox: {setting}"] == list(found)
    assert 'no device has a custom field "gpu_cuont"' in found[f"NetBox: {setting}"].detail
    assert not found[f"NetBox: {setting}"].is_optional


def test_a_field_that_is_only_the_default_may_be_absent(cloud: EmbeddedCloud) -> None:
    """The operator may count GPUs by Placement."""
    for device in cloud.world.netbox.devices.values():
        device.custom_fields.clear()
        device.fragments.clear()

    found = findings(cloud)

    assert all(one.is_met for one in found.values())
    assert 'no device has a custom field "gpu_count"' in found["NetBox: gpu_count_field"].detail


def test_values_that_cannot_be_read_are_counted_with_an_example(cloud: EmbeddedCloud) -> None:
    """spotd watches without them, and moves no such host."""
    names = set_fields(cloud, 3, gpu_count="eight\x1b[2J")

    found = unmet(cloud)

    assert ["NetBox: gpu_count_field"] == list(found)
    assert found["NetBox: gpu_count_field"].is_optional
    assert found["NetBox: gpu_count_field"].detail == (
        f'custom field "gpu_count": cannot be read on 3 devices, such as "{names[0]}": "eight\\u001b[2J";'
        " there it is unknown"
    )


def test_other_forms_are_read(cloud: EmbeddedCloud) -> None:
    set_fields(cloud, 3, gpu_count={"value": "8", "label": "8"}, nvlinks_capable="Yes")

    found = findings(cloud)

    assert found["NetBox: gpu_count_field"].is_met
    assert "known of 14 of 14 devices" in found["NetBox: gpu_count_field"].detail


def test_tags_that_cannot_be_read_are_named(cloud: EmbeddedCloud) -> None:
    cloud.faults.add(
        Fault(
            kind=FaultKind.REWRITTEN,
            rewrite=lambda page: {**page, "results": [{**row, "tags": "h100"} for row in page["results"]]},
            service="netbox",
            path="/devices/",
        )
    )

    found = unmet(cloud)

    assert ["NetBox: tags of devices"] == list(found)


def test_nova_and_placement_are_named_with_what_is_needed(cloud: EmbeddedCloud) -> None:
    with watching(cloud) as watched:
        found = [one.detail for one in look_at_versions(watched.region.session)]

    assert found == [
        "spotd needs Nova 2.69 (Stein, 2019) or newer; this is 2.104",
        "spotd needs Placement 1.31 (Stein, 2019) or newer; this is 1.39",
    ]


def test_what_is_too_old_is_missing(cloud: EmbeddedCloud) -> None:
    cloud.world.nova_max, cloud.world.placement_max = 65, 30
    with watching(cloud) as watched:
        found = {one.need: one for one in look(watched.region.session, None) if not one.is_met}

    assert found["Nova is new enough"].detail.endswith("this is 2.65")
    assert found["Placement is new enough"].detail.endswith("this is 1.30")
    assert "this is 2.65" in found["list compute services"].detail


@pytest.mark.parametrize("body", ["{}", "[]", '{"version": 7, "versions": [7, {"version": null}]}', "x"])
def test_a_document_that_tells_no_version_is_no_finding(cloud: EmbeddedCloud, body: str) -> None:
    """The questions that follow tell it."""
    for service in ("nova", "placement"):
        cloud.faults.add(
            Fault(kind=FaultKind.STATUS, status=200, body=body, service=service, path=r"/(v2\.1/)?$")
        )
    with watching(cloud) as watched:
        assert [] == list(look_at_versions(watched.region.session))
