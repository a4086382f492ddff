"""Every NetBox from 3.5 on is read alike, and an older one is refused in one sentence."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from clouds_under_test import Watched, settings_of, watching

from spotd.agents.state import AgentName
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.netbox import NetBox
from spotd.fleet.values import Device
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind
from spotd.sim.inventory import TOKEN_V2

RELEASES = ("3.5", "3.6", "4.0", "4.1", "4.5", "4.6", "4.7")
LIST = "/api/dcim/devices/"


@pytest.fixture(params=RELEASES)
def cloud(request: pytest.FixtureRequest) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=12, projects=2, netbox_version=request.param), seed=3) as running:
        yield running


@pytest.fixture
def watched(cloud: EmbeddedCloud) -> Iterator[Watched]:
    with watching(cloud) as region:
        yield region


@pytest.fixture
def netbox(watched: Watched) -> NetBox:
    assert watched.region.netbox is not None
    return watched.region.netbox


@pytest.fixture
def newest() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=12, projects=2), seed=3) as running:
        yield running


def inventory(netbox: NetBox) -> dict[int, Device]:
    return {device.id: device for device in netbox.devices(netbox.tenant_groups())[0]}


def test_a_device_has_the_same_facts_in_every_release(
    cloud: EmbeddedCloud, netbox: NetBox, newest: EmbeddedCloud
) -> None:
    """Its role too, which 3.5 has under another name."""
    with watching(newest) as reference:
        assert reference.region.netbox is not None
        expected = inventory(reference.region.netbox)

    assert inventory(netbox) == expected
    assert {device.role for device in expected.values()} == {"gpu-hypervisor"}


def test_a_deleted_device_is_gone_in_every_release(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """The change log moved with 4.1."""
    groups, now = netbox.tenant_groups(), datetime.now(UTC)
    gone = next(iter(cloud.world.netbox.devices.values()))
    cloud.world.netbox.delete(gone.name, now)

    changes, _ = netbox.device_changes(now - timedelta(seconds=30), groups)

    assert changes.gone == frozenset({gone.id})


def test_a_steady_refresh_costs_the_same_two_requests(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """The release comes with every answer."""
    groups = netbox.tenant_groups()
    before = len(cloud.requests.snapshot())

    netbox.device_changes(datetime.now(UTC), groups)

    assert len(cloud.requests.snapshot()) - before == 2


def test_no_device_is_lost_where_another_is_deleted_between_two_pages(
    cloud: EmbeddedCloud, netbox: NetBox
) -> None:
    """By offsets, the one behind the page's end would move to where nobody looks any more."""
    cloud.world.max_limit = 4
    real = cloud.world.netbox.devices
    first = real[min(real)]

    def delete() -> None:
        cloud.world.netbox.delete(first.name, datetime.now(UTC))

    cloud.faults.add(Fault(kind=FaultKind.NONE, service="netbox", path=LIST, skip=1, times=1, before=delete))

    assert set(inventory(netbox)) == {first.id, *real}


