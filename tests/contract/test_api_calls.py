"""The calls that only the API makes, on every cloud that is to be had: aggregates, and whose token it is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract.test_host_calls import session_of
from contract.under_test import CloudUnderTest, unique

from spotd.clouds.aggregate_calls import AggregateCalls
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.host_calls import HostCalls
from spotd.clouds.identity import token_owner
from spotd.clouds.keystone import CloudSession

NO_AGGREGATE = 999_999


@pytest.fixture
def session(cloud: CloudUnderTest, tmp_path: Path) -> Iterator[CloudSession]:
    with session_of(cloud, cloud.admin, tmp_path) as opened:
        yield opened


@pytest.fixture
def aggregate(session: CloudSession) -> Iterator[int]:
    """An empty aggregate, gone after the test whatever became of it."""
    made = AggregateCalls(session).create(unique("aggregate"), None)
    yield made.id
    if any(found.id == made.id for found in HostCalls(session).aggregates()):
        AggregateCalls(session).delete(made.id)


def refused(ask: Callable[[], object]) -> Failure:
    with pytest.raises(CloudError) as error:
        ask()
    return error.value.reason


def test_an_aggregate_is_made_with_its_zone_and_without_hosts(session: CloudSession) -> None:
    calls = AggregateCalls(session)
    name = unique("aggregate")

    made = calls.create(name, name)

    try:
        (found,) = [a for a in HostCalls(session).aggregates() if a.id == made.id]
        assert (made.name, made.hosts, made.availability_zone) == (name, (), name)
        assert found == made
    finally:
        calls.delete(made.id)


def test_a_name_is_taken_once(session: CloudSession, aggregate: int) -> None:
    (found,) = [a for a in HostCalls(session).aggregates() if a.id == aggregate]

    assert refused(lambda: AggregateCalls(session).create(found.name, None)) is Failure.CONFLICT


def test_metadata_is_set_and_taken_away_key_by_key(session: CloudSession, aggregate: int) -> None:
    calls = AggregateCalls(session)
    calls.set_metadata(aggregate, {"a": "1", "spotd:pool": "spot"})

    described = calls.set_metadata(aggregate, {"a": None, "b": "2"})

    assert described.metadata == {"spotd:pool": "spot", "b": "2"}


def test_what_is_not_there_is_not_found(session: CloudSession) -> None:
    calls = AggregateCalls(session)

    assert refused(lambda: calls.delete(NO_AGGREGATE)) is Failure.NOT_FOUND
    assert refused(lambda: calls.set_metadata(NO_AGGREGATE, {"a": "b"})) is Failure.NOT_FOUND


def test_a_deleted_aggregate_is_gone(session: CloudSession, aggregate: int) -> None:
    AggregateCalls(session).delete(aggregate)

    assert aggregate not in {found.id for found in HostCalls(session).aggregates()}


def test_keystone_tells_whose_token_it_is(cloud: CloudUnderTest, session: CloudSession) -> None:
    owner = token_owner(session, cloud.log_in(cloud.admin).headers["X-Subject-Token"])

    assert owner is not None
    assert owner.user == cloud.admin.username
    assert cloud.admin.project in owner.projects
    assert "admin" in owner.roles


def test_a_token_of_a_member_has_no_admins_role(cloud: CloudUnderTest, session: CloudSession) -> None:
    if cloud.member is None:
        pytest.skip(f"name a member's login {cloud.name}-demo in clouds.yaml to run this")

    owner = token_owner(session, cloud.log_in(cloud.member).headers["X-Subject-Token"])

    assert owner is not None
    assert "admin" not in owner.roles


def test_a_token_that_keystone_does_not_know_has_no_owner(session: CloudSession) -> None:
    assert token_owner(session, "gAAAAABnot-a-token") is None
    assert token_owner(session, "x") is None


def test_a_revoked_token_has_no_owner(cloud: CloudUnderTest, session: CloudSession) -> None:
    token = cloud.log_in(cloud.admin).headers["X-Subject-Token"]
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    cloud.http.delete(f"{cloud.auth_url}/auth/tokens", headers=headers, timeout=30).raise_for_status()

    assert token_owner(session, token) is None
