"""GPU type, number and use of a host, and their contradictions."""

import re
from datetime import timedelta

import pytest
from fleets import NOW, FleetBuilder, default_interpretation, gpu_flavor, named_flavor

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import ContradictionKind, FleetSnapshot
from spotd.fleet.values import Flavor


def kinds(snapshot: FleetSnapshot) -> list[ContradictionKind]:
    return [contradiction.kind for contradiction in snapshot.contradictions]


@pytest.mark.parametrize(
    ("fleet", "gpu_type", "source"),
    [
        pytest.param(
            FleetBuilder().service("h").aggregate("RTX-A6000-n3", "h").tree("h", CUSTOM_GPU_RTX_A6000=(8, 0)),
            "RTX-A6000",
            Source.AGGREGATES,
            id="the aggregate's",
        ),
        pytest.param(
            FleetBuilder().service("h").aggregate("RTX-A6000-n3").tree("h", CUSTOM_GPU_RTX_A6000=(8, 0)),
            "RTX-A6000",
            Source.GPUS,
            id="the class's, spelled as an aggregate spells it",
        ),
        pytest.param(
            FleetBuilder().service("h").tree("h", CUSTOM_GPU_RTX_A6000=(8, 0)),
            "RTX_A6000",
            Source.GPUS,
            id="the class's own spelling",
        ),
        pytest.param(
            FleetBuilder().device("h", tags=("gpu", "h100")).aggregate("H100-n3"),
            "H100",
            Source.NETBOX,
            id="the tag's",
        ),
        pytest.param(FleetBuilder().service("h").tree("h", VGPU=(8, 0)), None, None, id="nobody's"),
    ],
)
def test_takes_the_gpu_type_from_the_first_source_that_tells_it(
    fleet: FleetBuilder, gpu_type: str | None, source: Source | None
) -> None:
    snapshot = fleet.snapshot()

    assert (snapshot.hosts["h"].gpu_type, snapshot.hosts["h"].sources.get("gpu_type")) == (gpu_type, source)
    assert ContradictionKind.GPU_TYPE not in kinds(snapshot)


def test_different_gpu_types_contradict_and_the_aggregate_wins() -> None:
    snapshot = FleetBuilder().host("h", "A100-n3", gpu_type="H100").snapshot()

    assert snapshot.hosts["h"].gpu_type == "A100"
    assert [(c.kind, c.detail) for c in snapshot.contradictions] == [
        (ContradictionKind.GPU_TYPE, "aggregates say A100; gpus say H100")
    ]


def test_a_source_that_names_two_types_names_none() -> None:
    snapshot = FleetBuilder().service("h").tree("h", CUSTOM_GPU_L40=(4, 1), CUSTOM_GPU_H100=(2, 0)).snapshot()

    host = snapshot.hosts["h"]

    assert (host.gpu_type, host.gpus, host.gpus_used) == (None, 6, 1)
    assert kinds(snapshot) == [ContradictionKind.GPU_TYPE, ContradictionKind.GPUS_USED]


@pytest.mark.parametrize(
    ("fleet", "gpus", "source"),
    [
        pytest.param(FleetBuilder().host("h", "H100-n3"), 8, Source.GPUS, id="Placement"),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", gpus=None).device("h", gpu_count=4),
            4,
            Source.NETBOX,
            id="NetBox",
        ),
        pytest.param(
            FleetBuilder().host("h", "RTX_A6000-n3", gpus=None), 10, Source.CONFIGURATION, id="configuration"
        ),
        pytest.param(FleetBuilder().host("h", "L40-n3", gpus=None), None, None, id="nobody"),
        pytest.param(
            FleetBuilder().service("h").tree("h", VCPU=(8, 0)).aggregate("tempest", "h"),
            None,
            None,
            id="no type",
        ),
        pytest.param(
            FleetBuilder().host("h", "RTX-A6000-n3", netbox="active").unread("h"),
            None,
            None,
            id="unread tree",
        ),
    ],
)
def test_takes_the_number_of_gpus_from_the_first_source_that_tells_it(
    fleet: FleetBuilder, gpus: int | None, source: Source | None
) -> None:
    snapshot = fleet.snapshot(default_interpretation(gpus_per_host={"rtx-a6000": 10}))

    assert (snapshot.hosts["h"].gpus, snapshot.hosts["h"].sources.get("gpus")) == (gpus, source)


