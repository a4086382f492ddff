"""The routes, over a real connection."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from asgi_client import asked
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from structlog.testing import capture_logs

from spotd.settings.api import ApiSettings
from spotd.web.api.audit import Auditor
from spotd.web.api.auth import Role, hash_of, new_token
from spotd.web.api.throttle import Kind
from spotd.web.app import _writes, only_from_this_machine

TIMEOUT = 5
ADMIN = new_token()
SHOWN = {"X-Auth-Token": ADMIN}
SHOWN_RAW = (b"x-auth-token", ADMIN.encode())
ROUTES = ("/", "/metrics", "/-/healthy", "/-/ready")


@pytest.fixture(autouse=True)
def tokens(face: Any) -> None:
    tokens = [{"name": "root", "role": "admin", "hash": hash_of(ADMIN)}]
    face.api = ApiSettings.model_validate({"tokens": tokens})


def wait_until(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + TIMEOUT
    while not is_so() and time.monotonic() < give_up_at:
        time.sleep(0.005)


def test_metrics_are_plain_text_by_default(url: str) -> None:
    answer = requests.get(f"{url}/metrics", timeout=TIMEOUT, headers={"Accept": "*/*", "Accept-Encoding": ""})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "Content-Encoding" not in answer.headers
    assert 'spotd_host_gpus{gpu_type="H100",host="gpu-1",pool="ondemand"} 8.0\n' in answer.text


def test_metrics_are_openmetrics_and_compressed_when_asked_for(url: str) -> None:
    headers = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}

    answer = requests.get(f"{url}/metrics", timeout=TIMEOUT, headers=headers)

    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert any(family.name == "spotd_host_gpus" for family in openmetrics_families(answer.text))


@pytest.mark.parametrize(("ok", "code"), [(True, 200), (False, 503)])
@pytest.mark.parametrize("what", ["healthy", "ready"])
def test_health_says_yes_or_why_not(face: Any, url: str, what: str, ok: bool, code: int) -> None:
    setattr(face, what, (ok, "the reason"))

    answer = requests.get(f"{url}/-/{what}", timeout=TIMEOUT)

    assert (answer.status_code, answer.text) == (code, "the reason\n")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_reload_tells_its_outcome(face: Any, url: str, method: str) -> None:
    answer = requests.request(method, f"{url}/-/reload", headers=SHOWN, timeout=TIMEOUT)

    assert (answer.status_code, answer.text, face.reloads) == (200, "reloaded\n", 1)


def test_a_failed_reload_tells_its_reason_in_one_line(face: Any, url: str) -> None:
    face.reload = (False, "kept the old configuration:\n  spotd.yaml:3: unknown key")

    answer = requests.post(f"{url}/-/reload", headers=SHOWN, timeout=TIMEOUT)

    assert answer.status_code == 500
    assert answer.text == "kept the old configuration: spotd.yaml:3: unknown key\n"


def test_a_reload_is_no_read(face: Any, url: str) -> None:
    answer = requests.get(f"{url}/-/reload", timeout=TIMEOUT)

    assert (answer.status_code, face.reloads) == (405, 0)
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == {"POST", "PUT"}


@pytest.mark.parametrize("route", ROUTES)
def test_a_head_request_has_the_headers_and_no_body(url: str, route: str) -> None:
    answer = requests.head(f"{url}{route}", timeout=TIMEOUT)

    assert answer.status_code == 200
    assert answer.content == b""


@pytest.mark.parametrize("route", ROUTES)
def test_what_is_read_cannot_be_written(url: str, route: str) -> None:
    answer = requests.post(f"{url}{route}", timeout=TIMEOUT, data=b"x")

    assert answer.status_code == 405
    assert answer.text.count("\n") == 1


@pytest.mark.parametrize(
    "path", ["/nothing", "/metrics/", "/docs/", "/openapi.json", "/-/reload/", "/%00", "//"]
)
def test_an_unknown_path_is_a_404_in_one_line_and_no_label(face: Any, url: str, path: str) -> None:
    answer = requests.get(f"{url}{path}", timeout=TIMEOUT, allow_redirects=False)

    assert (answer.status_code, answer.text) == (404, "Not Found\n")
    assert face.requests("unmatched", "GET", 404) == 1


@pytest.mark.parametrize(
    ("method", "path", "route", "code"),
    [
        ("GET", "/metrics?a=b", "/metrics", 200),
        ("HEAD", "/", "/", 200),
        ("GET", "/-/reload", "/-/reload", 405),
        ("POST", "/-/reload", "/-/reload", 200),
    ],
)
def test_requests_are_counted_by_route(  # noqa: PLR0917 - a row of the table
    face: Any, url: str, method: str, path: str, route: str, code: int
) -> None:
    requests.request(method, f"{url}{path}", headers=SHOWN, timeout=TIMEOUT)

    assert face.requests(route, method, code) == 1


@pytest.mark.parametrize("path", [*ROUTES, "/nothing"])
def test_every_answer_carries_the_security_headers(url: str, path: str) -> None:
    headers = requests.get(f"{url}{path}", timeout=TIMEOUT).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers


def test_an_error_shows_one_line_and_no_traceback(face: Any, url: str) -> None:
    def broken() -> str:
        raise RuntimeError("a secret detail")

    face.overview = broken
    with capture_logs() as logs:
        answer = requests.get(f"{url}/", timeout=TIMEOUT)
        wait_until(lambda: bool(logs))

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.text.strip().count("\n") == 0
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert face.requests("/", "GET", 500) == 1
    assert [entry["event"] for entry in logs] == ["request failed"]


def test_the_landing_page_is_html(url: str) -> None:
    answer = requests.get(f"{url}/", timeout=TIMEOUT)

    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_scrape_is_answered_while_a_reload_and_a_collection_hang(face: Any, url: str) -> None:
    hangs = threading.Event()
    slow = threading.Thread(target=hangs.wait, name="hanging collection")
    slow.start()
    started = time.monotonic()

    answer = requests.get(f"{url}/metrics", timeout=TIMEOUT)

    hangs.set()
    slow.join()
    assert answer.status_code == 200
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1", 200),
        ("127.9.9.9", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("192.0.2.7", 403),
        ("::ffff:192.0.2.7", 403),
        ("2001:db8::7", 403),
        ("fe80::1%eth0", 403),
        ("localhost", 403),
        ("", 403),
    ],
)
def test_only_this_machine_may_reload(face: Any, host: str, code: int) -> None:
    assert asked(face.app(), "POST", "/-/reload", (host, 1), SHOWN_RAW) == code
    assert face.reloads == (code == 200)


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.7"])
@pytest.mark.parametrize("header", [b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"])
def test_a_proxy_lends_nobody_its_address(face: Any, host: str, header: bytes) -> None:
    named = (header, b"127.0.0.1")

    assert asked(face.app(), "POST", "/-/reload", (host, 1), named) == 403
    assert asked(face.app(), "POST", "/-/reload", (host, 1), named, SHOWN_RAW) == 403
    assert face.reloads == 0


@pytest.mark.parametrize(
    "header", [(b"origin", b"https://evil.example"), (b"sec-fetch-site", b"cross-site"), (b"origin", b"null")]
)
def test_a_page_of_another_site_may_not_reload(face: Any, header: tuple[bytes, bytes]) -> None:
    assert asked(face.app(), "POST", "/-/reload", ("127.0.0.1", 1), header, SHOWN_RAW) == 403


def test_a_client_without_an_address_may_not_reload(face: Any) -> None:
    assert asked(face.app(), "POST", "/-/reload", None, SHOWN_RAW) == 403


@pytest.mark.parametrize(
    ("role", "loopback_writes", "code"),
    [
        (None, "with-credential", 401),
        ("wrong", "with-credential", 401),
        ("viewer", "with-credential", 403),
        ("operator", "with-credential", 403),
        ("admin", "with-credential", 200),
        (None, "without-credential", 200),
        ("wrong", "without-credential", 401),
        ("viewer", "without-credential", 403),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_reload_is_an_admins_as_every_write_that_says_nothing_else(
    face: Any, host: str, role: str | None, loopback_writes: str, code: int
) -> None:
    token = new_token()
    tokens = [{"name": "x", "role": role, "hash": hash_of(token)}] if role not in {None, "wrong"} else []
    face.api = ApiSettings.model_validate({"tokens": tokens, "loopback_writes": loopback_writes})
    shown = [] if role is None else [(b"authorization", f"Bearer {token}".encode())]

    assert asked(face.app(), "POST", "/-/reload", (host, 1), *shown) == code
    assert face.reloads == (code == 200)


def test_a_refused_reload_says_in_one_line_what_it_needs(url: str) -> None:
    answer = requests.post(f"{url}/-/reload", timeout=TIMEOUT)

    assert (answer.status_code, answer.text) == (401, "This needs a credential with the role admin.\n")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="spotd"'
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_page_that_rebinds_its_name_cannot_reload_with_a_credential_either(face: Any) -> None:
    other = (b"host", b"evil.example")

    assert asked(face.app(), "POST", "/-/reload", ("127.0.0.1", 1), other, SHOWN_RAW) == 421
    assert face.reloads == 0


def test_reloads_of_one_client_are_counted(face: Any) -> None:
    face.api = face.api.model_copy(update={"writes_per_minute": 2})
    app = face.app()

    codes = [asked(app, "POST", "/-/reload", ("127.0.0.1", 1), SHOWN_RAW) for _ in range(3)]

    assert codes == [200, 200, 429]


def test_reads_are_for_everyone(face: Any) -> None:
    assert {asked(face.app(), "GET", route, ("192.0.2.7", 1)) for route in ROUTES} == {200}


def test_every_route_that_is_no_read_is_guarded(face: Any) -> None:
    """Walks the routes, so that a new one cannot forget its guard."""
    admitted: list[tuple[Role, Kind]] = []

    class Admitting:
        async def admit(self, _: Any, role: Role, kind: Kind) -> None:
            admitted.append((role, kind))

    router = _writes(lambda: (True, ""), Auditor(face.backing), Admitting())  # type: ignore[arg-type]
    place, admin = (dependency.dependency for dependency in router.dependencies)
    assert place is only_from_this_machine
    assert admin is not None
    asyncio.run(admin(None))
    assert admitted == [(Role.ADMIN, Kind.WRITE)]

    writes = [
        (method, path) for path in (*ROUTES, "/-/reload") for method in ("POST", "PUT", "PATCH", "DELETE")
    ]

    assert {asked(face.app(), method, path, ("192.0.2.7", 1)) for method, path in writes} <= {403, 405}


def test_rubbish_on_the_wire_is_refused_and_the_server_lives_on(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(b"\x16\x03\x01 not http at all\r\n\r\n")
        connection.recv(1000)

    assert requests.get(f"{url}/-/healthy", timeout=TIMEOUT).status_code == 200
