"""The exporter-toolkit's published examples, each by its file's name: what comes of it, and who gets in.

The names are those of the toolkit's `web/testdata`; the outcomes are those that its tests and documentation
tell. The configurations are written anew, so that they work with certificates that are made here.
"""

import contextlib
import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from web_files import CA, HASH, OTHER_CA, PASSWORD, SERVER, TLS, indented, lay, self_signed, written

from spotd.web.config.file import WebConfigError, load

TIMEOUT = 5
V10, V11 = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
CLIENTS = {
    "good": CA.issue_cert("one", "two", "three").private_key_and_cert_chain_pem.bytes(),
    "foreign": OTHER_CA.issue_cert("one").private_key_and_cert_chain_pem.bytes(),
    "self-signed": self_signed("one"),
}
IF_GIVEN = f"{TLS}  client_auth_type: VerifyClientCertIfGiven\n"
VERIFIED = f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n"
ANY = f"{TLS}  client_auth_type: RequireAnyClientCert\n"
ONLY_12 = f"{IF_GIVEN}  min_version: TLS12\n  max_version: TLS12\n"
CLIENT_CA = "  client_ca_file: ca.crt\n"
AES128 = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
AES256 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
ALL_SUITES = (
    *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
    *(f"TLS_RSA_WITH_{suite}" for suite in ("AES_128_CBC_SHA", "AES_256_CBC_SHA")),
    *(f"TLS_RSA_WITH_{suite}" for suite in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384")),
    *(
        f"TLS_ECDHE_{key}_WITH_{suite}"
        for key in ("RSA", "ECDSA")
        for suite in (
            *("AES_128_CBC_SHA", "AES_256_CBC_SHA", "AES_128_GCM_SHA256"),
            *("AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"),
        )
    ),
)
CERT_INLINE = "  cert: |\n" + indented(SERVER.cert_chain_pems[0].bytes())
KEY_INLINE = "  key: |\n" + indented(SERVER.private_key_pem.bytes())
USERS = f'basic_auth_users: {{carol: "{HASH}", dave: "{HASH.replace("$2b$", "$2y$")}"}}\n'
NO_CERT, NO_KEY = "missing one of cert or cert_file", "missing one of key or key_file"
NO_CA = "a certificate, key or CA cannot be used"

BAD = {
    "web_config_junk.yml": ("a line of text\n", "must hold keys"),
    "web_config_junk_key.yml": ("tls_server_configuration:\n  cert_file: server.crt\n", "extra"),
    "web_config_noAuth_certPath_empty.bad.yml": (
        'tls_server_config: {cert_file: "", key_file: server.key}\n',
        NO_CERT,
    ),
    "web_config_noAuth_cert_empty.bad.yml": (
        'tls_server_config: {cert: "", key_file: server.key}\n',
        NO_CERT,
    ),
    "web_config_noAuth_keyPath_empty.bad.yml": (
        'tls_server_config: {cert_file: server.crt, key_file: ""}\n',
        NO_KEY,
    ),
    "web_config_noAuth_key_empty.bad.yml": ('tls_server_config: {cert_file: server.crt, key: ""}\n', NO_KEY),
    "web_config_noAuth_certPath_keyPath_empty.bad.yml": (
        'tls_server_config: {cert_file: "", key_file: "", client_auth_type: VerifyClientCertIfGiven}\n',
        NO_CERT,
    ),
    "web_config_noAuth_certPath_invalid.bad.yml": (
        "tls_server_config: {cert_file: nothing, key_file: server.key}\n",
        "nothing cannot be read: no such file",
    ),
    "web_config_noAuth_keyPath_invalid.bad.yml": (
        "tls_server_config: {cert_file: server.crt, key_file: nothing}\n",
        "nothing cannot be read: no such file",
    ),
    "web_config_noAuth_certPath_keyPath_invalid.bad.yml": (
        "tls_server_config: {cert_file: nothing, key_file: nothing}\n",
        "no such file",
    ),
    "web_config_noAuth.bad.yml": (f"{TLS}  client_ca_file: /dev/null\n", "without a Client Auth Policy"),
    "web_config_auth_clientCAs_invalid.bad.yml": (f"{VERIFIED}  client_ca_file: nothing\n", "no such file"),
    "web_config_auth_clientCAs_nocerts.bad.yml": (
        f"{VERIFIED}  client_ca_file: empty.crt\n",
        "cannot be used",
    ),
    "web_config_auth_clientCAsText_nocerts.bad.yml": (f"{VERIFIED}  client_ca: none\n", NO_CA),
    "web_config_auth_user_list_invalid.bad.yml": (
        f"{TLS}basic_auth_users: {{eve: open}}\n",
        "no bcrypt hash",
    ),
    "web_config_noAuth_inventedCiphers.bad.yml": (
        f"{IF_GIVEN}  cipher_suites: [TLS_OF_MY_OWN]\n",
        "unknown cipher",
    ),
    "web_config_noAuth_inventedCurves.bad.yml": (
        f"{IF_GIVEN}  curve_preferences: [CurveP999]\n",
        "unknown curve",
    ),
    "web_config_noAuth_wrongTLSVersion.bad.yml": (f"{IF_GIVEN}  min_version: TLS14\n", "min_version"),
    "web_config_noAuth_noHTTP2Cipher.bad.yml": (
        f"{IF_GIVEN}  cipher_suites: [TLS_RSA_WITH_AES_256_CBC_SHA]\n  max_version: TLS12\n",
        "missing an HTTP/2-required",
    ),
    "web_config_headers_content_type_options.bad.yml": (
        "http_server_config: {headers: {X-Content-Type-Options: guess}}\n",
        "invalid value for",
    ),
    "web_config_headers_frame_options.bad.yml": (
        "http_server_config: {headers: {X-Frame-Options: sometimes}}\n",
        "invalid value for",
    ),
    "web_config_headers_extra_header.bad.yml": (
        "http_server_config: {headers: {X-Of-My-Own: 'yes'}}\n",
        "can not be configured",
    ),
    "web_config_auth_client_san_no_client_auth.bad.yaml": (
        f"{TLS}  client_allowed_sans: [one]\n",
        "client_allowed_sans requires",
    ),
    "web_config_auth_client_san_optional_cert.bad.yaml": (
        f"{IF_GIVEN}{CLIENT_CA}  client_allowed_sans: [one]\n",
        "client_allowed_sans requires",
    ),
}


@pytest.mark.parametrize(("text", "why"), BAD.values(), ids=BAD)
def test_a_bad_example_is_refused(folder: Path, text: str, why: str) -> None:
    with pytest.raises(WebConfigError) as refused:
        load(written(folder, text))

    assert why.lower() in str(refused.value).lower()


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(WebConfigError, match="no such file"):
        load(folder / "somefile")


@dataclass(frozen=True)
class Visit:
    """A client, as the toolkit's tests send it, and the status that it gets; None where TLS refuses it."""

    status: int | None
    certificate: str = ""
    version: ssl.TLSVersion | None = None
    suites: str = ""
    curve: str = ""
    chosen: str = ""
    user: tuple[str, str] | None = None


NOBODY_NEEDS_ONE = (Visit(200), Visit(200, "good"), Visit(200, "foreign"), Visit(200, "self-signed"))
TLS_SERVED: dict[str, tuple[str, tuple[Visit, ...]]] = {
    "web_config_noAuth.good.yml": (
        IF_GIVEN,
        (
            Visit(200),
            Visit(200, version=V12),
            Visit(None, version=ssl.TLSVersion.TLSv1_1),
            Visit(None, "foreign"),
        ),
    ),
    "web_config_noAuth_tlsInline.good.yml": (
        f"tls_server_config:\n{CERT_INLINE}{KEY_INLINE}  client_auth_type: VerifyClientCertIfGiven\n",
        (Visit(200),),
    ),
    "web_config_noAuth.good.blocking.yml": (
        VERIFIED,
        (Visit(None), Visit(None, "good"), Visit(None, "self-signed")),
    ),
    "web_config_noAuth_allCiphers.good.yml": (
        f"{IF_GIVEN}  cipher_suites: [{', '.join(ALL_SUITES)}]\n",
        (Visit(200), Visit(200, version=V12), Visit(200, version=V12, suites="ECDHE-RSA-AES256-SHA")),
    ),
    "web_config_noAuth_someCiphers.good.yml": (
        f"{ONLY_12}  cipher_suites: [{AES128}, {AES256}]\n",
        (
            Visit(200, suites="ECDHE-RSA-AES128-GCM-SHA256"),
            Visit(None, version=V12, suites="ECDHE-RSA-AES256-SHA"),
            Visit(
                200,
                suites="ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256",
                chosen="ECDHE-RSA-AES128-GCM-SHA256",
            ),
            Visit(None, version=V13),
        ),
    ),
    "web_config_noAuth_someCiphers_noOrder.good.yml": (
        f"{ONLY_12}  cipher_suites: [{AES256}, {AES128}]\n  prefer_server_cipher_suites: false\n",
        (
            Visit(
                200,
                suites="ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
                chosen="ECDHE-RSA-AES128-GCM-SHA256",
            ),
        ),
    ),
    "web_config_noAuth_allCurves.good.yml": (
        f"{IF_GIVEN}  min_version: TLS13\n  curve_preferences: [X25519, CurveP256, CurveP384, CurveP521]\n",
        (Visit(200), Visit(200, curve="secp384r1"), Visit(200, curve="X25519")),
    ),
    "web_config_noAuth_someCurves.good.yml": (
        f"{IF_GIVEN}  min_version: TLS13\n  curve_preferences: [CurveP521]\n",
        (Visit(200, curve="secp521r1"), Visit(None, curve="secp384r1")),
    ),
    "web_config_noAuth_noHTTP2.good.yml": (
        f"{ONLY_12}  cipher_suites: [{AES256}]\nhttp_server_config: {{http2: false}}\n",
        (Visit(200), Visit(None, version=V13)),
    ),
    "tls_config_noAuth.requireanyclientcert.good.yml": (
        ANY + CLIENT_CA,
        (
            *(Visit(200, name, version) for name in CLIENTS for version in (V12, V13)),
            *(Visit(None, version=version) for version in (V12, V13)),
        ),
    ),
    "tls_config_noAuth.requireanyclientcertkeyinline.good.yml": (
        ANY.replace("  key_file: server.key\n", KEY_INLINE),
        (Visit(200, "self-signed"), Visit(200, "foreign"), Visit(None)),
    ),
    "tls_config_noAuth.requireandverifyclientcert.good.yml": (
        VERIFIED + CLIENT_CA,
        (Visit(200, "good"), Visit(None, "foreign"), Visit(None, "self-signed"), Visit(None)),
    ),
    "web_config_auth_client_san.good.yaml": (
        f"{VERIFIED}{CLIENT_CA}  client_allowed_sans: [nine, three, one]\n",
        (Visit(200, "good"), Visit(None, "foreign"), Visit(None, "self-signed"), Visit(None)),
    ),
    "web_config_auth_client_san.bad.yaml": (
        f"{VERIFIED}{CLIENT_CA}  client_allowed_sans: [nine]\n",
        (Visit(None, "good"), Visit(None, "foreign"), Visit(None)),
    ),
    "web_config_users.good.yml": (
        TLS + USERS,
        (
            Visit(401),
            Visit(200, user=("dave", PASSWORD)),
            Visit(200, user=("carol", PASSWORD)),
            Visit(401, user=("dave", "wrong")),
            Visit(401, user=("nobody", PASSWORD)),
        ),
    ),
    # Documented without a file of its own.
    "client_auth_type RequestClientCert": (f"{TLS}  client_auth_type: RequestClientCert\n", NOBODY_NEEDS_ONE),
    "client_auth_type RequestClientCert, with a CA": (
        f"{TLS}  client_auth_type: RequestClientCert\n{CLIENT_CA}",
        NOBODY_NEEDS_ONE,
    ),
    "client_auth_type NoClientCert": (f"{TLS}  client_auth_type: NoClientCert\n", NOBODY_NEEDS_ONE),
    "client_auth_type VerifyClientCertIfGiven, with a CA": (
        IF_GIVEN + CLIENT_CA,
        (Visit(200), Visit(200, "good"), Visit(None, "foreign"), Visit(None, "self-signed")),
    ),
    "client_auth_type RequireClientCert, an older name": (
        f"{TLS}  client_auth_type: RequireClientCert\n",
        (Visit(200, "self-signed"), Visit(None)),
    ),
    "min_version TLS13": (f"{TLS}  min_version: TLS13\n", (Visit(200), Visit(None, version=V12))),
    "min_version TLS11": (
        f"{TLS}  min_version: TLS11\n",
        (Visit(200), Visit(200, version=V12), Visit(200, version=V11), Visit(None, version=V10)),
    ),
    "min_version TLS10": (f"{TLS}  min_version: TLS10\n", (Visit(200), Visit(200, version=V10))),
    "min_version TLS10, with a suite": (
        f"{TLS}  min_version: TLS10\n  cipher_suites: [{AES128}, TLS_RSA_WITH_AES_128_CBC_SHA]\n",
        (Visit(200), Visit(200, version=V10, suites="AES128-SHA:@SECLEVEL=0", chosen="AES128-SHA")),
    ),
    "min_version TLS10, with any certificate": (
        f"{ANY}  min_version: TLS10\n",
        (Visit(200, "good"), Visit(200, "good", version=V10), Visit(None, version=V10)),
    ),
    "max_version TLS12": (f"{TLS}  max_version: TLS12\n", (Visit(200), Visit(None, version=V13))),
}


def client_context(folder: Path, visit: Visit) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    if visit.suites:
        context.set_ciphers(visit.suites)
    if visit.version is not None:
        if visit.version < V12 and not visit.suites:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = visit.version
    if visit.curve:
        context.set_ecdh_curve(visit.curve)
    if visit.certificate:
        (folder / "client.pem").write_bytes(CLIENTS[visit.certificate])
        context.load_cert_chain(folder / "client.pem")
    return context


def outcome(url: str, folder: Path, visit: Visit) -> tuple[int | None, str]:
    """The status, or None where TLS came to nothing, and the cipher suite."""
    host, port = url.removeprefix("https://").split(":")
    context = client_context(folder, visit)
    headers = {} if visit.user is None else {"Authorization": requests.auth._basic_auth_str(*visit.user)}
    connection = http.client.HTTPSConnection(host, int(port), timeout=TIMEOUT, context=context)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/-/healthy", headers=headers)
            suite = connection.sock.cipher()[0]
            return connection.getresponse().status, suite
        except (ssl.SSLError, ConnectionError):
            return None, ""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize(("text", "visits"), TLS_SERVED.values(), ids=TLS_SERVED)
def test_clients_of_an_example_with_tls_get_what_it_documents(
    serve: Any, folder: Path, text: str, visits: tuple[Visit, ...]
) -> None:
    url = serve(text)

    found = [outcome(url, folder, visit) for visit in visits]

    assert [status for status, _ in found] == [visit.status for visit in visits]
    assert all(suite == visit.chosen for (_, suite), visit in zip(found, visits, strict=True) if visit.chosen)


@pytest.mark.parametrize("text", [TLS, ANY], ids=["certificate not asked for", "any certificate"])
def test_a_client_without_tls_is_not_answered(serve: Any, text: str) -> None:
    url = serve(text)

    with pytest.raises(requests.ConnectionError):
        requests.get(url.replace("https", "http"), timeout=TIMEOUT)


@pytest.mark.parametrize(
    "text", ["", "rate_limit: {interval: 0, burst: 0}\n"], ids=["empty", "rate limit off"]
)
def test_without_tls_a_client_of_tls_is_not_answered(serve: Any, folder: Path, text: str) -> None:
    """web_config_empty.yml, and no file at all."""
    url = serve(text)

    assert requests.get(f"{url}/-/healthy", timeout=TIMEOUT).status_code == 200
    assert outcome(url.replace("http", "https"), folder, Visit(200)) == (None, "")


@pytest.mark.parametrize("http2", ["true", "false"])
@pytest.mark.parametrize("policy", ["NoClientCert", "RequireAnyClientCert"])
def test_with_http2_or_without_it_http_1_1_is_agreed_on(
    serve: Any, folder: Path, http2: str, policy: str
) -> None:
    url = serve(f"{TLS}  client_auth_type: {policy}\nhttp_server_config: {{http2: {http2}}}\n")
    host, port = url.removeprefix("https://").split(":")
    context = client_context(folder, Visit(200, "good"))
    context.set_alpn_protocols(["h2", "http/1.1"])

    connection = http.client.HTTPSConnection(host, int(port), timeout=TIMEOUT, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/-/healthy")
        agreed = connection.sock.selected_alpn_protocol()

        assert (agreed, connection.getresponse().status) == ("http/1.1", 200)


def test_a_blocking_policy_is_lifted_without_a_restart(serve: Any, folder: Path) -> None:
    """web_config_noAuth.good.blocking.yml, into whose place web_config_noAuth.good.yml comes."""
    url = serve(VERIFIED)
    before = outcome(url, folder, Visit(200))[0]
    written(folder, IF_GIVEN)

    assert (before, outcome(url, folder, Visit(200))[0]) == (None, 200)


def test_users_need_no_tls(serve: Any) -> None:
    """web_config_users_noTLS.good.yml."""
    url = serve(USERS)

    assert requests.get(url, timeout=TIMEOUT).status_code == 401
    assert requests.get(url, auth=("dave", PASSWORD), timeout=TIMEOUT).status_code == 200


def test_the_headers_of_the_example_are_sent(serve: Any) -> None:
    """web_config_headers.good.yml, where one value is a number."""
    wanted = {
        "X-Frame-Options": "deny",
        "X-Content-Type-Options": "nosniff",
        "X-XSS-Protection": "1",
        "Strict-Transport-Security": "max-age=600; includeSubDomains",
        "Content-Security-Policy": "default-src 'self' *.example.org",
    }
    lines = "".join(f"    {name}: {value}\n" for name, value in wanted.items())
    url = serve(f"http_server_config:\n  headers:\n{lines}")

    headers = requests.get(f"{url}/-/healthy", timeout=TIMEOUT).headers

    assert {name: headers[name] for name in wanted} == wanted


def test_no_rate_limit_blocks_nobody(serve: Any) -> None:
    """web_config_rate_limiter_nonblocking.yaml."""
    url = serve("rate_limit: {interval: 0, burst: 0}\n")

    codes = {requests.get(f"{url}/-/healthy", timeout=TIMEOUT).status_code for _ in range(11)}

    assert codes == {200}


def test_more_than_one_request_in_a_second_is_too_many(serve: Any) -> None:
    """web_config_rate_limiter_one_second.yaml."""
    url = serve("rate_limit: {interval: 1s, burst: 1}\n")

    codes = [requests.get(f"{url}/-/healthy", timeout=TIMEOUT).status_code for _ in range(11)]

    assert codes[0] == 200
    assert 429 in codes


def test_an_answer_of_the_rate_limit_has_the_headers(serve: Any) -> None:
    """web_config_rate_limiter_headers.yaml."""
    url = serve(
        "rate_limit: {interval: 1h, burst: 1}\n"
        "http_server_config: {headers: {X-Frame-Options: deny, Strict-Transport-Security: max-age=600}}\n"
    )
    served, limited = (requests.get(f"{url}/-/healthy", timeout=TIMEOUT) for _ in range(2))

    assert (served.status_code, limited.status_code) == (200, 429)
    for name, value in {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=600"}.items():
        assert served.headers[name] == limited.headers[name] == value


def test_the_rate_limit_follows_the_file(serve: Any, folder: Path) -> None:
    limited, free = "rate_limit: {interval: 1h, burst: 1}\n", "http_server_config: {http2: true}\n"
    url = serve(limited)
    codes = []
    for text in (limited, free, limited):
        written(folder, text)
        codes += [requests.get(f"{url}/-/healthy", timeout=TIMEOUT).status_code for _ in range(2)]

    assert codes == [200, 429, 200, 200, 200, 429]


def test_the_sample_of_the_documentation_is_served(serve: Any, folder: Path) -> None:
    """docs/web-config.yml: certificate, key and two users."""
    lay(folder, SERVER)
    url = serve(f"{TLS}basic_auth_users:\n  alice: {HASH.replace('$2b$', '$2y$')}\n  bob: {HASH}\n")

    assert outcome(url, folder, Visit(200, user=("alice", PASSWORD)))[0] == 200
    assert outcome(url, folder, Visit(200))[0] == 401