def test_every_page_is_walked(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """Tenants too."""
    cloud.world.max_limit = 2

    found = inventory(netbox)

    assert set(found) == set(cloud.world.netbox.devices)
    assert {device.tenant_group for device in found.values()} == {"Nexgen Cloud", "Investors"}


def test_a_proxy_that_drops_the_header_costs_one_request_more(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """The release is asked for once, and then it is known."""
    cloud.world.netbox.names_version = False
    cloud.world.max_limit = 4
    now = datetime.now(UTC)

    assert set(inventory(netbox)) == set(cloud.world.netbox.devices)
    netbox.device_changes(now, {})
    netbox.device_changes(now, {})

    asked = [seen.path for seen in cloud.requests.snapshot() if seen.path == "/api/status/"]
    assert asked == ["/api/status/"]


@pytest.mark.parametrize("names_version", [True, False], ids=["header", "no-header"])
def test_an_upgrade_between_two_refreshes_heals_by_itself(names_version: bool) -> None:
    """The old path of the change log is a 404 then."""
    with EmbeddedCloud(CloudSize(hosts=12, projects=2, netbox_version="4.0"), seed=3) as cloud:
        cloud.world.netbox.names_version = names_version
        with watching(cloud) as watched:
            netbox = watched.region.netbox
            assert netbox is not None
            now, groups = datetime.now(UTC), netbox.tenant_groups()
            netbox.device_changes(now, groups)
            cloud.world.netbox.upgrade((4, 7))

            with pytest.raises(CloudError) as caught:
                netbox.device_changes(now, groups)
            netbox.device_changes(now, groups)

    assert caught.value.reason is Failure.NOT_FOUND


@pytest.mark.parametrize("names_version", [True, False], ids=["header", "no-header"])
@pytest.mark.parametrize("release", ["3.4", "2.11"])
def test_an_older_release_is_refused_in_one_sentence(release: str, names_version: bool) -> None:
    """Whatever is asked first."""
    with EmbeddedCloud(CloudSize(hosts=12, projects=2, netbox_version=release), seed=3) as cloud:
        cloud.world.netbox.names_version = names_version
        with watching(cloud) as watched:
            netbox = watched.region.netbox
            assert netbox is not None
            for ask in (netbox.version, lambda: netbox.devices({})):
                with pytest.raises(CloudError) as caught:
                    ask()

                assert caught.value.reason is Failure.MICROVERSION
                assert (
                    str(caught.value) == f"netbox: spotd needs NetBox 3.5 (2023) or newer; this is {release}"
                )


def test_a_token_of_version_2_says_why_an_older_release_refuses_it() -> None:
    """Else it would look like a wrong token."""
    with EmbeddedCloud(CloudSize(hosts=12, projects=2, netbox_version="4.4"), seed=3) as cloud:
        settings = settings_of(cloud, netbox={"token": TOKEN_V2})
        with watching(cloud, settings=settings) as watched:
            netbox = watched.region.netbox
            assert netbox is not None
            with pytest.raises(CloudError) as caught:
                netbox.tenant_groups()

    assert caught.value.reason is Failure.UNAUTHORIZED
    assert str(caught.value) == "netbox: this is 4.4, and tokens of version 2 (nbt_…) came with 4.5"


@pytest.mark.parametrize("told", ["", "latest", "4", "x" * 5000, "\u0664.\u0667"])
def test_a_header_that_names_no_release_is_no_release(newest: EmbeddedCloud, told: str) -> None:
    """Then the status says it."""
    newest.world.netbox.names_version = False
    newest.faults.add(
        Fault(
            kind=FaultKind.STATUS,
            status=200,
            headers={"API-Version": told.encode().decode("latin-1")},
            body='{"count": 0, "next": null, "results": []}',
            service="netbox",
            path="/tenants/",
        )
    )
    with watching(newest) as watched:
        assert watched.region.netbox is not None
        watched.region.netbox.tenant_groups()

        assert len(watched.region.netbox.devices({})[0]) == len(newest.world.netbox.devices)


def test_another_object_of_the_same_id_takes_no_device_away(cloud: EmbeddedCloud, netbox: NetBox) -> None:
    """Where the filter on the log is dropped on the way, deletions of cables and racks come too."""
    device = next(iter(cloud.world.netbox.devices))
    row = {"id": 1, "action": {"value": "delete"}, "changed_object_id": device}
    rows = [{**row, "changed_object_type": "dcim.cable"}]
    body = f'{{"count": 1, "next": null, "results": {rows!r}}}'.replace("'", '"')
    netbox.tenant_groups()
    cloud.faults.add(
        Fault(kind=FaultKind.STATUS, status=200, body=body, service="netbox", path="object-changes")
    )

    changes, _ = netbox.device_changes(datetime.now(UTC), {})

    assert changes.gone == frozenset()


def test_the_agent_follows_every_release_from_one_collection_to_the_next(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """A device that is changed, one that is deleted, and the rest."""
    first, second = list(cloud.world.netbox.devices.values())[:2]
    watched.settle()
    cloud.world.netbox.edit(first.name, watched.clock.now(), status="failed")
    cloud.world.netbox.delete(second.name, watched.clock.now())

    watched.collect()

    reading = watched.snapshot().readings.netbox
    assert reading is not None
    assert set(reading.value.devices) == set(cloud.world.netbox.devices)
    assert reading.value.devices[first.id].status == "failed"


def test_an_older_release_fails_the_agent_and_nothing_else() -> None:
    """The rest of the fleet is watched without it."""
    with (
        EmbeddedCloud(CloudSize(hosts=12, projects=2, netbox_version="3.4"), seed=3) as cloud,
        watching(cloud) as watched,
    ):
        watched.settle()
        state = watched.state(AgentName.NETBOX)

    assert (state.succeeded, state.last_failure_reason) == (False, Failure.MICROVERSION)
    assert state.last_failure_message == "netbox: spotd needs NetBox 3.5 (2023) or newer; this is 3.4"
