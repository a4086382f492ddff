"""What one source says is held against the others; many differences at once are a list with holes."""

from datetime import timedelta

import pytest
from fleets import NOW, FleetBuilder, gpu_flavor, named_flavor
from hypothesis import given
from hypothesis import strategies as st

from spotd.agents.belief import Belief
from spotd.fleet.doubts import doubts, is_at_scale
from spotd.fleet.readings import Source
from spotd.fleet.snapshot import Readings

MAX_AGES = dict.fromkeys((Source.SERVICES, Source.SERVERS, Source.GPUS, Source.AGGREGATES), 900.0)


def fleet(hosts: int = 8, *, serviced: int | None = None, occupied: int | None = None) -> FleetBuilder:
    """Hosts of 8 GPUs, all used; the first `serviced` have a service, the first `occupied` a server."""
    builder = FleetBuilder()
    for number in range(hosts):
        name = f"h{number}"
        if serviced is None or number < serviced:
            builder.service(name)
        builder.aggregate("H100-n3", name)
        builder.tree(name, CUSTOM_GPU_H100=(8, 8))
        if occupied is None or number < occupied:
            builder.server(name, gpu_flavor(8))
    return builder


def doubted(readings: Readings) -> dict[Source, bool]:
    return {doubt.source: doubt.is_sure for doubt in doubts(readings)}


@pytest.mark.parametrize(
    ("missing", "of", "answer"),
    [(0, 8, False), (1, 2, False), (2, 4, True), (2, 5, False), (3, 6, True), (3, 12, True), (3, 13, False)],
)
def test_half_of_few_or_a_quarter_of_many_is_at_scale(missing: int, of: int, answer: bool) -> None:
    assert answer == is_at_scale(missing, of)


def test_sources_that_agree_are_believed() -> None:
    assert {} == doubted(fleet().readings())


@pytest.mark.parametrize("serviced", [0, 1, 4, 5])
def test_services_are_doubted_where_aggregates_and_servers_name_many_more_hosts(serviced: int) -> None:
    found = doubts(fleet(8, serviced=serviced).readings())

    assert [Source.SERVICES] == [doubt.source for doubt in found]
    assert f"{8 - serviced} have no compute service" in found[0].sentence


def test_one_host_without_a_service_among_many_is_that_host_s_own_contradiction() -> None:
    assert {} == doubted(fleet(8, serviced=7).readings())


@pytest.mark.parametrize("occupied", [0, 1, 4, 5])
def test_servers_are_doubted_where_placement_says_that_many_more_hosts_are_used(occupied: int) -> None:
    assert {Source.SERVERS: True} == doubted(fleet(8, occupied=occupied).readings())


def test_an_empty_list_of_servers_is_doubted_for_a_single_used_host() -> None:
    assert {Source.SERVERS: True} == doubted(fleet(1, occupied=0).readings())


def test_servers_are_doubted_where_flavors_ask_for_less_than_placement_holds_for_them() -> None:
    """Half of a list leaves most hosts with some servers."""
    half = FleetBuilder()
    for number in range(8):
        half.host(f"h{number}", "H100-n3", servers=(2, 2), used=8)

    assert {Source.SERVERS: True} == doubted(half.readings())


def test_flavors_that_do_not_name_the_class_of_placement_tell_nothing() -> None:
    """With PCI aliases, or devices that another service allocates, each host would seem to lack servers."""
    aliased = FleetBuilder()
    for number in range(8):
        aliased.host(f"h{number}", "H100-n3", used=8)
        aliased.server(f"h{number}", named_flavor("anything"))

    assert {} == doubted(aliased.readings())


def test_servers_that_wait_for_their_host_explain_allocations() -> None:
    """Placement tells of a boot seconds before Nova says where it is."""
    booting = fleet(8, occupied=4)
    for _ in range(4):
        booting.server(None, gpu_flavor(8), status="BUILD", task_state="scheduling")

    assert {} == doubted(booting.readings())


def test_counts_are_doubted_where_servers_ask_for_what_is_said_to_be_idle() -> None:
    idle = fleet(8)
    for number in range(4):
        idle.tree(f"h{number}", CUSTOM_GPU_H100=(8, 0))

    assert {Source.GPUS: True} == doubted(idle.readings())


def test_providers_are_doubted_where_servers_name_hypervisors_that_are_missing() -> None:
    short = FleetBuilder()
    for number in range(8):
        short.host(f"h{number}", "H100-n3", gpus=8 if number < 4 else None, servers=(8,))

    assert {Source.GPUS: True} == doubted(short.readings())


def test_providers_are_doubted_where_half_of_the_hosts_for_sale_have_none() -> None:
    short = FleetBuilder()
    for number in range(8):
        short.host(f"h{number}", "H100-n3", gpus=8 if number < 4 else None)

    assert {Source.GPUS: True} == doubted(short.readings())


@pytest.mark.parametrize("source", [Source.SERVERS, Source.GPUS])
def test_readings_of_two_moments_may_both_have_been_right(source: Source) -> None:
    """What came or went meanwhile is no lie."""
    apart = fleet(8, occupied=0).read(source, NOW - timedelta(seconds=6))

    assert {Source.SERVERS: False} == doubted(apart.readings())


def test_the_last_reading_that_nobody_contradicted_stands_in_until_it_is_too_old() -> None:
    belief = Belief()
    good = fleet(8).readings()
    belief.of(good, NOW, MAX_AGES)

    soon = belief.of(fleet(8, occupied=0).readings(), NOW, MAX_AGES)
    late = belief.of(fleet(8, occupied=0).readings(), NOW + timedelta(seconds=901), MAX_AGES)

    assert good.servers is soon.servers
    assert late.servers is None
    assert {Source.SERVERS} == belief.sure


def test_what_was_believed_for_want_of_evidence_does_not_stand_in() -> None:
    """The list with holes came first, and then the source that contradicts it."""
    belief = Belief()
    belief.of(fleet(8, occupied=0).without(Source.GPUS).readings(), NOW, MAX_AGES)

    assert belief.of(fleet(8, occupied=0).readings(), NOW, MAX_AGES).servers is None


def test_what_is_surely_doubted_stays_so_while_it_is_contradicted_by_something_older() -> None:
    belief = Belief()
    belief.of(fleet(8, occupied=0).readings(), NOW, MAX_AGES)
    older = fleet(8, occupied=0).read(Source.GPUS, NOW - timedelta(seconds=60)).readings()

    belief.of(older, NOW, MAX_AGES)
    contradictions = belief.contradictions()
    belief.of(fleet(8).readings(), NOW, MAX_AGES)

    assert 1 == len(contradictions)
    assert (frozenset(), ()) == (belief.sure, belief.contradictions())


@given(hosts=st.integers(1, 40), serviced=st.integers(0, 40), occupied=st.integers(0, 40))
def test_no_list_that_lacks_half_is_ever_believed(hosts: int, serviced: int, occupied: int) -> None:
    """Whatever is cut off, and however large the fleet."""
    serviced, occupied = min(serviced, hosts), min(occupied, hosts)
    found = doubted(fleet(hosts, serviced=serviced, occupied=occupied).readings())

    assert (2 * serviced > hosts or hosts == serviced + 1 == 2) or Source.SERVICES in found
    assert (
        (2 * occupied > hosts or hosts == occupied + 1 == 2)
        or Source.SERVERS in found
        or Source.GPUS in found
    )
