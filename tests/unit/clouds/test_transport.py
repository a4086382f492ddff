"""Every exchange is bounded as a whole, whatever the other side does."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from spotd.clouds.transport import bounded_session, calling, reads_as_json, unobserved

Serve = Callable[[socket.socket, threading.Event], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


class Server:
    """Accepts on a loopback port and serves each connection in a thread."""

    def __init__(self, serve: Serve) -> None:
        self.stopping = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.open: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = self.listener.accept()
                except OSError:
                    return
                self.open.append(connection)
                threading.Thread(target=run, args=(connection,), daemon=True).start()

        def run(connection: socket.socket) -> None:
            try:
                serve(connection, self.stopping)
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()

    def close(self) -> None:
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.open:
            connection.close()


def hang_at_once(connection: socket.socket, stopping: threading.Event) -> None:
    stopping.wait()


def hang_in_the_body(connection: socket.socket, stopping: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(HEAD + b"{")
    stopping.wait()


def drip_the_head(connection: socket.socket, stopping: threading.Event) -> None:
    drip(HEAD, connection, stopping)


def drip_the_body(connection: socket.socket, stopping: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(HEAD)
    drip(b" " * 1000, connection, stopping)


def drip(content: bytes, connection: socket.socket, stopping: threading.Event) -> None:
    for byte in content:
        connection.sendall(bytes([byte]))
        if stopping.wait(0.02):
            return


def answer(connection: socket.socket, stopping: threading.Event) -> None:
    while connection.recv(65536):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        )


@pytest.fixture
def serving() -> Iterator[Callable[[Serve], str]]:
    servers: list[Server] = []

    def start(serve: Serve) -> str:
        servers.append(Server(serve))
        return servers[-1].url

    yield start
    for server in servers:
        server.close()


def deadlines() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("deadline")]


@pytest.mark.parametrize("serve", [hang_at_once, hang_in_the_body, drip_the_head, drip_the_body])
@pytest.mark.parametrize("seconds", [0.1, 0.4])
def test_a_call_ends_at_its_deadline(serving: Callable[[Serve], str], serve: Serve, seconds: float) -> None:
    """A timeout between two bytes would wait 20 s for the slow body and for ever for the silent one."""
    url = serving(serve)
    session = bounded_session(unobserved, connect_seconds=5)
    started = time.monotonic()

    with pytest.raises(requests.Timeout), calling("nova", "ask", seconds):
        session.get(url)

    assert seconds <= time.monotonic() - started + 0.05 < seconds + 1


@pytest.mark.parametrize(("outer", "inner"), [(0.1, 5.0), (5.0, 0.1)])
def test_of_nested_deadlines_the_earlier_holds(
    serving: Callable[[Serve], str], outer: float, inner: float
) -> None:
    """An agent's bounds each of its calls, a call's own may be shorter."""
    url = serving(hang_at_once)
    session = bounded_session(unobserved, connect_seconds=5)
    started = time.monotonic()

    with pytest.raises(requests.Timeout), calling("agent", "gpus", outer), calling("nova", "ask", inner):
        session.get(url)

    assert time.monotonic() - started < 1


def test_after_an_inner_call_the_outer_deadline_holds_again(serving: Callable[[Serve], str]) -> None:
    """The second call of an agent is bounded too."""
    good, bad = serving(answer), serving(hang_at_once)
    session = bounded_session(unobserved, connect_seconds=5)
    started = time.monotonic()

    with calling("agent", "gpus", 0.3):
        with calling("nova", "ask", 5):
            assert session.get(good).json() == {}
        with pytest.raises(requests.Timeout), calling("nova", "ask", 5):
            session.get(bad)

    assert time.monotonic() - started < 1.3


def test_a_call_whose_time_is_over_sends_nothing(serving: Callable[[Serve], str]) -> None:
    """It fails before it connects."""
    seen: list[str] = []
    url = serving(lambda *_: seen.append("connected"))
    session = bounded_session(unobserved, connect_seconds=5)

    with calling("agent", "gpus", 0), pytest.raises(requests.Timeout):
        session.get(url)

    assert [] == seen


def test_deadlines_leave_no_thread_behind(serving: Callable[[Serve], str]) -> None:
    """After good calls and after those that were cut off."""
    good, bad = serving(answer), serving(hang_at_once)
    session = bounded_session(unobserved, connect_seconds=5)
    for _ in range(20):
        with calling("nova", "ask", 30):
            session.get(good)
    with pytest.raises(requests.Timeout), calling("nova", "ask", 0.05):
        session.get(bad)

    end = time.monotonic() + 2
    while deadlines() and time.monotonic() < end:
        pass

    assert [] == deadlines()


def test_a_connection_that_was_cut_off_is_not_used_again(serving: Callable[[Serve], str]) -> None:
    """The next call gets its own answer, not the rest of the one before."""
    answers = iter([hang_in_the_body, answer])

    def first_badly(connection: socket.socket, stopping: threading.Event) -> None:
        next(answers)(connection, stopping)

    url = serving(first_badly)
    session = bounded_session(unobserved, connect_seconds=5)
    with pytest.raises(requests.Timeout), calling("nova", "ask", 0.1):
        session.get(url)

    with calling("nova", "ask", 5):
        found = session.get(url)

    assert found.json() == {}


@pytest.mark.parametrize(
    ("serve", "path", "told"),
    [
        (answer, "", ("nova", "ask", "200", 2)),
        (hang_at_once, "", ("nova", "ask", "timeout", 0)),
        (answer, "v3/auth/tokens", ("keystone", "authenticate", "200", 2)),
        (answer, "v3", ("keystone", "versions", "200", 2)),
    ],
)
def test_every_exchange_is_told_with_service_code_and_bytes(
    serving: Callable[[Serve], str], serve: Serve, path: str, told: tuple[object, ...]
) -> None:
    """Also those that keystoneauth makes by itself inside a call."""
    seen: list[tuple[object, ...]] = []
    session = bounded_session(
        lambda service, operation, code, _seconds, size: seen.append((service, operation, code, size)),
        connect_seconds=5,
    )
    url = serving(serve) + (path or "anything")

    with calling("nova", "ask", 0.2):
        try:
            session.get(url)
        except requests.Timeout:
            assert told[2] == "timeout"

    assert [told] == seen


def test_tls_with_a_stranger_is_a_tls_failure(serving: Callable[[Serve], str]) -> None:
    """The port speaks plain HTTP."""
    codes: list[str] = []
    session = bounded_session(lambda *told: codes.append(told[2]), connect_seconds=5)
    url = serving(answer).replace("http:", "https:")

    with calling("nova", "ask", 5), pytest.raises(requests.exceptions.SSLError):
        session.get(url)

    assert ["tls"] == codes


def test_a_hanging_tls_handshake_ends_at_the_deadline(serving: Callable[[Serve], str]) -> None:
    """The other side accepts and says nothing."""
    session = bounded_session(unobserved, connect_seconds=5)
    url = serving(hang_at_once).replace("http:", "https:")
    started = time.monotonic()

    with pytest.raises(requests.RequestException), calling("nova", "ask", 0.3):
        session.get(url)

    assert time.monotonic() - started < 1.3


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/json", True),
        ("application/json; charset=UTF-8", True),
        ("Application/JSON", True),
        ("text/html", False),
        (None, False),
    ],
)
def test_only_what_claims_to_be_json_is_read_as_such(kind: str | None, *, expected: bool) -> None:
    """A proxy's page does not."""
    response = requests.Response()
    if kind is not None:
        response.headers["Content-Type"] = kind

    assert expected == reads_as_json(response)
