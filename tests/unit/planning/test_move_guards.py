"""Guards that no snapshot of a whole fleet brings to speak: they stand for the executor's live view."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from fleets import NOW, FleetBuilder

from spotd.fleet.readings import Source
from spotd.planning.guards import host_refusal
from spotd.planning.load import parse_rules
from spotd.planning.move_guards import Proposal, move_refusal
from spotd.planning.refusals import Code
from spotd.planning.surroundings import Standing, Surroundings, pool_aggregates, survey
from spotd.planning.values import in_words

if TYPE_CHECKING:
    from spotd.fleet.snapshot import Host

RULES = parse_rules('rules: [{name: a, from: [ondemand], to: spot, when: "true"}]')


def surroundings() -> Surroundings:
    builder = FleetBuilder().unconfigured(Source.NETBOX).host("h1", "H100-n3").aggregate("A100-n3-spot")
    builder.aggregate("spot-of-any-type", metadata={"spotd:pool": "spot"}).aggregate("H100-n3-spot")
    return survey(RULES, builder.snapshot(), (), NOW, Standing())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aggregates": ()}, Code.NO_POOL),
        ({"aggregates": ("not-in-the-reading",)}, Code.NO_POOL),
        ({"pool": None}, Code.SEVERAL_POOLS),
        ({"gpu_type": None}, Code.GPU_TYPE_UNPROVED),
        ({"server_ids": None}, Code.SERVERS_UNKNOWN),
        ({"gpus_used": None}, Code.GPUS_UNKNOWN),
        ({"service_state": None}, Code.SERVICE_UNKNOWN),
        ({"service_status": None}, Code.SERVICE_UNKNOWN),
        ({"service_status": "disabled"}, Code.SERVICE_DISABLED),
        ({}, None),
    ],
)
def test_an_unknown_refuses(changes: dict[str, object], code: Code | None) -> None:
    around = surroundings()
    host: Host = replace(around.snapshot.hosts["h1"], **changes)  # type: ignore[arg-type]

    refusal = host_refusal(host, around)

    assert (refusal and refusal.code) == code


@pytest.mark.parametrize(
    ("destination", "code"),
    [
        ("A100-n3-spot", Code.GPU_TYPE_DIFFERS),
        ("spot-of-any-type", Code.GPU_TYPE_DIFFERS),
        ("H100-n3-spot", None),
    ],
)
def test_the_destination_stands_for_the_same_gpu_type(destination: str, code: Code | None) -> None:
    around = surroundings()
    host = around.snapshot.hosts["h1"]
    (origin,) = pool_aggregates(host, around)
    proposal = Proposal(host=host, rule=RULES.rules[0], origin=origin, destination=around.pools[destination])

    refusal = move_refusal(proposal, around)

    assert (refusal and refusal.code) == code


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (90, "90s"), (600, "10m"), (7200, "2h"), (86400, "1d")],
)
def test_durations_are_told_as_they_are_written(seconds: int, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
