"""What never reaches a route: other hosts' names, long bodies, slow bodies; and the documentation page."""

import re
import socket
import time
from typing import Any

import pytest
import requests

from spotd.settings.api import ApiSettings
from spotd.settings.models import WebSettings
from spotd.web.docs import OPENAPI

TIMEOUT = 5


def with_host(url: str, path: str, host: str) -> int:
    return requests.get(f"{url}{path}", headers={"Host": host}, timeout=TIMEOUT).status_code


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("192.0.2.7:9100", 200),
        (socket.gethostname(), 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
    ],
)
def test_only_own_names_and_addresses_are_answered(url: str, host: str, code: int) -> None:
    """A page whose name is made to point at this machine (DNS rebinding) must not read the API."""
    assert with_host(url, "/api/hosts", host) == code


def test_more_names_are_allowed_by_the_configuration(face: Any, url: str) -> None:
    face.web = WebSettings(allowed_hosts=("Spotd.example.com",))
    assert with_host(url, "/api/hosts", "spotd.example.com") == 200
    assert with_host(url, "/api/hosts", "other.example.com") == 421

    face.web = WebSettings(allowed_hosts=("*",))
    assert with_host(url, "/api/hosts", "other.example.com") == 200


@pytest.mark.parametrize("path", ["/metrics", "/-/healthy", "/-/ready"])
def test_prometheus_may_use_any_name(url: str, path: str) -> None:
    assert with_host(url, path, "gpu-monitor.example.com") == 200


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(face: Any, url: str) -> None:
    face.api = ApiSettings.model_validate({"largest_body_bytes": 1024})

    answer = requests.post(f"{url}/api/clear-cache", data=b"x" * 1025, timeout=TIMEOUT)

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_a_body_of_unknown_length_is_cut_off(face: Any, url: str) -> None:
    face.api = ApiSettings.model_validate({"largest_body_bytes": 1024})

    def endless() -> Any:
        for _ in range(64):
            yield b"x" * 512

    try:
        status = requests.post(f"{url}/api/clear-cache", data=endless(), timeout=TIMEOUT).status_code
    except requests.ConnectionError:
        status = 413  # the server closed before all was sent
    assert status == 413


def test_a_client_that_sends_its_body_slowly_is_refused(face: Any, url: str) -> None:
    face.api = ApiSettings.model_validate({"body_seconds": 0.2})
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        head = "POST /api/clear-cache HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        connection.sendall(head.encode())
        started = time.monotonic()
        # The head and the body may come one after the other; the server closes behind them.
        answer = b"".join(iter(lambda: connection.recv(10_000), b"")).decode()

    assert answer.startswith("HTTP/1.1 408 ")
    assert '"too_slow"' in answer
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "value", ["a\r\nSet-Cookie: x=1", "a\nX-Injected: 1", "\r\n\r\n<script>"], ids=["crlf", "lf", "body"]
)
def test_what_a_client_sends_never_becomes_a_header(url: str, value: str) -> None:
    answer = requests.get(f"{url}/api/hosts/{requests.utils.quote(value, safe='')}", timeout=TIMEOUT)

    assert answer.status_code == 404
    assert not {"set-cookie", "x-injected"} & {name.lower() for name in answer.headers}
    assert answer.headers["Content-Type"] == "application/json"


def test_the_documentation_loads_nothing_from_elsewhere(url: str) -> None:
    page = requests.get(f"{url}/docs", timeout=TIMEOUT)

    loaded = re.findall(r"(?:src|href)=['\"]?([^\s'\">]+)", page.text)
    assert loaded
    assert all(path.startswith("/docs/") for path in loaded)
    for path in loaded:
        assert requests.get(f"{url}{path}", timeout=TIMEOUT).status_code == 200
    assert "connect-src 'self'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/docs/redoc.standalone.js", "/docs/..%2f__init__.py", "/docs/core.py"])
def test_the_documentation_gives_no_other_file(url: str, path: str) -> None:
    assert requests.get(f"{url}{path}", timeout=TIMEOUT).status_code == 404


def test_the_openapi_document_has_every_path_with_its_refusals(url: str) -> None:
    document = requests.get(f"{url}{OPENAPI}", timeout=TIMEOUT).json()

    assert "/api/hosts/{host}" in document["paths"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert {"401", "403", "429"} <= set(operation["responses"]), (method, path)
            assert operation["security"], (method, path)
            assert len(operation["summary"].split()) > 1, (method, path)
