"""No answer is taken in without bound: not its bytes, its values, its depth, its numbers or its pages."""

import gzip
import itertools
import json
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from clouds_under_test import Watched
from hypothesis import given
from hypothesis import strategies as st

from spotd.agents.state import AgentName
from spotd.clouds import limits
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.limits import DOCUMENT_BYTES, LIST_BYTES, MEBIBYTE, Paging, document_of
from spotd.clouds.transport import TooLongError, bounded_session, calling, unobserved
from spotd.sim import EmbeddedCloud, Fault, FaultKind, fault_on

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
Ask = Callable[[Watched], Any]
ASKS: dict[str, Ask] = {
    "nova": lambda watched: watched.region.servers._nova.compute_services(),
    "placement": lambda watched: watched.region.gpus._placement.summaries("MEMORY_MB"),
    "netbox": lambda watched: watched.region.netbox.tenant_groups(),
}
STRANGE = {
    "nested lists": "[" * 100_000,
    "nested objects": '{"a":' * 100_000,
    "a number of a million digits": '{"services": [], "n": ' + "7" * 10**6 + "}",
    "a number that no float holds": '{"services": [], "n": 1' + "0" * 60 + "}",
    "an exponent that no float holds": '{"services": [], "n": 1e999}',
    "NaN": '{"services": [], "n": NaN}',
    "Infinity": '{"services": [], "n": -Infinity}',
    "half a character": '{"services": [], "n": "\\ud83d"}',
    "many empty values": "[" + "[]," * 1_100_000 + "[]]",
}


def refused(ask: Callable[[], Any]) -> CloudError:
    with pytest.raises(CloudError) as caught:
        ask()
    return caught.value


@pytest.mark.parametrize("service", list(ASKS))
@pytest.mark.parametrize("name", list(STRANGE))
def test_a_document_that_harms_who_reads_it_is_one_failed_reading(
    cloud: EmbeddedCloud, watched: Watched, service: str, name: str
) -> None:
    """One sentence, and the next good answer is as good as ever."""
    cloud.faults.add(
        Fault(kind=FaultKind.STATUS, service=service, method="GET", status=200, body=STRANGE[name], times=1)
    )

    error = refused(lambda: ASKS[service](watched))

    assert error.reason is Failure.MALFORMED
    assert str(error).isprintable()
    assert len(str(error)) < 200
    ASKS[service](watched)


@pytest.mark.parametrize("name", list(STRANGE))
@pytest.mark.parametrize("method", ["GET", "POST"], ids=["versions", "token"])
def test_keystone_fails_one_reading_too(
    cloud: EmbeddedCloud, watched: Watched, name: str, method: str
) -> None:
    """Its answers are read by a library, which trips over them."""
    cloud.faults.add(
        Fault(
            kind=FaultKind.STATUS, service="keystone", method=method, status=200, body=STRANGE[name], times=1
        )
    )

    try:
        watched.region.session.endpoint("placement")
    except CloudError as error:
        failure: CloudError | None = error
    else:
        failure = None

    # Without a list of versions that can be read, the one in its address is taken.
    assert failure is not None or method == "GET"
    assert failure is None or (failure.reason is Failure.MALFORMED and str(failure).startswith("keystone: "))
    watched.region.session.endpoint("placement")


@pytest.mark.parametrize("service", [*ASKS, "keystone"])
@pytest.mark.parametrize("kind", [FaultKind.LONG, FaultKind.PACKED])
@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_body_without_end_is_one_failed_reading(
    cloud: EmbeddedCloud, watched: Watched, service: str, kind: FaultKind, status: int
) -> None:
    """Whatever its status says."""
    watched.region.session.endpoint("placement")
    method = "POST" if service == "keystone" else "GET"
    handle = cloud.faults.add(Fault(kind=kind, service=service, method=method, status=status, times=1))
    if service == "keystone":
        watched.region.session.forget_token()
    ask = ASKS.get(service, lambda watched: watched.region.session.endpoint("placement"))

    error = refused(lambda: ask(watched))

    assert (error.reason, handle.met) == (Failure.MALFORMED, 1)
    assert "more bytes" in str(error)
    ask(watched)


