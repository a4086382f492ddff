"""Which addresses are listened on, and how a client's address is read on a socket of both families."""

import errno
import socket
from typing import Any

import pytest
import requests
from asgi_client import asked
from hypothesis import given
from hypothesis import strategies as st

from spotd.settings.api import ApiSettings
from spotd.web.addresses import counted_address, is_loopback, plain_address
from spotd.web.connections import Connections
from spotd.web.listening import ListenError, listening_socket
from spotd.web.server import WebServer

TIMEOUT = 5


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def reached(listener: socket.socket, host: str) -> bool:
    listener.listen()
    try:
        socket.create_connection((host, listener.getsockname()[1]), timeout=TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


@needs_ipv6
@pytest.mark.parametrize(
    ("address", "by_ipv4", "by_ipv6"),
    [
        (":0", True, True),
        ("[::]:0", True, True),
        ("[0:0:0:0:0:0:0:0]:0", True, True),
        ("0.0.0.0:0", True, False),
        ("[::ffff:0.0.0.0]:0", True, False),
        ("127.0.0.1:0", True, False),
        ("[::ffff:127.0.0.1]:0", True, False),
        ("[::1]:0", False, True),
    ],
)
def test_an_address_is_listened_on_for_the_families_that_it_stands_for(
    address: str, by_ipv4: bool, by_ipv6: bool
) -> None:
    with listening_socket(address) as listener:
        assert (reached(listener, "127.0.0.1"), reached(listener, "::1")) == (by_ipv4, by_ipv6)


def test_of_a_name_the_first_ipv4_address_is_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with listening_socket("spotd.example:0") as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_without_ipv6_an_empty_host_is_every_ipv4_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)

    with listening_socket(":0") as listener:
        assert listener.family == socket.AF_INET
        assert reached(listener, "127.0.0.1")


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_where_ipv6_is_off_after_all_an_empty_host_is_every_ipv4_address(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    made = socket.create_server

    def no_ipv6(address: Any, *, family: int = socket.AF_INET, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(number, "no IPv6 here")
        return made(address, family=family, **options)

    monkeypatch.setattr(socket, "create_server", no_ipv6)

    with listening_socket(":0") as listener:
        assert reached(listener, "127.0.0.1")
    with pytest.raises(ListenError, match=r"cannot listen on \[::\]:0: no IPv6 here"):
        listening_socket("[::]:0")


def test_a_port_that_is_taken_on_ipv4_is_not_listened_on_by_ipv6_alone() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken, pytest.raises(ListenError, match="in use"):
        listening_socket(f":{taken.getsockname()[1]}")


@pytest.mark.parametrize("host", ["a" * 70, "x\0y", "ü" * 64, "no-such-host.invalid"])
def test_a_name_that_cannot_be_one_is_one_line(host: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on ") as raised:
        listening_socket(f"{host}:0")

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("host", "plain", "counted", "loopback"),
    [
        ("::ffff:1.2.3.4", "1.2.3.4", "1.2.3.4", False),
        ("::ffff:102:304", "1.2.3.4", "1.2.3.4", False),
        ("1.2.3.4", "1.2.3.4", "1.2.3.4", False),
        ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", "0::/64", True),
        ("2001:db8::7", "2001:db8::7", "20010db800000000::/64", False),
        ("fe80::1%eth0", "fe80::1%eth0", "fe80000000000000::/64", False),
        ("unknown", "unknown", "unknown", False),
        ("", "", "", False),
    ],
)
def test_an_address_has_one_reading(host: str, plain: str, counted: str, loopback: bool) -> None:
    assert (plain_address(host), counted_address(host), is_loopback(host)) == (plain, counted, loopback)


@given(st.ip_addresses(v=4))
def test_an_ipv4_client_is_the_same_client_on_either_socket(address: Any) -> None:
    mapped = f"::ffff:{address}"

    assert plain_address(mapped) == str(address)
    assert counted_address(mapped) == counted_address(str(address))
    assert is_loopback(mapped) == is_loopback(str(address))


def test_connections_of_one_ipv4_client_count_as_one_on_either_socket() -> None:
    counted = Connections(lambda: 1)

    assert counted.enter("192.0.2.1")
    assert not counted.enter("::ffff:192.0.2.1")
    counted.leave("::ffff:192.0.2.1")
    assert counted.enter("192.0.2.1")


def test_requests_of_one_ipv4_client_count_as_one_on_either_socket(face: Any) -> None:
    face.api = ApiSettings(reads="anyone", reads_per_minute=1)
    app = face.app()

    codes = [asked(app, "GET", "/api/hosts", (host, 1)) for host in ("192.0.2.1", "::ffff:192.0.2.1")]

    assert codes == [200, 429]


def test_the_audit_names_an_ipv4_client_by_its_ipv4_address(face: Any) -> None:
    asked(face.app(), "POST", "/api/freeze", ("::ffff:192.0.2.1", 1))

    assert [entry.from_where for entry in face.audits] == ["192.0.2.1"]


@needs_ipv6
@pytest.mark.parametrize("address", [":0", "[::]:0"])
def test_a_client_of_this_machine_is_one_by_either_family(face: Any, address: str) -> None:
    server = WebServer(face.app(), address)
    server.start()
    port = server.address.rpartition(":")[2]
    urls = (f"http://127.0.0.1:{port}", f"http://[::1]:{port}", f"http://[::ffff:127.0.0.1]:{port}")

    codes = [requests.get(f"{url}/api/hosts", timeout=TIMEOUT).status_code for url in urls]

    server.stop()
    assert codes == [200, 200, 200]


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "X-Forwarded-Host", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "Via"],
)
def test_a_proxy_of_this_machine_that_names_its_client_lends_it_nothing(face: Any, header: str) -> None:
    named = (header.lower().encode(), b"127.0.0.1")

    assert asked(face.app(), "GET", "/api/hosts", ("::ffff:127.0.0.1", 1), named) == 401
