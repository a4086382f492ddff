"""The exporter-toolkit's format: what its examples say is good is good, what they say is bad is refused."""

import contextlib
import http.client
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import requests
import trustme
from waiting import until
from web_files import CA, HASH, OTHER_CA, PASSWORD, SECOND, SERVER, TLS, indented, lay, written

from spotd.web import loop
from spotd.web.config import gate
from spotd.web.config.file import WebConfigError, load
from spotd.web.config.gate import Bucket
from spotd.web.config.models import RateLimit
from spotd.web.protocol import TimedProtocol

TIMEOUT = 5
ALL_CURVES = "[CurveP256, CurveP384, CurveP521, X25519]"


INLINE = (
    "tls_server_config:\n  cert: |\n"
    + indented(SERVER.cert_chain_pems[0].bytes())
    + "  key: |\n"
    + indented(SERVER.private_key_pem.bytes())
)
GOOD = {
    "empty": "",
    "certificate and key": TLS,
    "inline certificate and key": INLINE,
    "every version": f"{TLS}  min_version: TLS10\n  max_version: TLS13\n",
    "all curves": f"{TLS}  curve_preferences: {ALL_CURVES}\n",
    "one curve": f"{TLS}  curve_preferences: [CurveP521]\n",
    "some ciphers": f"{TLS}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n",
    "some ciphers without order": (
        f"{TLS}  cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n"
        "  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n"
        "  prefer_server_cipher_suites: false\n"
    ),
    "no HTTP/2": (
        f"{TLS}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\nhttp_server_config: {{http2: false}}\n"
    ),
    "client CA": f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n",
    "client SANs": (
        f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
        "  client_allowed_sans: [prometheus.example.com]\n"
    ),
    "any client certificate": f"{TLS}  client_auth_type: RequireAnyClientCert\n",
    "any client certificate by its old name": f"{TLS}  client_auth_type: RequireClientCert\n",
    "request client certificate": f"{TLS}  client_auth_type: RequestClientCert\n",
    "users": f'basic_auth_users: {{alice: "{HASH}", bob: "{HASH.replace("$2b$", "$2y$")}"}}\n',
    "headers": (
        "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=1\n"
        "    X-Frame-Options: deny\n"
        "    X-Content-Type-Options: nosniff\n    X-XSS-Protection: '1'\n"
        '    Content-Security-Policy: ""\n'
    ),
    "rate limit": "rate_limit: {interval: 1s, burst: 1}\n",
    "no rate limit": "rate_limit: {interval: 0, burst: 0}\n",
}
BAD = {
    "junk": ("hello", "must hold keys"),
    "unknown key": ("tls_config: {cert_file: a}\n", "extra"),
    "certificate missing": (
        "tls_server_config: {key_file: server.key}\n",
        "missing one of cert or cert_file",
    ),
    "certificate empty": (
        'tls_server_config: {cert_file: "", key_file: server.key}\n',
        "missing one of cert or cert_file",
    ),
    "key missing": ("tls_server_config: {cert_file: server.crt}\n", "missing one of key or key_file"),
    "both empty": (
        'tls_server_config: {cert_file: "", key_file: "", client_auth_type: x}\n',
        "client_auth_type",
    ),
    "certificate path": (
        "tls_server_config: {cert_file: somefile, key_file: server.key}\n",
        "no such file",
    ),
    "key path": ("tls_server_config: {cert_file: server.crt, key_file: somefile}\n", "no such file"),
    "certificate and key swapped": (
        "tls_server_config: {cert_file: server.key, key_file: server.crt}\n",
        "cannot be used",
    ),
    "client CA without a policy": (f"{TLS}  client_ca_file: ca.crt\n", "without a Client Auth Policy"),
    "client CA path": (
        f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: somefile\n",
        "no such file",
    ),
    "client CA without certificates": (
        f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: empty.crt\n",
        "cannot be used",
    ),
    "client CA text without certificates": (
        f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca: no certificate\n",
        "cannot be used",
    ),
    "unknown policy": (f"{TLS}  client_auth_type: Sometimes\n", "client_auth_type"),
    "SANs without a policy": (f"{TLS}  client_allowed_sans: [a]\n", "client_allowed_sans requires"),
    "SANs with an optional certificate": (
        f"{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_allowed_sans: [a]\n",
        "client_allowed_sans requires",
    ),
    "SANs with any certificate": (
        f"{TLS}  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [a]\n",
        "client_allowed_sans requires",
    ),
    "any client certificate and X25519 alone": (
        f"{TLS}  client_auth_type: RequireAnyClientCert\n  curve_preferences: [X25519]\n",
        "does not go with RequireAnyClientCert",
    ),
    "invented cipher": (f"{TLS}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_257]\n", "unknown cipher"),
    "invented curve": (f"{TLS}  curve_preferences: [CurveP257]\n", "unknown curve"),
    "a selection of curves": (f"{TLS}  curve_preferences: [CurveP256, X25519]\n", "one curve or all four"),
    "wrong version": (f"{TLS}  min_version: TLS111\n", "min_version"),
    "no HTTP/2 cipher": (
        f"{TLS}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n",
        "missing an HTTP/2-required",
    ),
    "password in clear": ("basic_auth_users: {alice: opensesame}\n", "no bcrypt hash"),
    "unknown header": ("http_server_config: {headers: {Server: x}}\n", "can not be configured"),
    "content type option": (
        "http_server_config: {headers: {X-Content-Type-Options: sniff}}\n",
        "invalid value for",
    ),
    "frame option": ("http_server_config: {headers: {X-Frame-Options: allow}}\n", "invalid value for"),
    "header with a line break": (
        'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nSet-Cookie: x"}}\n',
        "invalid value for",
    ),
    "interval": ("rate_limit: {interval: soon, burst: 1}\n", "no duration"),
    "burst": ("rate_limit: {interval: 1s, burst: -1}\n", "burst"),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_what_is_good_is_taken(folder: Path, text: str) -> None:
    loaded = load(written(folder, text))

    assert (loaded.context is not None) == text.startswith("tls")


@pytest.mark.parametrize(("text", "why"), BAD.values(), ids=BAD)
def test_what_is_bad_is_refused_with_its_reason(folder: Path, text: str, why: str) -> None:
    with pytest.raises(WebConfigError) as refused:
        load(written(folder, text))

    assert why.lower() in str(refused.value).lower()
    assert "opensesame" not in str(refused.value)
    assert "PRIVATE KEY" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(WebConfigError, match="no such file"):
        load(folder / "nothing.yml")


def fetched(url: str, folder: Path, **keywords: Any) -> requests.Response:
    return requests.get(f"{url}/-/healthy", verify=str(folder / "ca.crt"), timeout=TIMEOUT, **keywords)


def test_tls_is_spoken_and_nothing_else(serve: Any, folder: Path) -> None:
    url = serve(TLS)

    assert fetched(url, folder).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(url.replace("https", "http"), timeout=TIMEOUT)


def certificate_of(url: str) -> bytes:
    host, port = url.removeprefix("https://").split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection,
        context.wrap_socket(connection) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""


def test_a_new_certificate_is_taken_up_without_a_restart(serve: Any, folder: Path) -> None:
    url = serve(TLS)
    before = certificate_of(url)
    lay(folder, SECOND)

    after = certificate_of(url)

    assert before != after
    assert fetched(url, folder).status_code == 200


def test_a_certificate_that_is_half_written_keeps_the_old_one(serve: Any, folder: Path) -> None:
    url = serve(TLS)
    before = certificate_of(url)
    (folder / "server.crt").write_text("-----BEGIN CERTI")

    assert certificate_of(url) == before


def test_users_may_be_changed_while_it_runs(serve: Any, folder: Path) -> None:
    url = serve(f'basic_auth_users: {{alice: "{HASH}"}}\n')
    before = requests.get(f"{url}/metrics", auth=("alice", PASSWORD), timeout=TIMEOUT).status_code
    written(folder, f'basic_auth_users: {{bob: "{HASH}"}}\n')

    after = requests.get(f"{url}/metrics", auth=("alice", PASSWORD), timeout=TIMEOUT).status_code

    assert (before, after) == (200, 401)
    assert requests.get(f"{url}/metrics", auth=("bob", PASSWORD), timeout=TIMEOUT).status_code == 200


def test_an_old_client_is_refused(serve: Any, folder: Path) -> None:
    url = serve(f"{TLS}  min_version: TLS13\n")
    host, port = url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection, pytest.raises(OSError):  # noqa: PT011
        context.wrap_socket(connection, server_hostname="localhost")


def client(folder: Path, ca: trustme.CA, *names: str) -> str:
    pair = ca.issue_cert(*names)
    path = folder / "client.pem"
    pair.private_key_and_cert_chain_pem.write_to_path(path)
    return str(path)


CLIENTS = f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"


@pytest.mark.parametrize(
    ("sans", "ca", "names", "is_let_in"),
    [
        ("", CA, ["anyone.example.com"], True),
        ("", OTHER_CA, ["anyone.example.com"], False),
        ("  client_allowed_sans: [prom.example.com]\n", CA, ["prom.example.com"], True),
        ("  client_allowed_sans: [prom.example.com]\n", CA, ["a.example.com", "prom.example.com"], True),
        ("  client_allowed_sans: [prom.example.com]\n", CA, ["evilprom.example.com"], False),
        ("  client_allowed_sans: [192.0.2.1]\n", CA, ["192.0.2.1"], True),
        ("  client_allowed_sans: ['2001:db8::1']\n", CA, ["2001:0db8:0::1"], True),
        ("  client_allowed_sans: [ops@example.com]\n", CA, ["ops@example.com"], True),
        ("  client_allowed_sans: []\n", CA, ["prom.example.com"], False),
    ],
)
def test_clients_are_let_in_by_their_certificate(  # noqa: PLR0917 - a row of the table
    serve: Any, folder: Path, sans: str, ca: trustme.CA, names: list[str], is_let_in: bool
) -> None:
    url = serve(CLIENTS + sans)
    certificate = client(folder, ca, *names)

    try:
        status: int | None = fetched(url, folder, cert=certificate).status_code
    except (requests.ConnectionError, OSError):
        status = None

    assert status == (200 if is_let_in else None)


def test_a_client_without_a_certificate_is_not_let_in(serve: Any, folder: Path) -> None:
    url = serve(CLIENTS)

    with pytest.raises(requests.ConnectionError):
        fetched(url, folder)


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        (None, 401),
        (("alice", "wrong"), 401),
        (("nobody", PASSWORD), 401),
        (("alice", PASSWORD), 200),
        (("alice", "x" * 200), 401),
        (("", ""), 401),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/", "/api/hosts", "/api/openapi.json", "/-/healthy"])
def test_everything_needs_the_password(serve: Any, path: str, auth: Any, code: int) -> None:
    url = serve(f'basic_auth_users: {{alice: "{HASH}"}}\n')

    answer = requests.get(f"{url}{path}", auth=auth, timeout=TIMEOUT)

    assert answer.status_code == code
    if code == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic YQ==", "Bearer x", "basic " + "A" * 4000])
def test_a_broken_authorization_is_a_401(serve: Any, header: str) -> None:
    url = serve(f'basic_auth_users: {{alice: "{HASH}"}}\n')

    assert requests.get(url, headers={"Authorization": header}, timeout=TIMEOUT).status_code == 401


def test_a_user_of_the_file_has_the_role_that_the_settings_give(serve: Any, face: Any) -> None:
    from spotd.settings.api import ApiSettings  # noqa: PLC0415

    url = serve(f'basic_auth_users: {{alice: "{HASH}"}}\n')
    face.api = ApiSettings.model_validate({"reads": "credential"})

    assert requests.get(f"{url}/api/hosts", auth=("alice", PASSWORD), timeout=TIMEOUT).status_code == 200


def test_a_client_that_does_not_shake_hands_is_let_go(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "HANDSHAKE_SECONDS", 0.3)
    url = serve(TLS)
    host, port = url.partition("://")[2].split(":")
    started = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        assert connection.recv(1) == b""

    assert time.monotonic() - started < 3


def test_guesses_push_out_no_password_that_is_right(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its user, such as Prometheus, would wait behind the guesses for a check of its own."""
    monkeypatch.setattr(gate, "OUTCOMES_KEPT", 2)
    url = serve(f'basic_auth_users: {{alice: "{HASH}"}}\n')
    assert requests.get(url, auth=("alice", PASSWORD), timeout=TIMEOUT).status_code == 200
    for number in range(4):
        requests.get(url, auth=("alice", f"guess {number}"), timeout=TIMEOUT)
    checked: list[bytes] = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, _: bool(checked.append(password)))

    assert requests.get(url, auth=("alice", PASSWORD), timeout=TIMEOUT).status_code == 200
    assert requests.get(url, auth=("alice", "guess 0"), timeout=TIMEOUT).status_code == 401
    assert checked == [b"guess 0"]


def test_a_wrong_password_for_a_write_is_in_the_audit(serve: Any, face: Any) -> None:
    url = serve(f'basic_auth_users: {{alice: "{HASH}"}}\n')

    requests.post(f"{url}/api/clear-cache", auth=("alice", "wrong"), timeout=TIMEOUT)

    until(lambda: face.audits, seconds=TIMEOUT)
    entry = face.audits[0]
    assert (entry.who, entry.what, entry.outcome) == ("stranger", "POST /api/clear-cache", "unauthorized")


def test_headers_of_the_file_take_the_place_of_spotds_own(serve: Any) -> None:
    url = serve(
        "http_server_config: {headers: {X-Frame-Options: sameorigin, Strict-Transport-Security: max-age=9}}\n"
    )

    headers = requests.get(f"{url}/", timeout=TIMEOUT).headers

    assert headers["X-Frame-Options"] == "sameorigin"
    assert headers["Strict-Transport-Security"] == "max-age=9"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_rate_limit_is_one_bucket_for_all(serve: Any) -> None:
    url = serve("rate_limit: {interval: 1h, burst: 2}\n")

    codes = [requests.get(f"{url}/-/healthy", timeout=TIMEOUT).status_code for _ in range(3)]

    assert codes == [200, 200, 429]


def test_a_bucket_fills_again() -> None:
    times = iter([0.0, 0.0, 0.04, 0.06, 0.06])
    bucket = Bucket(RateLimit.model_validate({"interval": "50ms", "burst": 1}), lambda: next(times))

    assert [bucket.take() for _ in range(4)] == [True, False, True, False]


def test_a_client_that_never_sends_its_head_is_let_go(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spotd.web.protocol.HEAD_SECONDS", 0.2)
    assert TimedProtocol.__module__ == "spotd.web.protocol"
    url = serve("")
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        started = time.monotonic()
        try:
            rest = connection.recv(100)
        except ConnectionResetError:
            rest = b""

    assert rest == b""
    assert time.monotonic() - started < 3


def test_a_connection_that_is_kept_is_not_cut_by_the_heads_time(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spotd.web.protocol.HEAD_SECONDS", 0.2)
    host, port = serve("").removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.connect()
        connection.auto_open = 0  # a connection that was cut is an error, not a new one
        for _ in range(3):
            connection.request("GET", "/-/healthy")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == requests.codes.ok
            time.sleep(0.3)