def test_a_scrape_is_answered_and_the_last_reading_stays_while_a_body_does_not_end(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    before = watched.settle()
    cloud.faults.add(fault_on("list_services", FaultKind.PACKED))

    after = watched.collect(force=frozenset({AgentName.SERVERS}))

    assert watched.state(AgentName.SERVERS).last_failure_reason == Failure.MALFORMED
    assert after.readings.services is not None
    assert before.readings.services is not None
    assert after.readings.services.value == before.readings.services.value


@pytest.fixture
def serving() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(serve: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    serve(connection)
            except OSError:
                return

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/anything"

    yield start
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(5)


def send_for_ever(piece: bytes, first: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(piece)

    return serve


ENDLESS = {
    "a body without a length": send_for_ever(b" " * 65536, HEAD + b"\r\n"),
    "a body of a huge length": send_for_ever(
        b" " * 65536, HEAD + b"Content-Length: 9" + b"0" * 30 + b"\r\n\r\n"
    ),
    "a body of an absurd length": send_for_ever(b" " * 65536, HEAD + b"Content-Length: x\r\n\r\n"),
    "chunks": send_for_ever(b"10000\r\n" + b" " * 65536 + b"\r\n", CHUNKED),
    "small chunks": send_for_ever((b"20\r\n" + b" " * 32 + b"\r\n") * 1024, CHUNKED),
    "the length of a chunk": send_for_ever(b"0" * 65536, CHUNKED),
    "lines after the last chunk": send_for_ever((b"a: " + b"b" * 60 + b"\r\n") * 1024, CHUNKED + b"0\r\n"),
    "a line after the last chunk": send_for_ever(b"a" * 65536, CHUNKED + b"0\r\n"),
    "headers": send_for_ever(b"a: b\r\n" * 8192, HEAD),
    "a header": send_for_ever(b"a" * 65536, HEAD),
    "a first line": send_for_ever(b"a" * 65536, b"HTTP/1.1 200 "),
    "promises": send_for_ever((b"HTTP/1.1 100 Continue\r\na: " + b"b" * 1000 + b"\r\n\r\n") * 64, b""),
    "a body packed twice": lambda connection: connection.sendall(
        HEAD + b"Content-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\n{}"
    ),
    "a body packed otherwise": lambda connection: connection.sendall(
        HEAD + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}"
    ),
    "a body packed badly": lambda connection: connection.sendall(
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
    ),
}


@pytest.mark.parametrize("name", list(ENDLESS))
def test_what_has_no_end_costs_no_more_than_its_bound(serving: Callable[..., str], name: str) -> None:
    """In the body, and before, between and after its pieces."""
    url = serving(ENDLESS[name])
    session = bounded_session(unobserved, connect_seconds=5)
    tracemalloc.start()
    try:
        with calling("nova", "ask", 30), pytest.raises(requests.RequestException) as caught:
            session.get(url)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        session.close()

    assert not isinstance(caught.value, requests.Timeout)
    assert peak < 3 * DOCUMENT_BYTES + limits.HEAD_BYTES


def test_ten_megabytes_that_unpack_to_ten_gigabytes_cost_a_few(serving: Callable[..., str]) -> None:
    piece = gzip.compress(b" " * MEBIBYTE)
    packed = piece * (10 * 1024)

    def serve(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed))
        connection.sendall(packed)

    url = serving(serve)
    session = bounded_session(unobserved, connect_seconds=5)
    tracemalloc.start()
    try:
        with calling("nova", "ask", 30), pytest.raises(TooLongError):
            session.get(url)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        session.close()

    assert len(packed) > 9 * MEBIBYTE
    assert peak < 3 * DOCUMENT_BYTES


def test_a_list_may_be_longer_than_a_document(serving: Callable[..., str]) -> None:
    body = json.dumps(["x" * 1000] * 8000).encode()
    url = serving(
        lambda connection: connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    )

    with calling("nova", "ask", 30, LIST_BYTES):
        assert bounded_session(unobserved, connect_seconds=5).get(url).content == body


def test_a_cloud_that_asks_for_a_long_pause_is_not_waited_for(cloud: EmbeddedCloud, watched: Watched) -> None:
    """The thread would sleep as long as the cloud says; the agent waits instead, and no longer than 300 s."""
    cloud.faults.add(
        fault_on("list_services", FaultKind.STATUS, status=503, headers={"Retry-After": "86400"}, times=1)
    )

    error = refused(watched.region.servers._nova.compute_services)

    assert (error.reason, error.retry_after_seconds) == (Failure.SERVER_ERROR, 86400.0)


def test_cookies_do_not_pile_up(serving: Callable[..., str], cloud: EmbeddedCloud) -> None:
    """A server refuses a request whose cookies are too long, and would refuse every one after it."""
    session = bounded_session(unobserved, connect_seconds=5)
    cloud.faults.add(
        Fault(
            kind=FaultKind.STATUS,
            status=200,
            headers={"Set-Cookie": f"a={'x' * limits.COOKIE_BYTES}y; Path=/"},
            service="nova",
        )
    )

    with calling("nova", "ask", 5):
        session.get(cloud.nova_url)

    assert len(session.cookies) == 0


def ever_new_devices() -> Fault:
    """Pages by id whose rows never come to an end: the first page's, with larger ids each time."""
    kept: list[dict[str, Any]] = []
    ids = itertools.count(1_000_000)

    def rewrite(document: Any) -> Any:
        kept.extend(() if kept else document["results"])
        rows = [{**row, "id": next(ids)} for row in kept]
        return {**document, "results": rows, "next": "http://netbox/api/dcim/devices/?id__gte=0&ordering=id"}

    return Fault(kind=FaultKind.REWRITTEN, service="netbox", path="/devices/", rewrite=rewrite)


PAGED: dict[str, tuple[Fault, Ask]] = {
    "servers": (
        fault_on("list_servers", FaultKind.NEW_PAGES),
        lambda watched: list(watched.region.servers._nova.server_pages()),
    ),
    "server changes": (
        fault_on("list_servers", FaultKind.NEW_PAGES),
        lambda watched: watched.region.servers._nova.server_changes(watched.clock.now().replace(year=2000)),
    ),
    "devices": (
        ever_new_devices(),
        lambda watched: watched.region.netbox.devices({}),
    ),
}


@pytest.mark.parametrize("name", list(PAGED))
@pytest.mark.parametrize(("bound", "value"), [("MOST_PAGES", 4), ("MOST_ROWS", 100)])
def test_pages_that_are_ever_new_come_to_an_end(  # noqa: PLR0917 - a table
    cloud: EmbeddedCloud,
    watched: Watched,
    name: str,
    bound: str,
    value: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has rows and a link that none had before, so nothing goes in circles."""
    monkeypatch.setattr(limits, bound, value)
    fault, ask = PAGED[name]
    cloud.faults.add(fault)

    error = refused(lambda: ask(watched))

    assert error.reason is Failure.MALFORMED
    assert f"more than {value}" in str(error)


def test_pages_that_take_for_ever_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIST_SECONDS", -1.0)

    with pytest.raises(CloudError, match="no end of the pages") as caught:
        Paging("nova: the server list").took(1, "m1")

    assert caught.value.reason is Failure.TIMEOUT


@pytest.mark.parametrize(("rows", "following"), [(1, "first"), (0, "second")], ids=["again", "empty"])
def test_pages_in_circles_are_refused(rows: int, following: str) -> None:
    with pytest.raises(CloudError, match="go in circles"):
        Paging("nova: the server list", "first").took(rows, following)


def test_a_tree_of_countless_providers_is_not_asked_about_one_by_one(
    cloud: EmbeddedCloud, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"uuid": "u", "name": "n", "generation": 1, "root_provider_uuid": "u"}
    rows = {"resource_providers": [row] * (limits.MOST_PROVIDERS_OF_A_TREE + 1)}
    cloud.faults.add(fault_on("list_providers", FaultKind.STATUS, status=200, body=json.dumps(rows)))
    cloud.requests.clear()

    error = refused(lambda: watched.region.gpus._placement.tree("u"))

    assert error.reason is Failure.MALFORMED
    assert len([one for one in cloud.requests.snapshot() if one.service == "placement"]) == 1


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(JSON_VALUES, st.booleans())
def test_every_ordinary_document_is_read_as_it_was_written(value: Any, ascii_only: bool) -> None:
    """Characters outside of the first plane too, which Nova writes as two halves."""
    assert document_of(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: json.dumps(text).encode()))
def test_whatever_is_read_can_be_written_down_again(content: bytes) -> None:
    try:
        document = document_of(content)
    except ValueError:
        return
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
