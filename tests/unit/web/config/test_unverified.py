"""Any certificate of a client will do, and none will not: the TLS below, and a server that speaks it."""

import contextlib
import http.client
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from waiting import until
from web_files import CA, HASH, OTHER_CA, PASSWORD, SECOND, SERVER, TLS, lay, self_signed, written

from spotd.settings.api import ApiSettings
from spotd.web import loop
from spotd.web.config.file import load
from spotd.web.config.tls import Wrapping

TIMEOUT = 5
ANY = f"{TLS}  client_auth_type: RequireAnyClientCert\n"
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


class Wire:
    """A server's TLS and a client's, with memory between them."""

    def __init__(self, server: Wrapping, client: ssl.SSLContext, session: Any = None) -> None:
        self.to_server, self.to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(self.to_server, self.to_client, server_side=True)
        self.client = client.wrap_bio(
            self.to_client, self.to_server, server_hostname="localhost", session=session
        )

    def shake_hands(self) -> None:
        """Goes on until both sides are ready, or one of them refuses."""
        waiting: list[Callable[[], object]] = [self.client.do_handshake, self.server.do_handshake]
        for _ in range(20):
            waiting = [step for step in waiting if is_waiting(step)]
            if not waiting:
                return
        raise AssertionError("the handshake does not end")


def is_waiting(step: Callable[[], object]) -> bool:
    try:
        step()
    except ssl.SSLWantReadError:
        return True
    return False


def server_context(folder: Path, text: str = ANY) -> Wrapping:
    context = load(written(folder, text)).context
    assert context is not None
    return context


