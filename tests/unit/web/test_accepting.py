"""Of few descriptors the daemon's own work has its part, and accepting goes on when there are some again."""

import asyncio.constants
import errno
import resource
import socket
import ssl
from contextlib import ExitStack
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from waiting import until
from web_files import SERVER

from spotd.web import accepting
from spotd.web.complaints import Complaints
from spotd.web.connections import MOST_CONNECTIONS, Connections
from spotd.web.descriptors import OWN_DESCRIPTORS, connections_within, raise_limit
from spotd.web.loop import sparing
from spotd.web.server import WebServer

TIMEOUT = 5
ASK = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connected(server: WebServer, source: str = "127.0.0.1") -> socket.socket:
    port = server.address.rpartition(":")[2]
    return socket.create_connection(("127.0.0.1", int(port)), timeout=TIMEOUT, source_address=(source, 0))


def answered(connection: socket.socket) -> bytes:
    connection.sendall(ASK)
    return connection.recv(4096)


def refused(face: Any, reason: str) -> float | None:
    return face.metrics.registry.get_sample_value("spotd_http_refused_total", {"reason": reason})


@pytest.mark.parametrize(
    ("limit", "most"),
    [(16, 4), (64, 16), (128, 32), (256, 132), (1024, 900), (65536, 900), (-1, 900), (1, 1)],
)
def test_connections_leave_descriptors_to_the_daemons_own_work(limit: int, most: int) -> None:
    assert connections_within(limit) == most


@given(st.integers(4, 10**6))
def test_the_daemons_own_work_has_most_of_few_descriptors(limit: int) -> None:
    own = limit - connections_within(limit)

    assert own >= min(OWN_DESCRIPTORS, limit // 2)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        raise_limit()

        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_server_with_few_descriptors_says_so(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    server = WebServer(face.app(), "127.0.0.1:0")
    with structlog.testing.capture_logs() as logs:
        server.start()
    server.stop()

    assert [(entry["limit"], entry["most"]) for entry in logs] == [(64, 16)]


def test_of_few_connections_one_address_has_its_part_alone() -> None:
    counted = Connections(lambda: 200, most=16)

    assert [counted.enter("192.0.2.1") for _ in range(5)] == [True, True, True, True, False]
    assert all(counted.enter(f"192.0.2.{number}") for number in range(2, 14))
    assert not counted.enter("192.0.2.14")
    counted.leave("192.0.2.2")
    assert counted.enter("192.0.2.14")


def test_all_connections_together_have_a_bound(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spotd.web.server.most_connections", lambda: 2)
    server = WebServer(
        face.app(),
        "127.0.0.1:0",
        most_per_address=lambda: MOST_CONNECTIONS,
        refused=face.metrics.http_refused,
    )
    server.start()
    with ExitStack() as stack:
        for number in (1, 2):
            assert answered(stack.enter_context(connected(server, f"127.0.0.{number}"))).startswith(
                b"HTTP/1.1 200"
            )
        third = stack.enter_context(connected(server, "127.0.0.3"))
        refusal = b"".join(iter(lambda: third.recv(4096), b""))
    server.stop()

    assert refusal.endswith(b"\r\n\r\nToo many connections.\r\n")
    assert refused(face, "connections") == 1


class Exhausted:
    """`accept` of a process that has no descriptor left until it is told that it has."""

    def __init__(self, number: int) -> None:
        self.number: int | None = number
        self.calls = 0
        self._accept: Any = socket.socket.accept

    def __call__(self, listener: socket.socket) -> Any:
        self.calls += 1
        if self.number is not None:
            raise OSError(self.number, "Too many open files")
        return self._accept(listener)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_accepting_pauses_says_so_once_and_goes_on(
    face: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(asyncio.constants, "ACCEPT_RETRY_DELAY", 0.05)
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.02)
    server = WebServer(face.app(), "127.0.0.1:0", refused=face.metrics.http_refused)
    server.start()
    exhausted = Exhausted(number)
    monkeypatch.setattr(socket.socket, "accept", lambda listener: exhausted(listener))  # noqa: PLW0108 - bound
    with structlog.testing.capture_logs() as logs, connected(server) as connection:
        until(lambda: exhausted.calls >= 3, seconds=TIMEOUT)
        assert exhausted.calls < 50
        exhausted.number = None

        assert answered(connection).startswith(b"HTTP/1.1 200")
    server.stop()

    assert [entry["event"] for entry in logs] == ["no connection is accepted for lack of descriptors"]
    assert (refused(face, "descriptors") or 0) >= 3


def test_a_connection_that_failed_before_it_was_accepted_costs_the_others_nothing(
    face: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = WebServer(face.app(), "127.0.0.1:0")
    server.start()
    failing = Exhausted(errno.EPROTO)
    monkeypatch.setattr(socket.socket, "accept", lambda listener: failing(listener))  # noqa: PLW0108 - bound
    with structlog.testing.capture_logs() as logs, connected(server) as connection:
        until(lambda: failing.calls >= 1, seconds=TIMEOUT)
        failing.number = None

        assert answered(connection).startswith(b"HTTP/1.1 200")
    server.stop()

    assert logs == []


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    SERVER.configure_cert(context)
    return context


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0"])
def test_handshakes_that_fail_are_one_line_and_counted(face: Any, tls: ssl.SSLContext, address: str) -> None:
    server = WebServer(face.app(), address, tls=tls, refused=face.metrics.http_refused)
    server.start()
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            with connected(server) as connection:
                connection.sendall(ASK)
                connection.settimeout(TIMEOUT)
                while connection.recv(4096):
                    pass
        until(lambda: refused(face, "tls") == 20, seconds=TIMEOUT)
    server.stop()

    assert [(entry["event"], entry["address"]) for entry in logs] == [("TLS handshakes failed", "127.0.0.1")]


def test_a_client_that_does_not_shake_hands_holds_a_connection_of_its_address(
    face: Any, tls: ssl.SSLContext
) -> None:
    server = WebServer(
        face.app(), "127.0.0.1:0", tls=tls, most_per_address=lambda: 1, refused=face.metrics.http_refused
    )
    server.start()
    with connected(server), connected(server) as second:
        assert second.recv(100) == b""
    server.stop()

    assert refused(face, "address") == 1


def test_errors_of_the_event_loop_are_told_sparingly() -> None:
    handle = sparing(Complaints())
    loop = asyncio.new_event_loop()
    with structlog.testing.capture_logs() as logs:
        for _ in range(100):
            handle(loop, {"message": "Fatal error", "exception": RuntimeError("x")})
            handle(
                loop,
                {"message": "socket.accept() out of system resource", "exception": OSError(errno.EMFILE, "")},
            )
    loop.close()

    assert [(entry["event"], entry["what"]) for entry in logs] == [("connection failed", "Fatal error")]
