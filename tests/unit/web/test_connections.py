"""No address can take all connections, and no client holds one for ever by not listening."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import structlog
from waiting import until

from spotd.web import protocol
from spotd.web.connections import Connections
from spotd.web.server import WebServer

TIMEOUT = 5
ASK = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def serving(app: Any, most: int = 900) -> Iterator[WebServer]:
    server = WebServer(app, "127.0.0.1:0", most_per_address=lambda: most)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def connected(server: WebServer, source: str = "127.0.0.1") -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=TIMEOUT, source_address=(source, 0))


def answered(connection: socket.socket) -> bytes:
    connection.sendall(ASK)
    return connection.recv(4096)


def still_open(server: WebServer) -> int:
    assert server._server is not None
    return len(server._server.server_state.connections)


def test_an_address_that_holds_all_it_may_is_refused_and_others_are_not(face: Any) -> None:
    with serving(face.app(), most=3) as server, ExitStack() as stack:
        for _ in range(3):
            assert answered(stack.enter_context(connected(server))).startswith(b"HTTP/1.1 200")
        with connected(server) as fourth:
            refusal = b"".join(iter(lambda: fourth.recv(4096), b""))
        other = answered(stack.enter_context(connected(server, "127.0.0.2")))

    assert refusal.startswith(b"HTTP/1.1 503 ")
    assert refusal.partition(b"\r\n\r\n")[2] == b"Too many connections from this address.\r\n"
    assert other.startswith(b"HTTP/1.1 200")


def test_a_connection_that_ended_makes_room(face: Any) -> None:
    with serving(face.app(), most=1) as server:
        for _ in range(3):
            with connected(server) as connection:
                assert answered(connection).startswith(b"HTTP/1.1 200")
            until(lambda: still_open(server) == 0, seconds=TIMEOUT)


def test_a_client_that_does_not_take_its_answer_is_let_go(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "TAKING_SECONDS", 0.3)
    face.overview = lambda: "x" * 20_000_000
    with serving(face.app()) as server, connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: still_open(server) == 1, seconds=TIMEOUT)

        until(lambda: still_open(server) == 0, seconds=TIMEOUT)


def test_a_client_that_takes_its_answer_keeps_its_connection(
    face: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "TAKING_SECONDS", 5.0)
    face.overview = lambda: "x" * 5_000_000
    with serving(face.app()) as server, connected(server) as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            taken = 0
            while taken < 5_000_000:
                taken += len(connection.recv(65536))
        assert still_open(server) == 1


def test_a_network_of_one_customer_counts_as_one() -> None:
    counted = Connections(lambda: 1)

    assert counted.enter("2001:db8::1")
    assert not counted.enter("2001:db8::2")
    assert counted.enter("2001:db8:0:1::1")
    assert counted.enter("::ffff:192.0.2.1")
    counted.leave("2001:db8::1")
    assert counted.enter("2001:db8::2")


def test_a_flood_is_one_line_in_the_log_each_minute_with_its_number() -> None:
    now = 0.0
    counted = Connections(lambda: 1, lambda: now)
    counted.enter("192.0.2.1")

    with structlog.testing.capture_logs() as lines:
        for _ in range(1000):
            counted.enter("192.0.2.1")
        now = 61.0
        counted.enter("192.0.2.1")

    assert [(line["event"], line["address"], line["refused"]) for line in lines] == [
        ("connections refused", "192.0.2.1", 1),
        ("connections refused", "192.0.2.1", 1000),
    ]