def client_context(folder: Path, certificate: bytes | None, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.minimum_version = context.maximum_version = version
    if certificate is not None:
        (folder / "client.pem").write_bytes(certificate)
        context.load_cert_chain(folder / "client.pem")
    return context


def issued(ca: trustme.CA, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> bytes:
    pem: bytes = ca.issue_cert("prom.example.com", key_type=key_type).private_key_and_cert_chain_pem.bytes()
    return pem


CERTIFICATES = {
    "of a known CA": issued(CA),
    "of another CA": issued(OTHER_CA),
    "self-signed": self_signed("prom.example.com"),
    "over": self_signed("prom.example.com", lifetime=timedelta(days=-1)),
}


@pytest.fixture
def wire(folder: Path) -> Wire:
    context = client_context(folder, CERTIFICATES["self-signed"], ssl.TLSVersion.TLSv1_3)
    made = Wire(server_context(folder), context)
    made.shake_hands()
    return made


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
@pytest.mark.parametrize("certificate", CERTIFICATES.values(), ids=CERTIFICATES)
def test_any_certificate_lets_a_client_in(folder: Path, certificate: bytes, version: ssl.TLSVersion) -> None:
    wire = Wire(server_context(folder), client_context(folder, certificate, version))

    wire.shake_hands()
    wire.client.write(b"question")
    question = wire.server.read(100)
    wire.server.write(b"answer")

    assert (question, wire.client.read(100)) == (b"question", b"answer")
    assert wire.server.version() == wire.client.version()
    assert wire.server.cipher() == wire.client.cipher()


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_a_client_without_a_certificate_is_refused(folder: Path, version: ssl.TLSVersion) -> None:
    wire = Wire(server_context(folder), client_context(folder, None, version))

    with pytest.raises(ssl.SSLError, match="peer did not return a certificate"):
        wire.shake_hands()
    if version == ssl.TLSVersion.TLSv1_2:
        with pytest.raises(ssl.SSLError, match="ALERT"):
            wire.client.do_handshake()
    else:
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            wire.client.read(1)


def test_nobody_is_named_by_a_certificate_that_nobody_verified(wire: Wire) -> None:
    assert wire.server.getpeercert() == {}
    assert wire.server.getpeercert(binary_form=True) is None


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_a_session_is_resumed(folder: Path, version: ssl.TLSVersion) -> None:
    client = client_context(folder, CERTIFICATES["self-signed"], version)
    server = server_context(folder)
    first = Wire(server, client)
    first.shake_hands()
    first.server.write(b"x")
    first.client.read(1)  # TLS 1.3 hands out sessions after the handshake

    second = Wire(server, client, first.client.session)
    second.shake_hands()
    second.client.write(b"question")

    assert second.client.session_reused
    assert second.server.read(10) == b"question"


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"], ["h2"], []])
def test_http_1_1_is_agreed_on_where_it_is_offered(folder: Path, offered: list[str]) -> None:
    context = client_context(folder, CERTIFICATES["self-signed"], ssl.TLSVersion.TLSv1_3)
    if offered:
        context.set_alpn_protocols(offered)
    wire = Wire(server_context(folder), context)

    wire.shake_hands()

    expected = "http/1.1" if "http/1.1" in offered else None
    assert (wire.server.selected_alpn_protocol(), wire.client.selected_alpn_protocol()) == (
        expected,
        expected,
    )


@pytest.mark.parametrize(
    ("extra", "version", "is_let_in"),
    [
        ("  min_version: TLS13\n", ssl.TLSVersion.TLSv1_2, False),
        ("  min_version: TLS13\n", ssl.TLSVersion.TLSv1_3, True),
        ("  max_version: TLS12\n", ssl.TLSVersion.TLSv1_2, True),
        ("  max_version: TLS12\n", ssl.TLSVersion.TLSv1_3, False),
        ("  cipher_suites: [TLS_AES_128_GCM_SHA256]\nhttp_server_config: {http2: false}\n", 0x303, False),
        ("  cipher_suites: [TLS_AES_128_GCM_SHA256]\nhttp_server_config: {http2: false}\n", 0x304, True),
    ],
)
def test_versions_are_those_of_the_file(folder: Path, extra: str, version: int, is_let_in: bool) -> None:
    context = client_context(folder, CERTIFICATES["self-signed"], ssl.TLSVersion(version))
    wire = Wire(server_context(folder, ANY + extra), context)

    if is_let_in:
        wire.shake_hands()
    else:
        with pytest.raises(ssl.SSLError):
            wire.shake_hands()


@pytest.mark.parametrize(
    ("is_servers_choice", "chosen"),
    [("true", "ECDHE-RSA-AES256-GCM-SHA384"), ("false", "ECDHE-RSA-AES128-GCM-SHA256")],
)
def test_cipher_suites_are_those_of_the_file(folder: Path, is_servers_choice: str, chosen: str) -> None:
    context = client_context(folder, CERTIFICATES["self-signed"], ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384")
    suites = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    text = f"{ANY}  cipher_suites: [{suites}]\n  prefer_server_cipher_suites: {is_servers_choice}\n"
    wire = Wire(server_context(folder, text), context)

    wire.shake_hands()

    assert (wire.server.cipher() or ("",))[0] == chosen


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "secp521r1"])
def test_the_one_curve_of_the_file_is_used(folder: Path, curve: str, version: ssl.TLSVersion) -> None:
    # By an RSA certificate: in TLS 1.2 OpenSSL wants the client's certificate to be of the curve, too.
    context = client_context(folder, issued(CA, trustme.KeyType.RSA), version)
    context.set_ecdh_curve(curve)
    wire = Wire(server_context(folder, f"{ANY}  curve_preferences: [CurveP521]\n"), context)

    if curve == "secp521r1":
        wire.shake_hands()
    else:
        with pytest.raises(ssl.SSLError):
            wire.shake_hands()


def test_what_is_not_tls_is_an_error(folder: Path) -> None:
    wire = Wire(server_context(folder), client_context(folder, None, ssl.TLSVersion.TLSv1_3))
    wire.to_server.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    with pytest.raises(ssl.SSLError, match="http request"):
        wire.server.do_handshake()


def test_an_end_within_the_handshake_is_an_error(folder: Path) -> None:
    wire = Wire(server_context(folder), client_context(folder, None, ssl.TLSVersion.TLSv1_3))
    assert is_waiting(wire.client.do_handshake)
    wire.to_server.write_eof()

    with pytest.raises(ssl.SSLEOFError):
        wire.shake_hands()


def test_a_large_answer_is_taken_at_once_and_arrives_whole(wire: Wire) -> None:
    answer = bytes(range(256)) * 4096

    taken = wire.server.write(memoryview(answer))
    arrived = bytearray()
    while wire.to_client.pending or wire.client.pending():
        arrived += wire.client.read(65536)

    assert (taken, bytes(arrived)) == (len(answer), answer)
    assert wire.server.write(b"") == 0


def test_a_large_question_waits_outside_until_it_is_read(wire: Wire) -> None:
    """asyncio counts what waits there, and slows the client down."""
    wire.client.write(b"x" * 500_000)
    waiting = wire.to_server.pending

    buffer = bytearray(1000)
    count = wire.server.read(1000, buffer)

    assert (count, bytes(buffer)) == (1000, b"x" * 1000)
    assert wire.server.pending() > 0
    assert wire.to_server.pending > waiting - 40_000
    rest = 0
    with contextlib.suppress(ssl.SSLWantReadError):
        while True:
            rest += len(wire.server.read(262144))
    assert rest == 499_000


def test_a_client_that_closes_is_read_as_an_end_and_answered(wire: Wire) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        wire.client.unwrap()

    assert wire.server.read(10) == b""
    assert wire.server.read(10, bytearray(10)) == 0
    wire.server.unwrap()
    wire.client.unwrap()
    with pytest.raises(ssl.SSLZeroReturnError):
        wire.server.read(10)


def test_a_server_that_closes_waits_for_the_client(wire: Wire) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        wire.server.unwrap()
    wire.client.unwrap()

    wire.server.unwrap()


def test_a_broken_record_is_an_error_and_hurts_no_other(folder: Path, wire: Wire) -> None:
    other = Wire(server_context(folder), client_context(folder, CERTIFICATES["over"], ssl.TLSVersion.TLSv1_2))
    other.shake_hands()
    wire.to_server.write(b"\x17\x03\x03\x00\x20" + b"\0" * 32)

    with pytest.raises(ssl.SSLError, match=r"bad record mac|decryption failed"):
        wire.server.read(10)
    with pytest.raises(ssl.SSLWantReadError):
        other.server.read(10)


def test_a_client_cannot_be_made_of_it(folder: Path) -> None:
    with pytest.raises(ValueError, match="only a server"):
        server_context(folder).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")


@pytest.fixture
def certificate(folder: Path) -> str:
    path = folder / "client.pem"
    path.write_bytes(CERTIFICATES["self-signed"])
    return str(path)


def got(url: str, folder: Path, path: str = "/-/healthy", **keywords: Any) -> requests.Response:
    return requests.get(f"{url}{path}", verify=str(folder / "ca.crt"), timeout=TIMEOUT, **keywords)


def test_a_certificate_gives_no_role(serve: Any, face: Any, folder: Path, certificate: str) -> None:
    url = serve(ANY)
    face.api = ApiSettings.model_validate({"reads": "credential"})

    assert got(url, folder, cert=certificate).status_code == 200
    assert got(url, folder, "/api/hosts", cert=certificate).status_code == 401
    refused = requests.post(
        f"{url}/api/freeze", cert=certificate, verify=str(folder / "ca.crt"), timeout=TIMEOUT
    )
    assert refused.status_code == 401


def test_a_certificate_takes_no_password_s_place(serve: Any, folder: Path, certificate: str) -> None:
    url = serve(f'{ANY}basic_auth_users: {{alice: "{HASH}"}}\n')

    assert got(url, folder, cert=certificate).status_code == 401
    assert got(url, folder, cert=certificate, auth=("alice", PASSWORD)).status_code == 200


def test_a_new_server_certificate_and_another_policy_hold_from_the_next_connection(
    serve: Any, folder: Path, certificate: str
) -> None:
    url = serve(ANY)
    before = server_certificate(url, folder, certificate)
    lay(folder, SECOND)
    after = server_certificate(url, folder, certificate)

    assert (before, after) == (der(SERVER), der(SECOND))
    written(folder, TLS)
    assert got(url, folder).status_code == 200
    written(folder, ANY)
    with pytest.raises(requests.ConnectionError):
        got(url, folder)
    (folder / "server.crt").write_text("-----BEGIN CERTI")
    assert server_certificate(url, folder, certificate) == der(SECOND)


def der(pair: Any) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.cert_chain_pems[0].bytes().decode())


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("https://").split(":")
    return socket.create_connection((host, int(port)), timeout=TIMEOUT)