def test_different_numbers_of_gpus_contradict() -> None:
    snapshot = FleetBuilder().host("h", "H100-n3", gpus=8).device("h", gpu_count=4).snapshot()

    assert snapshot.hosts["h"].gpus == 8
    assert kinds(snapshot) == [ContradictionKind.GPU_COUNT]


@pytest.mark.parametrize("resource_class", ["VGPU", "CUSTOM_VGPU_H100"])
def test_shares_of_cards_are_not_held_against_the_number_of_cards(resource_class: str) -> None:
    """Eight cards may be cut into 32 shares; Placement's number is shown."""
    fleet = FleetBuilder().host("h", "H100-n3", gpus=None).tree("h", **{resource_class: (32, 0)})

    snapshot = fleet.device("h", gpu_count=8).snapshot()

    assert snapshot.hosts["h"].gpus == 32
    assert kinds(snapshot) == []


@pytest.mark.parametrize(
    ("fleet", "used"),
    [
        pytest.param(FleetBuilder().host("h", "H100-n3", servers=(4, 2)), 6, id="Placement"),
        pytest.param(FleetBuilder().host("h", "H100-n3", gpus=None, servers=(4, 2)), 6, id="flavors"),
        pytest.param(FleetBuilder().host("h", "H100-n3", gpus=None), 0, id="no servers"),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", gpus=None).without(Source.SERVERS), None, id="servers unknown"
        ),
        pytest.param(
            FleetBuilder()
            .host("h", "H100-n3", gpus=None, servers=(1,))
            .server("h", named_flavor("any", extra_specs_known=False)),
            None,
            id="a flavor unknown",
        ),
        pytest.param(FleetBuilder().host("h", "H100-n3", servers=(4,)).unread("h"), None, id="unread tree"),
    ],
)
def test_counts_used_gpus(fleet: FleetBuilder, used: int | None) -> None:
    assert fleet.snapshot().hosts["h"].gpus_used == used


def busy(used: int) -> FleetBuilder:
    """One server of two GPUs, and Placement's word on how many are used."""
    return FleetBuilder().host("h", "H100-n3", servers=(2,), used=used).service("other")


@pytest.mark.parametrize(
    ("fleet", "contradicts"),
    [
        pytest.param(busy(2), False, id="equal"),
        pytest.param(busy(4), True, id="more in Placement"),
        pytest.param(busy(0), True, id="less in Placement"),
        pytest.param(busy(4).changed("h"), False, id="servers changed just now"),
        pytest.param(busy(4).changed("other"), True, id="servers of another host changed"),
        pytest.param(
            busy(4).server("h", gpu_flavor(1), task_state="deleting"), False, id="a server with a task"
        ),
        pytest.param(busy(0).server("h", gpu_flavor(1), status="VERIFY_RESIZE"), False, id="a resize"),
        pytest.param(busy(0).server("h", gpu_flavor(1), status="ERROR"), False, id="a failed server"),
        pytest.param(
            busy(4).server("other", gpu_flavor(2), status="VERIFY_RESIZE"),
            False,
            id="a resize that left the host",
        ),
        pytest.param(busy(4).server(None, gpu_flavor(2), status="BUILD"), False, id="a server on its way"),
        pytest.param(busy(8).server(None, gpu_flavor(2), status="BUILD"), True, id="too small to explain it"),
        pytest.param(busy(0).server(None, gpu_flavor(2), status="BUILD"), True, id="explains no lack"),
        pytest.param(
            busy(4).server(None, named_flavor("x", extra_specs_known=False), status="BUILD"),
            False,
            id="an unknown flavor on its way",
        ),
        pytest.param(busy(4).read(Source.GPUS, NOW - timedelta(minutes=5)), False, id="read minutes apart"),
        pytest.param(busy(4).without(Source.SERVERS), False, id="servers unknown"),
    ],
)
def test_allocations_and_flavors_contradict_only_where_they_must_agree(
    fleet: FleetBuilder,
    contradicts: bool,
) -> None:
    assert (ContradictionKind.GPUS_USED in kinds(fleet.snapshot())) is contradicts


