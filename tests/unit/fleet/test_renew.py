"""A renewed snapshot is the one that joining anew would make, or there is none."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fleets import NOW, FleetBuilder, default_interpretation, gpu_flavor
from hypothesis import given
from hypothesis import strategies as st
from standing import server

from spotd.fleet.assemble import assemble
from spotd.fleet.gpu_facts import LARGEST_SKEW_SECONDS
from spotd.fleet.readings import Reading, Source
from spotd.fleet.renew import renewed
from spotd.fleet.snapshot import Readings
from spotd.fleet.values import GpuCount

INTERPRETATION = default_interpretation()
LATER = NOW + timedelta(seconds=15)


def fleet(used: int = 2) -> FleetBuilder:
    builder = FleetBuilder().host("a", "H100-n3", servers=(2,), used=used, netbox="active")
    return builder.host("b", "H100-n3-spot", netbox="active")


def read_again(readings: Readings, source: Source, **changes: Any) -> Readings:
    """The readings with one source read later, and with another value where something changed."""
    reading = readings.of(source)
    assert reading is not None
    value: Any = reading.value
    return replace(readings, **{source.value: Reading(value=replace(value, **changes), read_at=LATER)})


def all_read_again(readings: Readings) -> Readings:
    for source in Source:
        if readings.of(source) is not None:
            readings = read_again(readings, source)
    gpus = readings.gpus
    assert gpus is not None
    trees = {name: replace(tree, read_at=LATER) for name, tree in gpus.value.trees.items()}
    return read_again(readings, Source.GPUS, trees=trees, full_read_at=LATER)


def test_the_same_read_again_is_the_same_fleet_of_a_later_time() -> None:
    before = fleet().snapshot()
    readings = all_read_again(before.readings)

    after = renewed(before, readings, LATER)

    assert after == assemble(readings, INTERPRETATION, LATER)
    assert after is not None
    assert after.hosts is before.hosts
    assert (after.assembled_at, after.readings) == (LATER, readings)


def changed_tree(readings: Readings, **changes: Any) -> Readings:
    assert readings.gpus is not None
    trees = dict(readings.gpus.value.trees)
    trees["a"] = replace(trees["a"], **changes)
    return read_again(readings, Source.GPUS, trees=trees)


def with_another_server(readings: Readings) -> Readings:
    assert readings.servers is not None
    servers = {**readings.servers.value.servers, "new": server(9, "b", flavor=gpu_flavor(1))}
    return read_again(readings, Source.SERVERS, servers=servers)


def far_apart(readings: Readings) -> Readings:
    assert readings.gpus is not None
    read_at = readings.gpus.read_at - timedelta(seconds=LARGEST_SKEW_SECONDS + 1)
    return replace(readings, gpus=replace(readings.gpus, read_at=read_at))


@pytest.mark.parametrize(
    "change",
    [
        *(
            pytest.param(lambda r, source=source: replace(r, **{source.value: None}), id=f"{source} unknown")
            for source in Source
            if source is not Source.CONFIGURATION
        ),
        pytest.param(lambda r: read_again(r, Source.AGGREGATES, aggregates=()), id="aggregates"),
        pytest.param(lambda r: read_again(r, Source.SERVICES, services=()), id="services"),
        pytest.param(lambda r: read_again(r, Source.NETBOX, devices=()), id="devices"),
        pytest.param(with_another_server, id="a server"),
        pytest.param(
            lambda r: read_again(r, Source.SERVERS, changed_hosts=frozenset({"a"})), id="hosts that changed"
        ),
        pytest.param(
            lambda r: changed_tree(r, gpus={"CUSTOM_GPU_H100": GpuCount(capacity=8, used=3)}), id="counts"
        ),
        pytest.param(lambda r: changed_tree(r, uuid="other"), id="another provider"),
        pytest.param(lambda r: read_again(r, Source.GPUS, unread=("a",)), id="an unread tree"),
        pytest.param(lambda r: read_again(r, Source.GPUS, trees={}), id="no trees"),
        pytest.param(lambda r: replace(r, unconfigured=frozenset({Source.NETBOX})), id="the configuration"),
        pytest.param(far_apart, id="read minutes apart"),
    ],
)
def test_whatever_else_is_read_is_joined_anew(change: Any) -> None:
    before = fleet().snapshot()

    assert renewed(before, change(before.readings), LATER) is None


@given(st.lists(st.integers(0, 3), min_size=2, max_size=2), st.integers(0, 300))
def test_it_never_tells_anything_else_than_joining_anew(used: list[int], apart: int) -> None:
    """With and without a contradiction, also as readings drift apart."""
    before, other = fleet(used[0]).snapshot(), fleet(used[1]).snapshot().readings
    assert other.gpus is not None
    readings = replace(other, gpus=replace(other.gpus, read_at=other.gpus.read_at - timedelta(seconds=apart)))

    after = renewed(before, readings, LATER)

    assert after in (None, assemble(readings, INTERPRETATION, LATER))