def server_certificate(url: str, folder: Path, certificate: str) -> bytes:
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(certificate)
    with connected(url) as connection, context.wrap_socket(connection, server_hostname="localhost") as tls:
        return tls.getpeercert(binary_form=True) or b""


def test_a_client_that_stops_within_the_handshake_is_let_go(
    serve: Any, folder: Path, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "HANDSHAKE_SECONDS", 0.3)
    url = serve(ANY)
    hello = ssl.MemoryBIO()
    context = client_context(folder, None, ssl.TLSVersion.TLSv1_3)
    assert is_waiting(context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake)
    started = time.monotonic()
    with connected(url) as connection:
        connection.sendall(hello.read())
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass

    assert time.monotonic() - started < 3
    assert got(url, folder, cert=certificate).status_code == 200


def test_a_connection_is_kept_and_a_large_answer_arrives_whole(
    serve: Any, face: Any, folder: Path, certificate: str
) -> None:
    from prometheus_client import Gauge  # noqa: PLC0415

    gauge = Gauge("large", "large", ["number"], registry=face.metrics.registry)
    for number in range(12_000):
        gauge.labels(f"{number:060}").set(number)
    host, port = serve(ANY).removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(certificate)
    connection = http.client.HTTPSConnection(host, int(port), timeout=TIMEOUT, context=context)
    with contextlib.closing(connection):
        connection.connect()
        connection.auto_open = 0  # a connection that was cut is an error, not a new one
        sizes = set()
        for _ in range(3):
            connection.request("GET", "/metrics")
            sizes.add(len(connection.getresponse().read()))

    assert min(sizes) > 1_000_000


def test_a_broken_client_stops_nobody(serve: Any, folder: Path, certificate: str) -> None:
    url = serve(ANY)
    for garbage in (b"\0" * 100, b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\0\0\x01\0"):
        with connected(url) as connection, contextlib.suppress(ConnectionResetError):
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            until(lambda gone=connection: not gone.recv(65536), seconds=TIMEOUT)

        assert got(url, folder, cert=certificate).status_code == 200


HARDENED = """
import ctypes, sys
from pathlib import Path
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE
    sys.exit(77)
from spotd.web.config.file import WebConfigError, load
try:
    load(Path(sys.argv[1]))
except WebConfigError as error:
    print(error)
"""


def test_where_no_memory_may_be_written_and_executed_it_is_refused_with_the_way_out(folder: Path) -> None:
    """systemd's MemoryDenyWriteExecute, which the packaged unit sets; other policies work there."""
    path = written(folder, ANY)
    command = [sys.executable, "-c", HARDENED, str(path)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if refused.returncode == 77:
        pytest.skip("this kernel does not know PR_SET_MDWE (Linux 6.3)")

    assert "set MemoryDenyWriteExecute=no" in refused.stdout
    written(folder, TLS)
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout == b""
