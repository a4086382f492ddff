"""The server's life."""

import socket
import threading
import time
from typing import Any

import pytest
import requests
from waiting import until

from spotd.settings.api import ApiSettings
from spotd.web.listening import ListenError, listening_socket
from spotd.web.server import WebServer

TIMEOUT = 5
THREADS = 40
"""What anyio allows at once."""


def web_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "spotd web"]


def test_a_free_port_is_taken_and_told(face: Any) -> None:
    server = WebServer(face.app(), "127.0.0.1:0")

    server.start()

    assert server.address.startswith("127.0.0.1:")
    assert not server.address.endswith(":0")
    assert requests.get(f"http://{server.address}/-/healthy", timeout=TIMEOUT).status_code == 200
    server.stop()


def test_a_stopped_server_leaves_no_thread_and_frees_its_port(face: Any) -> None:
    server = WebServer(face.app(), "127.0.0.1:0")
    server.start()
    address = server.address

    server.stop()

    assert web_threads() == []
    listening_socket(address).close()


def test_a_server_can_be_stopped_twice_and_started_again(face: Any) -> None:
    server = WebServer(face.app(), "127.0.0.1:0")
    server.stop()
    server.start()
    server.stop()
    server.stop()

    server.start()

    assert requests.get(f"http://{server.address}/-/healthy", timeout=TIMEOUT).status_code == 200
    server.stop()


def test_a_started_server_cannot_be_started_again(face: Any) -> None:
    server = WebServer(face.app(), "127.0.0.1:0")
    server.start()

    with pytest.raises(RuntimeError, match="started already"):
        server.start()

    server.stop()


def test_an_address_in_use_is_named(face: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = WebServer(face.app(), address)

        with pytest.raises(ListenError, match=rf"cannot listen on {address}: .*[Aa]ddress already in use"):
            server.start()

    assert web_threads() == []


@pytest.mark.parametrize("address", ["192.0.2.1:0", "no-such-host.invalid:0", "[::ffff:192.0.2.1]:0"])
def test_an_address_of_another_machine_is_named(address: str) -> None:
    with pytest.raises(ListenError) as raised:
        listening_socket(address)

    assert str(raised.value).startswith(f"cannot listen on {address}: ")


def test_an_empty_host_is_every_address(face: Any) -> None:
    server = WebServer(face.app(), ":0")
    server.start()
    port = server.address.rpartition(":")[2]

    assert requests.get(f"http://127.0.0.1:{port}/-/healthy", timeout=TIMEOUT).status_code == 200

    server.stop()


def test_the_address_of_a_server_that_is_not_started_is_an_error(face: Any) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = WebServer(face.app(), "127.0.0.1:0").address


def test_an_open_connection_does_not_hold_the_stop(face: Any) -> None:
    server = WebServer(face.app(), "127.0.0.1:0")
    server.start()
    host, _, port = server.address.rpartition(":")
    with (
        requests.Session() as kept,
        socket.create_connection((host, int(port))) as silent,
        socket.create_connection((host, int(port))) as halfway,
    ):
        kept.get(f"http://{server.address}/metrics", timeout=TIMEOUT)
        halfway.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        started = time.monotonic()

        server.stop()

        assert time.monotonic() - started < 4
        assert silent.recv(1) == b""
    assert web_threads() == []


def test_a_request_that_hangs_does_not_hold_the_stop_for_ever(face: Any) -> None:
    hangs = threading.Event()

    def overview() -> str:
        hangs.wait(30)
        return ""

    face.overview = overview
    server = WebServer(face.app(), "127.0.0.1:0")
    server.start()
    url = f"http://{server.address}/"
    asking = threading.Thread(target=lambda: _ask_in_vain(url))
    asking.start()
    time.sleep(0.2)
    started = time.monotonic()

    server.stop()

    taken = time.monotonic() - started
    hangs.set()
    asking.join()
    assert taken < 8
    assert web_threads() == []


def test_a_scrape_does_not_wait_for_a_reload_that_hangs(face: Any) -> None:
    hangs = threading.Event()

    def hanging() -> tuple[bool, str]:
        hangs.wait(30)
        return True, "reloaded"

    face._reload = hanging
    face.api = ApiSettings(loopback_writes="without-credential")
    server = WebServer(face.app(), "127.0.0.1:0")
    server.start()
    reloading = threading.Thread(target=requests.post, args=(f"http://{server.address}/-/reload",))
    reloading.start()
    time.sleep(0.2)
    started = time.monotonic()

    answer = requests.get(f"http://{server.address}/metrics", timeout=TIMEOUT)

    taken = time.monotonic() - started
    hangs.set()
    reloading.join()
    server.stop()
    assert answer.status_code == 200
    assert taken < 2


def test_an_answer_is_sent_without_waiting_for_the_clients_acknowledgements(face: Any) -> None:
    """Head and body are two packets: with Nagle's algorithm the second may wait for 40 ms."""
    server = WebServer(face.app(), "127.0.0.1:0")
    server.start()
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(4096)
        assert server._server is not None
        (protocol,) = server._server.server_state.connections
        accepted = protocol.transport.get_extra_info("socket")

        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    server.stop()


def test_scrapes_and_health_are_answered_while_every_thread_of_the_api_hangs(face: Any) -> None:
    """Such as in a journal or a Keystone that does not answer."""
    hangs = threading.Event()
    face.api = ApiSettings(writes_per_minute=1000, refreshes_per_minute=1000)
    face.expired = Hanging(hangs)
    server = WebServer(face.make(), "127.0.0.1:0")
    server.start()
    url = f"http://{server.address}"
    asking = [
        threading.Thread(target=requests.post, args=(f"{url}/api/clear-cache",)) for _ in range(THREADS + 5)
    ]
    for thread in asking:
        thread.start()
    until(lambda: face.expired.count >= THREADS, seconds=10)

    codes = {
        path: requests.get(f"{url}{path}", timeout=TIMEOUT).status_code
        for path in ("/metrics", "/-/healthy", "/-/ready", "/", "/api/hosts/gpu-1")
    }
    codes["/api/hosts"] = requests.get(f"{url}/api/hosts", timeout=TIMEOUT).status_code

    hangs.set()
    for thread in asking:
        thread.join()
    server.stop()
    assert set(codes.values()) == {200}, codes


class Hanging:
    """A part of the daemon that does not come back."""

    def __init__(self, until_set: threading.Event) -> None:
        self._until_set = until_set
        self.count = 0

    def append(self, _: Any) -> None:
        self.count += 1
        self._until_set.wait(30)


def _ask_in_vain(url: str) -> None:
    try:
        requests.get(url, timeout=30)
    except requests.RequestException:
        return
