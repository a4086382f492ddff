"""Aggregates themselves: an admin's, and only an empty one is deleted."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import requests
from fleets import NOW
from orders import order, place

from spotd.agents.state import AgentName
from spotd.clouds.errors import CloudError, Failure
from spotd.fleet.values import Aggregate
from spotd.settings.api import ApiSettings
from spotd.store.errors import StoreError
from spotd.store.journal import Journal
from spotd.store.store import open_store
from spotd.web.api.acting import Acting, AggregateChanges
from spotd.web.api.auth import hash_of, new_token

TIMEOUT = 5
ADMIN, OPERATOR = new_token(), new_token()
EMPTY = Aggregate(id=7, uuid="u7", name="B200-n3", hosts=(), metadata={})
FULL = replace(EMPTY, id=8, name="H100-n3", hosts=("gpu-1",))


class Nova:
    def __init__(self) -> None:
        self.did: list[Any] = []
        self.error: CloudError | None = None

    def changes(self) -> AggregateChanges:
        return AggregateChanges(
            live=lambda: (EMPTY, FULL), create=self.create, set_metadata=self.describe, delete=self.delete
        )

    def create(self, name: str, zone: str | None) -> Aggregate:
        return self._do(("create", name, zone), replace(EMPTY, name=name))

    def describe(self, number: int, metadata: Any) -> Aggregate:
        return self._do(("describe", number, dict(metadata)), replace(EMPTY, metadata={"a": "b"}))

    def delete(self, number: int) -> None:
        self._do(("delete", number), None)

    def _do(self, what: Any, result: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.did.append(what)
        return result


@pytest.fixture
def nova(face: Any) -> Nova:
    made = Nova()
    face.aggregates = made.changes()
    tokens = [
        {"name": "root", "role": "admin", "hash": hash_of(ADMIN)},
        {"name": "op", "role": "operator", "hash": hash_of(OPERATOR)},
    ]
    face.api = ApiSettings.model_validate({"tokens": tokens})
    return made


@pytest.fixture
def api(nova: Nova, face: Any, served: Any) -> Any:
    switch, address = served
    switch.app = face.make()

    def asked(method: str, path: str, body: Any = None, token: str = ADMIN) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{address}/api{path}", json=body, headers=headers, timeout=TIMEOUT)

    return asked


def test_an_admin_creates_an_aggregate(face: Any, api: Any, nova: Nova) -> None:
    answer = api("POST", "/host-aggregates", {"name": "B200-n3", "availability_zone": "nova"})

    assert (answer.status_code, answer.json()["data"]["name"]) == (201, "B200-n3")
    assert nova.did == [("create", "B200-n3", "nova")]
    assert face.expired == [frozenset({AgentName.AGGREGATES})]
    assert (face.audits[0].who, face.audits[0].target) == ("token root", "B200-n3")


def test_an_admin_sets_metadata_and_takes_keys_away(api: Any, nova: Nova) -> None:
    answer = api("PUT", "/host-aggregates/7/metadata", {"metadata": {"spotd:pool": "spot", "old": None}})

    assert answer.status_code == 200
    assert nova.did == [("describe", 7, {"spotd:pool": "spot", "old": None})]


def test_an_empty_aggregate_is_deleted(api: Any, nova: Nova) -> None:
    assert api("DELETE", "/host-aggregates/7").json()["data"] == {"id": 7, "name": "B200-n3"}
    assert nova.did == [("delete", 7)]


@pytest.mark.parametrize(
    ("number", "status", "code"), [(8, 409, "aggregate_not_empty"), (9, 404, "unknown_aggregate")]
)
def test_no_other_aggregate_is_deleted(api: Any, nova: Nova, number: int, status: int, code: str) -> None:
    answer = api("DELETE", f"/host-aggregates/{number}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert nova.did == []


@pytest.fixture
def journal(face: Any) -> Iterator[Journal]:
    def unused(*_: Any, **__: Any) -> Any:
        raise AssertionError("not to be called")

    with open_store("sqlite://") as store:
        others = dict.fromkeys((field.name for field in fields(Acting)), unused)
        face.acting = Acting(**{**others, "journal": store.journal})
        yield store.journal


@pytest.mark.parametrize("end", ["origin", "destination"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/host-aggregates/7/metadata", {"metadata": {"spotd:pool": "spot"}}),
        ("DELETE", "/host-aggregates/7", None),
    ],
)
def test_an_aggregate_that_a_move_needs_stays_as_it_is(  # noqa: PLR0917 - a row of the table
    journal: Journal, api: Any, nova: Nova, method: str, path: str, body: Any, end: str
) -> None:
    """Its origin may be empty by then, and still be where the host must go back to."""
    asked = journal.ask(order(**{end: place("B200-n3", id=7)}), now=NOW)

    answer = api(method, path, body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert asked.id in answer.json()["error"]["message"]
    assert nova.did == []


def test_an_aggregate_that_no_move_needs_is_deleted(journal: Journal, api: Any, nova: Nova) -> None:
    journal.ask(order(), now=NOW)

    assert api("DELETE", "/host-aggregates/7").status_code == 200
    assert nova.did == [("delete", 7)]


def test_without_its_journal_no_aggregate_is_changed(
    journal: Journal, api: Any, nova: Nova, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> Any:
        raise StoreError("journal: cannot be read")

    monkeypatch.setattr(journal, "open_moves", fails)

    assert api("DELETE", "/host-aggregates/7").json()["error"]["code"] == "journal_failed"
    assert nova.did == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/host-aggregates", {"name": "a"}),
        ("PUT", "/host-aggregates/7/metadata", {"metadata": {"a": "b"}}),
        ("DELETE", "/host-aggregates/7", None),
    ],
)
def test_an_operator_changes_no_aggregate(api: Any, nova: Nova, method: str, path: str, body: Any) -> None:
    assert api(method, path, body, OPERATOR).status_code == 403
    assert nova.did == []


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (Failure.CONFLICT, 409, "conflict"),
        (Failure.REFUSED, 409, "conflict"),
        (Failure.NOT_FOUND, 404, "unknown_aggregate"),
        (Failure.TIMEOUT, 502, "cloud_failed"),
        (Failure.SERVER_ERROR, 502, "cloud_failed"),
    ],
)
def test_what_nova_refuses_is_told(  # noqa: PLR0917 - a row of the table
    face: Any, api: Any, nova: Nova, reason: Failure, status: int, code: str
) -> None:
    nova.error = CloudError(reason, "nova: create aggregate: no")

    answer = api("POST", "/host-aggregates", {"name": "a"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert face.expired == [frozenset({AgentName.AGGREGATES})]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": " a"},
        {"name": "a\nb"},
        {"name": "x" * 256},
        {"name": "a", "availability_zone": "a:b"},
        {"name": "a", "hosts": ["gpu-1"]},
    ],
)
def test_a_strange_name_is_refused(api: Any, nova: Nova, body: Any) -> None:
    assert api("POST", "/host-aggregates", body).status_code == 422
    assert nova.did == []


def test_every_aggregate_is_listed(api: Any) -> None:
    data = api("GET", "/host-aggregates").json()["data"]

    assert [(item["name"], item["pool"]) for item in data["items"]] == [("H100-n3", "ondemand")]
