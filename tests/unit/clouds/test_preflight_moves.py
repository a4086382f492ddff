"""Whether hosts may be moved is told without moving one."""

import json

import pytest
from clouds_under_test import Watched

from spotd.clouds.finding import Finding
from spotd.clouds.preflight import look
from spotd.clouds.preflight_moves import look_at_moves
from spotd.sim import OPERATIONS, EmbeddedCloud, Fault, FaultKind, fault_on

NEEDS = {
    "add_host": "add hosts to aggregates",
    "remove_host": "remove them from aggregates",
    "disable_service": "disable and enable compute services",
    "list_allocations": "read who holds a provider",
    "read_mirror": "read a provider's aggregates",
    "read_traits": "read a provider's traits",
    "list_migrations": "list migrations",
    "list_servers": "filter servers by host",
}


def unmet(watched: Watched) -> dict[str, Finding]:
    return {one.need: one for one in look_at_moves(watched.region.session) if not one.is_met}


def test_nothing_is_missing_and_nothing_changes(cloud: EmbeddedCloud, watched: Watched) -> None:
    before = cloud.operator.fleet()

    assert {} == unmet(watched)
    assert before == cloud.operator.fleet()


def test_a_filter_that_is_dropped_is_found_by_a_host_that_does_not_exist(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """Nova then answers with everybody's servers."""
    cloud.world.identity.may_filter = False

    (finding,) = unmet(watched).values()

    assert "filter servers by host" == finding.need
    assert "allow_all_filters" in finding.detail


@pytest.mark.parametrize("operation", sorted(set(NEEDS) - {"list_servers", "list_migrations"}))
def test_a_yes_about_what_does_not_exist_proves_nothing(
    cloud: EmbeddedCloud, watched: Watched, operation: str
) -> None:
    """Something in between answers for everything."""
    cloud.faults.add(fault_on(operation, FaultKind.STATUS, status=200, body="{}"))

    found = unmet(watched)

    assert [NEEDS[operation]] == list(found)
    assert "cannot be told" in found[NEEDS[operation]].detail


@pytest.mark.parametrize("operation", sorted(NEEDS))
@pytest.mark.parametrize(("status", "advised"), [(403, True), (503, False)])
def test_what_fails_is_not_called_allowed(
    cloud: EmbeddedCloud, watched: Watched, operation: str, status: int, *, advised: bool
) -> None:
    """And only a 403 is a right that is missing."""
    cloud.faults.add(fault_on(operation, FaultKind.STATUS, status=status))

    found = unmet(watched)

    assert [NEEDS[operation]] == list(found)
    assert advised is ("the role needs" in found[NEEDS[operation]].detail)
    assert operation in OPERATIONS


@pytest.mark.parametrize(
    ("hosts", "is_met", "said"),
    [
        ([("h1", None)], True, "allowed"),
        ([(None, None), (None, "h2")], True, "allowed"),
        ([], True, "allowed; there is none yet"),
        ([(None, None)], False, "the role needs os_compute_api:os-migrations:index:host"),
    ],
    ids=["shown", "one shown", "none there", "hidden"],
)
def test_migrations_that_come_without_hosts_are_as_good_as_none(
    cloud: EmbeddedCloud,
    watched: Watched,
    hosts: list[tuple[str | None, str | None]],
    is_met: bool,
    said: str,
) -> None:
    """Nova blanks the hosts for a role that may not see them, and answers 200."""
    rows = [{"id": 1, "source_compute": source, "dest_compute": dest} for source, dest in hosts]
    body = json.dumps({"migrations": rows})
    cloud.faults.add(fault_on("list_migrations", FaultKind.STATUS, status=200, body=body))

    (finding,) = (one for one in look_at_moves(watched.region.session) if one.need == "list migrations")

    assert is_met is finding.is_met
    assert said in finding.detail


PARTS = {"inventories": "read a provider's inventories", "usages": "read a provider's usages"}


@pytest.mark.parametrize("part", sorted(PARTS))
@pytest.mark.parametrize(("status", "said"), [(403, "the role needs"), (503, "503"), (200, "cannot be told")])
def test_a_host_that_the_summaries_leave_out_cannot_be_counted_without_its_parts(
    cloud: EmbeddedCloud, watched: Watched, part: str, status: int, said: str
) -> None:
    """So spotd cannot even look on without them."""
    cloud.faults.add(
        Fault(
            kind=FaultKind.STATUS,
            service="placement",
            method="GET",
            path=rf"/resource_providers/[^/]+/{part}",
            status=status,
            body="{}",
        )
    )

    (finding,) = (one for one in look(watched.region.session, None) if not one.is_met)

    assert (PARTS[part], False) == (finding.need, finding.is_optional)
    assert said in finding.detail
