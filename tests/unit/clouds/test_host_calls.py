"""The live look at one host: read whole or refused, in whatever way a cloud leaves something out."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.host_calls import FINISHED, HostCalls

HOST = "OS-EXT-SRV-ATTR:host"
UNDER_WAY = (
    "accepted",
    "queued",
    "preparing",
    "pre-migrating",
    "running",
    "migrating",
    "post-migrating",
    "finished",
    "confirming",
    "reverting",
)
SERVICE_ID = "5e5e5e5e-0000-4000-8000-000000000001"


class FakeSession:
    """Answers each request with the next document, and writes down what was asked."""

    def __init__(self, *documents: Any) -> None:
        self.documents = list(documents)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def get(self, service: str, path: str, **keywords: Any) -> tuple[Any, Mapping[str, str]]:
        self.asked.append((path, dict(keywords.get("params") or {})))
        return self.documents.pop(0), {}

    def send(self, method: str, service: str, path: str, **keywords: Any) -> Any:
        self.asked.append((f"{method} {path}", keywords["body"]))
        return self.documents.pop(0)


def calls(*documents: Any) -> tuple[HostCalls, FakeSession]:
    session: Any = FakeSession(*documents)
    return HostCalls(session), session


def error_of(ask: Callable[[], object]) -> CloudError:
    with pytest.raises(CloudError) as caught:
        ask()
    return caught.value


def service(**fields: Any) -> dict[str, Any]:
    return {
        "id": SERVICE_ID,
        "host": "h1",
        "status": "enabled",
        "state": "up",
        "disabled_reason": None,
    } | fields


def services(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"services": list(rows)}


def server(number: int, host: str | None = "h1") -> dict[str, Any]:
    return {
        "id": f"s{number}",
        "name": "vm",
        HOST: host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": host,
        "status": "ACTIVE",
        "OS-EXT-STS:task_state": None,
        "tenant_id": "p",
        "flavor": {"original_name": "f", "extra_specs": {}},
        "updated": "2030-01-01T00:00:00Z",
    }


def page(key: str, *rows: dict[str, Any], marker: str | None = None) -> dict[str, Any]:
    links = [{"rel": "next", "href": f"http://elsewhere/?marker={marker}"}] if marker else []
    return {key: list(rows), f"{key}_links": links}


def migration(number: int, status: str = "running", **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "uuid": f"m{number}",
        "status": status,
        "source_compute": "h1",
        "dest_compute": "h2",
        "instance_uuid": f"s{number}",
        "migration_type": "live-migration",
    } | fields


def provider(uuid: str, name: str, root: str = "root") -> dict[str, Any]:
    return {"uuid": uuid, "name": name, "generation": 1, "root_provider_uuid": root}


def aggregate(number: int = 7, *hosts: str) -> dict[str, Any]:
    return {"aggregate": {"id": number, "uuid": "u", "name": "spot", "hosts": list(hosts), "metadata": {}}}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (services(), Failure.NOT_FOUND),
        (services({"binary": "nova-compute", "host": "h1", "status": "UNKNOWN"}), Failure.INCOMPLETE),
        (services(service(), service()), Failure.MALFORMED),
        (services(service(host="h2")), Failure.MALFORMED),
        (services(service(id=None)), Failure.MALFORMED),
        (services(service(state=None)), Failure.MALFORMED),
        ({}, Failure.MALFORMED),
    ],
    ids=["none", "cell down", "several", "of another host", "no id", "no state", "no list"],
)
def test_a_service_that_is_not_one_sure_row_is_refused(answer: Any, reason: Failure) -> None:
    asked, _ = calls(answer)

    assert reason == error_of(lambda: asked.compute_service("h1")).reason


def test_servers_of_a_host_are_read_to_the_last_page() -> None:
    """A full page always has a link; the last page is then empty."""
    asked, session = calls(
        page("servers", server(1), server(2), marker="s2"),
        page("servers", server(3), marker="s3"),
        page("servers"),
        services(service()),
    )

    assert ["s1", "s2", "s3"] == [one.id for one in asked.servers_on("h1")]
    markers = [params.get("marker") for path, params in session.asked if path == "/servers/detail"]
    assert [None, "s2", "s3"] == markers
    assert {"all_tenants": "1", "host": "h1"} == session.asked[0][1]


@pytest.mark.parametrize("host", ["h2", None])
def test_a_server_of_another_host_tells_that_the_filter_was_dropped(host: str | None) -> None:
    """Nova drops it without a word where the role lacks allow_all_filters."""
    asked, _ = calls(page("servers", server(1), server(2, host)), services(service()))

    error = error_of(lambda: asked.servers_on("h1"))

    assert Failure.FORBIDDEN == error.reason
    assert "allow_all_filters" in str(error)


def test_an_empty_list_of_a_cell_that_is_down_is_not_an_empty_host() -> None:
    """With a filter Nova answers 200 and leaves the cell out."""
    asked, _ = calls(page("servers"), services({"host": "h1", "status": "UNKNOWN"}))

    assert Failure.INCOMPLETE == error_of(lambda: asked.servers_on("h1")).reason


@pytest.mark.parametrize("key", ["servers", "migrations"])
def test_pages_in_circles_end(key: str) -> None:
    rows = [server(1)] if key == "servers" else [migration(1)]
    asked, _ = calls(*[page(key, *rows, marker="x") for _ in range(3)])
    ask = asked.servers_on if key == "servers" else asked.unfinished_migrations

    assert Failure.MALFORMED == error_of(lambda: ask("h1")).reason


@pytest.mark.parametrize(
    "status",
    [*UNDER_WAY, "a-word-of-a-later-nova"],
)
def test_a_migration_that_is_not_over_is_unfinished(status: str) -> None:
    """`finished` is a resize that waits to be confirmed: its source is still held."""
    asked, _ = calls(page("migrations", migration(1, status)))

    (found,) = asked.unfinished_migrations("h1")

    assert (1, "m1", status, "h1", "h2", "s1") == (
        found.id,
        found.uuid,
        found.status,
        found.source_host,
        found.dest_host,
        found.server_id,
    )


def test_migrations_that_are_over_or_elsewhere_are_left_out() -> None:
    elsewhere = migration(90, source_compute="h3", dest_compute=None)
    over = [migration(number, status) for number, status in enumerate(sorted(FINISHED))]
    asked, session = calls(
        page("migrations", *over, elsewhere, marker="m90"),
        page("migrations", migration(91, source_compute="h3", dest_compute="h1")),
    )

    assert [91] == [one.id for one in asked.unfinished_migrations("h1")]
    assert [{"host": "h1"}, {"host": "h1", "marker": "m90"}] == [params for _, params in session.asked]


def test_a_migration_whose_hosts_are_hidden_is_not_taken_for_one_of_other_hosts() -> None:
    """Nova blanks both, and still lists the row, for a role without os-migrations:index:host."""
    asked, _ = calls(page("migrations", migration(1, source_compute=None, dest_compute=None)))

    error = error_of(lambda: asked.unfinished_migrations("h1"))

    assert Failure.FORBIDDEN == error.reason
    assert "os_compute_api:os-migrations:index:host" in str(error)


@pytest.mark.parametrize("missing", ["id", "uuid", "status", "instance_uuid", "migration_type"])
def test_a_migration_that_lacks_something_is_refused(missing: str) -> None:
    asked, _ = calls(page("migrations", migration(1, **{missing: None})))

    assert Failure.MALFORMED == error_of(lambda: asked.unfinished_migrations("h1")).reason


def test_a_tree_is_found_by_the_hypervisors_very_name_root_first() -> None:
    """Placement's database may compare names without regard to case."""
    root, child = provider("root", "h1.gpu.example"), provider("child", "h1.gpu.example_0000:17:00.0")
    asked, session = calls(
        {"resource_providers": [provider("other", "H1.GPU.EXAMPLE", "other"), root]},
        {"resource_providers": [child, root]},
    )

    tree = asked.provider_tree("h1.gpu.example")

    assert ["root", "child"] == [one.uuid for one in tree]
    assert [True, False] == [one.is_root for one in tree]
    assert [{"name": "h1.gpu.example"}, {"in_tree": "root"}] == [params for _, params in session.asked]


