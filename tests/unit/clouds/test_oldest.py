"""A cloud that is too old is refused in one sentence that says what is needed and what is there."""

import json
from typing import Any

import pytest
from clouds_under_test import Watched

from spotd.clouds import aggregate_calls, host_calls, nova, oldest, placement
from spotd.clouds.errors import CloudError, Failure
from spotd.sim import EmbeddedCloud, Fault, FaultKind

NOVA = "spotd needs Nova 2.69 (Stein, 2019) or newer"
PLACEMENT = "spotd needs Placement 1.31 (Stein, 2019) or newer"


def services(watched: Watched) -> Any:
    return watched.region.session.get(
        "compute", "/os-services", operation="list services", microversion=nova.SERVICES
    )


def providers(watched: Watched) -> Any:
    return watched.region.session.get(
        "placement", "/resource_providers", operation="list providers", microversion=placement.MICROVERSION
    )


def refused(ask: Any, watched: Watched) -> str:
    with pytest.raises(CloudError) as caught:
        ask(watched)
    assert caught.value.reason is Failure.MICROVERSION
    return str(caught.value)


def test_the_oldest_nova_and_placement_know_every_microversion_that_is_asked_for() -> None:
    asked = [
        value
        for room in (nova, host_calls, aggregate_calls)
        for name, value in vars(room).items()
        if name.isupper() and isinstance(value, str) and oldest.version_of(value)
    ]

    assert oldest.NOVA.version == max(filter(None, map(oldest.version_of, asked)))
    assert oldest.PLACEMENT.version == oldest.version_of(placement.MICROVERSION)


def test_an_older_nova_is_refused_with_what_it_is(cloud: EmbeddedCloud, watched: Watched) -> None:
    cloud.world.nova_max = 60

    assert refused(services, watched) == f"nova: list services: {NOVA}; this is 2.60"


def test_an_older_placement_is_refused_with_what_it_is(cloud: EmbeddedCloud, watched: Watched) -> None:
    cloud.world.placement_max = 30

    assert refused(providers, watched) == f"placement: list providers: {PLACEMENT}; this is 1.30"


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"computeFault": {"message": "Minimum is 2.90 and maximum is 2.120."}},
        {"computeFault": {"message": "maximum is many"}},
        {"computeFault": {"message": 7}},
        {"errors": [{"max_version": 7}]},
        {"errors": [7]},
        {"errors": []},
    ],
    ids=str,
)
def test_a_refusal_that_does_not_say_what_it_has_says_what_is_needed(
    cloud: EmbeddedCloud, watched: Watched, document: Any
) -> None:
    """And what the cloud said."""
    body = json.dumps(document)
    cloud.faults.add(Fault(kind=FaultKind.STATUS, status=406, body=body, service="nova"))

    said = refused(services, watched)

    assert said.startswith("nova: list services answered 406")
    assert said.endswith(f"; {NOVA}")


@pytest.mark.parametrize(
    ("ask", "service", "header"),
    [(services, "nova", "compute 2.1"), (providers, "placement", "placement 1.0")],
    ids=["nova", "placement"],
)
def test_an_answer_in_another_version_is_no_answer(
    cloud: EmbeddedCloud, watched: Watched, ask: Any, service: str, header: str
) -> None:
    """A proxy that drops the header gets what the oldest client would: without what spotd asked for."""
    body = json.dumps({"services": [], "resource_providers": []})
    cloud.faults.add(
        Fault(
            kind=FaultKind.STATUS,
            status=200,
            body=body,
            headers={"OpenStack-API-Version": header},
            service=service,
        )
    )

    said = refused(ask, watched)

    assert f"answered in {header.split()[1]}" in said
    assert "does a proxy drop the header" in said


@pytest.mark.parametrize("header", ["", "compute", "volume 3.50", "compute latest", "compute 2.69, x 1.1"])
def test_a_header_that_says_nothing_of_the_version_is_let_pass(
    cloud: EmbeddedCloud, watched: Watched, header: str
) -> None:
    body = json.dumps({"services": []})
    cloud.faults.add(
        Fault(
            kind=FaultKind.STATUS,
            status=200,
            body=body,
            headers={"OpenStack-API-Version": header},
            service="nova",
        )
    )

    assert ({"services": []}) == services(watched)[0]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("4.7", (4, 7)),
        ("4.7.3", (4, 7)),
        ("v4.0-beta1", (4, 0)),
        ("3.5.0-Docker-2.6", (3, 5)),
        ("2.104", (2, 104)),
        ("4", None),
        ("", None),
        ("4.7777", None),
        ("latest", None),
    ],
)
def test_a_version_is_its_first_two_numbers(text: str, version: tuple[int, int] | None) -> None:
    assert oldest.version_of(text) == version