def test_more_used_than_there_are_is_overcommitted() -> None:
    snapshot = FleetBuilder().host("h", "H100-n3", gpus=4, servers=(6,)).snapshot()

    assert kinds(snapshot) == [ContradictionKind.OVERCOMMITTED]


MIG = "CUSTOM_MIG_1G_10GB"
SLICE = Flavor(name="mig.small", resources=((MIG, 1),))


def sliced(used: int = 28, servers: int = 28) -> FleetBuilder:
    """Four cards cut into 28 slices of a class that the settings do not know."""
    fleet = FleetBuilder().host("h", "H100-n3", gpus=None).device("h", gpu_count=4)
    for _ in range(servers):
        fleet.server("h", SLICE)
    return fleet.tree("h", VCPU=(64, 28), **{MIG: (28, used)})


def test_a_host_sold_out_in_a_class_that_nobody_explains_is_not_shown_as_idle() -> None:
    snapshot = sliced().snapshot()

    host = snapshot.hosts["h"]
    assert (host.gpus, host.gpus_used, host.is_empty) == (4, None, False)
    assert host.unexplained_classes == snapshot.unexplained_classes == (MIG,)
    assert kinds(snapshot) == []


@pytest.mark.parametrize(
    ("fleet", "unexplained", "used"),
    [
        pytest.param(sliced(used=0), (MIG,), None, id="only asked for"),
        pytest.param(sliced(servers=0), (MIG,), None, id="only allocated"),
        pytest.param(sliced(used=0, servers=0), (), 0, id="only offered"),
        pytest.param(sliced().unread("h"), (), None, id="unread"),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", servers=(2,)).server("h", SLICE),
            (MIG,),
            None,
            id="beside GPUs",
        ),
        pytest.param(
            FleetBuilder()
            .host("h", "H100-n3", gpus=None)
            .server("h", Flavor(name="H100x8", resources=(("PCI_DEVICE", 8),))),
            ("PCI_DEVICE",),
            None,
            id="a standard class that may be GPUs, whatever the flavor's name",
        ),
        pytest.param(
            FleetBuilder()
            .host("h", "H100-n3", servers=(2,))
            .server("h", Flavor(name="any", resources=((MIG, 0), ("VCPU", 4), ("CUSTOM_BAREMETAL_X", 1)))),
            (),
            2,
            id="none of it, and classes that are no GPUs",
        ),
    ],
)
def test_use_is_unknown_while_a_class_in_use_may_be_gpus(
    fleet: FleetBuilder, unexplained: tuple[str, ...], used: int | None
) -> None:
    host = fleet.snapshot().hosts["h"]

    assert (host.unexplained_classes, host.gpus_used) == (unexplained, used)


@pytest.mark.parametrize(
    ("changes", "gpus", "used"),
    [
        pytest.param({"class_types": {MIG: "H100"}}, 28, 28, id="they are GPUs"),
        pytest.param({"other_classes": (re.compile("CUSTOM_MIG_.+"),)}, 4, 0, id="they are none"),
    ],
)
def test_a_setting_explains_a_class(changes: dict[str, object], gpus: int, used: int) -> None:
    snapshot = sliced().snapshot(default_interpretation(**changes))

    host = snapshot.hosts["h"]
    assert (host.gpus, host.gpus_used, snapshot.unexplained_classes) == (gpus, used, ())
    assert kinds(snapshot) == []


def test_what_is_offered_and_used_by_nobody_is_named_for_the_whole_region() -> None:
    """A host may have no other sign of GPUs than such a class."""
    snapshot = FleetBuilder().service("h").tree("h", CUSTOM_NVIDIA_63=(8, 0), VCPU=(64, 0)).snapshot()

    assert (dict(snapshot.hosts), snapshot.unexplained_classes) == ({}, ("CUSTOM_NVIDIA_63",))


def test_an_alias_that_may_be_a_gpu_is_named_too() -> None:
    snapshot = (
        FleetBuilder()
        .host("h", "H100-n3", gpus=None)
        .server("h", Flavor(name="any", pci_aliases=(("x", 1),)))
    )

    assert snapshot.snapshot().unexplained_classes == ("PCI alias x",)