@pytest.mark.parametrize(
    "named",
    [[], [provider("x", "H1", "x")], [provider("child", "h1", "root")]],
    ids=["none", "case", "child"],
)
def test_a_name_that_no_root_has_is_not_found(named: list[Any]) -> None:
    asked, _ = calls({"resource_providers": named})

    assert Failure.NOT_FOUND == error_of(lambda: asked.provider_tree("h1")).reason


@pytest.mark.parametrize(
    "tree", [[], [provider("root", "h1"), provider("x", "x", "x")]], ids=["none", "foreign"]
)
def test_a_tree_that_is_another_or_none_is_refused(tree: list[Any]) -> None:
    asked, _ = calls({"resource_providers": [provider("root", "h1")]}, {"resource_providers": tree})

    assert Failure.MALFORMED == error_of(lambda: asked.provider_tree("h1")).reason


def test_consumers_are_those_of_every_provider() -> None:
    """A GPU's child provider may be held by a server that holds nothing of the root."""
    asked, session = calls(
        {"allocations": {"s1": {}}}, {"allocations": {"m1": {}, "s1": {}}}, {"allocations": {}}
    )

    assert {"s1", "m1"} == asked.consumers(["root", "a", "b"])
    assert ["/resource_providers/a/allocations"] == [path for path, _ in session.asked[1:2]]


@pytest.mark.parametrize("answer", [{}, {"allocations": []}, []])
def test_consumers_of_another_shape_are_refused(answer: Any) -> None:
    """An answer without allocations is not none."""
    asked, _ = calls(answer)

    assert Failure.MALFORMED == error_of(lambda: asked.consumers(["root"])).reason


@pytest.mark.parametrize("name", ["mirror", "traits"])
@pytest.mark.parametrize(
    "answer", [{}, {"aggregates": None, "traits": None}, {"aggregates": [1], "traits": [1]}, []]
)
def test_a_list_of_names_that_is_none_is_refused(name: str, answer: Any) -> None:
    asked, _ = calls(answer)

    assert Failure.MALFORMED == error_of(lambda: getattr(asked, name)("root")).reason


WRITES: dict[str, tuple[Callable[[HostCalls], None], Any, tuple[str, Any]]] = {
    "add": (
        lambda asked: asked.add_host(7, "h1"),
        aggregate(7, "h0", "h1"),
        ("POST /os-aggregates/7/action", {"add_host": {"host": "h1"}}),
    ),
    "remove": (
        lambda asked: asked.remove_host(7, "h1"),
        aggregate(7, "h0"),
        ("POST /os-aggregates/7/action", {"remove_host": {"host": "h1"}}),
    ),
    "disable": (
        lambda asked: asked.disable_service(SERVICE_ID, "spotd move x"),
        {"service": service(status="disabled", disabled_reason="spotd move x")},
        (f"PUT /os-services/{SERVICE_ID}", {"status": "disabled", "disabled_reason": "spotd move x"}),
    ),
    "enable": (
        lambda asked: asked.enable_service(SERVICE_ID),
        {"service": service()},
        (f"PUT /os-services/{SERVICE_ID}", {"status": "enabled"}),
    ),
}


@pytest.mark.parametrize("name", list(WRITES))
def test_a_write_is_sent_once_with_nothing_more_in_it(name: str) -> None:
    """A reason along with an enable would be a 400."""
    write, answer, sent = WRITES[name]
    asked, session = calls(answer)

    write(asked)

    assert [sent] == session.asked


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("add", aggregate(7, "h0")),
        ("add", aggregate(8, "h1")),
        ("add", {}),
        ("add", {"aggregate": {"id": 7}}),
        ("remove", aggregate(7, "h1")),
        ("remove", aggregate(8)),
        ("disable", {"service": service()}),
        ("disable", {"service": service(status="disabled", disabled_reason="of somebody else")}),
        ("disable", {"service": service(id="x", status="disabled", disabled_reason="spotd move x")}),
        ("disable", []),
        ("enable", {"service": service(status="disabled")}),
        ("enable", {"service": service(id="x")}),
    ],
)
def test_a_write_that_answers_something_else_may_have_happened(name: str, answer: Any) -> None:
    write, _, _ = WRITES[name]
    asked, _ = calls(answer)

    error = error_of(lambda: write(asked))

    assert Failure.MALFORMED == error.reason
    assert error.may_have_happened


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Failure.TIMEOUT, True),
        (Failure.CONNECTION, True),
        (Failure.TLS, True),
        (Failure.SERVER_ERROR, True),
        (Failure.MALFORMED, True),
        (Failure.INCOMPLETE, True),
        (Failure.UNAUTHORIZED, False),
        (Failure.FORBIDDEN, False),
        (Failure.NOT_FOUND, False),
        (Failure.MICROVERSION, False),
        (Failure.CONFLICT, False),
        (Failure.REFUSED, False),
        (Failure.RATE_LIMITED, False),
        (Failure.NOT_IN_CATALOG, False),
        (Failure.CONFIGURATION, False),
    ],
)
def test_only_a_refusal_did_surely_not_happen(reason: Failure, *, expected: bool) -> None:
    assert CloudError(reason, "x").may_have_happened is expected
    assert CloudError(reason, "x", was_sent=False).may_have_happened is False


def test_every_reason_is_judged() -> None:
    """A new one must be put into the table above."""
    assert len(Failure) == 15
