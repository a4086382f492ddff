"""What carries a credential follows no redirect, whoever redirects it and with whatever status."""

import base64
import copy
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from clouds_under_test import Watched, watching
from hypothesis import given
from hypothesis import strategies as st

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.host_calls import HostCalls
from spotd.clouds.transport import bounded_session, calling, origin_of, unobserved
from spotd.sim import EmbeddedCloud, Fault, FaultKind, fault_on
from spotd.sim.wire import Answer, Call

STATUSES = [301, 302, 303, 304, 305, 306, 307, 308]
PASSWORD = "pw-in-the-location"
POOL = "a-pool-without-hosts"
Ask = Callable[[Watched], Any]
ASKS: dict[str, tuple[Fault, Ask, str]] = {
    "versions of keystone": (
        Fault(kind=FaultKind.STATUS, service="keystone", method="GET"),
        lambda watched: watched.region.session.endpoint("placement"),
        "auth_url",
    ),
    "a token": (
        fault_on("log_in", FaultKind.STATUS),
        lambda watched: watched.region.session.endpoint("placement"),
        "auth_url",
    ),
    "nova": (
        fault_on("list_services", FaultKind.STATUS),
        lambda watched: watched.region.servers._nova.compute_services(),
        "the compute endpoint in the catalog",
    ),
    "placement": (
        fault_on("list_providers", FaultKind.STATUS),
        lambda watched: watched.region.gpus._placement.providers(),
        "the placement endpoint in the catalog",
    ),
    "netbox": (
        Fault(kind=FaultKind.STATUS, service="netbox"),
        lambda watched: watched.region.netbox.version(),
        "netbox.url",
    ),
}


class Stranger:
    """Takes whatever it is sent and remembers it."""

    def __init__(self) -> None:
        seen: list[str] = []
        self.seen = seen

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                seen.append(f"{self.command} {self.path} {self.headers} {self.rfile.read(length)!r}")
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    found = Stranger()
    yield found
    found.close()


def to(stranger: Stranger, fault: Fault, status: int) -> Fault:
    """The fault as a redirect, whose address carries a credential too."""
    there = {"Location": f"http://someone:{PASSWORD}@{stranger.host}/there?token={PASSWORD}"}
    facts = {name: getattr(fault, name) for name in ("service", "method", "path", "sent")}
    return Fault(kind=FaultKind.STATUS, status=status, headers=there, body="", **facts)


def refused(ask: Callable[[], Any]) -> CloudError:
    with pytest.raises(CloudError) as caught:
        ask()
    return caught.value


@pytest.mark.parametrize("name", list(ASKS))
@pytest.mark.parametrize("status", STATUSES)
def test_nothing_is_sent_to_where_a_redirect_points(
    cloud: EmbeddedCloud, stranger: Stranger, name: str, status: int
) -> None:
    """The log says which address has to be corrected, and nothing that the new one carries."""
    fault, ask, place = ASKS[name]
    cloud.faults.add(to(stranger, fault, status))
    with watching(cloud) as watched:
        error = refused(lambda: ask(watched))

    assert stranger.seen == []
    assert error.reason is Failure.CONFIGURATION
    assert f"http://{stranger.host}" in str(error)
    assert str(error).partition("correct ")[2].startswith(place)
    assert PASSWORD not in str(error)


def test_many_choices_are_no_answer_of_an_api(cloud: EmbeddedCloud, watched: Watched) -> None:
    """A 300 lists versions, to who asks for them without a token."""
    cloud.faults.add(fault_on("list_services", FaultKind.STATUS, status=300, body='{"choices": []}'))

    error = refused(watched.region.servers._nova.compute_services)

    assert (error.reason, error.status) == (Failure.CONFIGURATION, 300)
    assert "the compute endpoint in the catalog" in str(error)


def test_keystone_is_found_by_its_many_choices(cloud: EmbeddedCloud) -> None:
    """Its root answers 300 with the list of its versions, which is how an address without one is read."""
    content = copy.deepcopy(cloud.clouds_yaml())
    content["clouds"]["embedded"]["auth"]["auth_url"] = cloud.auth_url.removesuffix("/v3")
    with watching(cloud, clouds_yaml=content) as watched:
        assert watched.region.servers._nova.compute_services().services

    assert 300 in {one.status for one in cloud.requests.snapshot()}


@pytest.mark.parametrize(
    "headers", [{}, {"Location": ""}, {"Location": "http://[::1"}, {"Location": "\x1b[2J"}]
)
def test_a_redirect_to_nowhere_is_one_too(
    cloud: EmbeddedCloud, watched: Watched, headers: dict[str, str]
) -> None:
    """And what steers a terminal is not passed on."""
    cloud.faults.add(fault_on("list_services", FaultKind.STATUS, status=302, headers=headers))

    error = refused(watched.region.servers._nova.compute_services)

    assert error.reason is Failure.CONFIGURATION
    assert str(error).isprintable()


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_write_that_is_redirected_was_not_done(
    cloud: EmbeddedCloud, stranger: Stranger, watched: Watched, status: int
) -> None:
    cloud.world.create_aggregate(POOL)
    host = next(iter(cloud.world.computes.hosts))
    cloud.faults.add(to(stranger, fault_on("add_host", FaultKind.STATUS), status))
    calls = HostCalls(watched.region.session)

    error = refused(lambda: calls.add_host(cloud.world.aggregate(POOL).id, host))

    assert (error.reason, error.may_have_happened) == (Failure.CONFIGURATION, False)
    assert stranger.seen == []
    assert POOL not in cloud.operator.truth(host).aggregates


LOGINS: dict[str, dict[str, Any]] = {
    "v3password": {},
    "v3token": {"token": "a-token-of-mine"},
    "v3applicationcredential": {
        "application_credential_id": "an-id",
        "application_credential_secret": "a-secret-of-mine",
    },
    "v3multifactor": {"auth_methods": ["v3password", "v3totp"], "passcode": "123456"},
    "v3oidcpassword": {
        "identity_provider": "idp",
        "protocol": "openid",
        "client_id": "spotd",
        "client_secret": "a-client-secret",
        "access_token_endpoint": "",
    },
}


@pytest.mark.parametrize("login", list(LOGINS))
def test_no_way_to_log_in_follows_a_redirect(cloud: EmbeddedCloud, stranger: Stranger, login: str) -> None:
    content = copy.deepcopy(cloud.clouds_yaml())
    entry = content["clouds"]["embedded"]
    entry["auth_type"] = login
    entry["auth"] |= LOGINS[login]
    if login == "v3oidcpassword":
        entry["auth"]["access_token_endpoint"] = cloud.auth_url + "/login"
    if login == "v3oidcpassword":
        entry["auth"].pop("user_domain_name")
    if login in ("v3token", "v3applicationcredential"):
        for key in ("username", "password", "user_domain_name"):
            entry["auth"].pop(key)
    if login == "v3applicationcredential":
        for key in ("project_name", "project_domain_name"):
            entry["auth"].pop(key)
    cloud.faults.add(to(stranger, Fault(kind=FaultKind.STATUS, service="keystone", method="POST"), 307))
    with watching(cloud, clouds_yaml=content) as watched:
        error = refused(lambda: watched.region.session.endpoint("compute"))

    assert stranger.seen == []
    assert error.reason is Failure.CONFIGURATION
    assert "is redirected" in str(error)


def test_no_session_follows_a_redirect_even_if_it_is_told_to(
    cloud: EmbeddedCloud, stranger: Stranger
) -> None:
    """So that no later caller can forget it."""
    cloud.faults.add(to(stranger, Fault(kind=FaultKind.STATUS, service="nova"), 302))
    session = bounded_session(unobserved, connect_seconds=5)

    with calling("nova", "ask", 5):
        answer = session.get(cloud.nova_url, allow_redirects=True)

    assert answer.status_code == 302
    assert stranger.seen == []


def test_a_netrc_gives_nobody_a_password(
    cloud: EmbeddedCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HTTP library would send its password to any host, in the place of NetBox's token."""
    path = tmp_path / "netrc"
    path.write_text("default login someone password pw-of-the-netrc\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    seen: list[str] = []
    for name, server in cloud._servers.items():

        def look(call: Call, serve: Any = server.serve_call, name: str = name) -> Answer:
            seen.append(f"{name} {call.headers.get('authorization')}")
            return serve(call)  # type: ignore[no-any-return]

        server.serve_call = look
    with watching(cloud) as watched:
        watched.region.netbox.version()
        watched.region.servers._nova.compute_services()
        watched.region.gpus._placement.providers()

    assert set(seen) == {
        f"netbox Token {cloud.netbox_token}",
        "keystone None",
        "nova None",
        "placement None",
    }


def test_a_password_in_an_address_is_sent_to_that_address(cloud: EmbeddedCloud) -> None:
    """For a web server in front; as the HTTP library does."""
    seen: list[str | None] = []
    cloud._servers["nova"].serve_call = lambda call: (
        seen.append(call.headers.get("authorization")) or Answer(200, "{}")  # type: ignore[func-returns-value]
    )
    session = bounded_session(unobserved, connect_seconds=5)

    with calling("nova", "ask", 5):
        session.get(cloud.nova_url.replace("http://", "http://me:mine@"))

    assert seen == ["Basic " + base64.b64encode(b"me:mine").decode()]


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "//", "http://u:PASS@", "ftp://"]))
def test_of_an_address_only_its_origin_is_shown(text: str, start: str) -> None:
    shown = origin_of(f"{start}{text}", "http://here:1/")

    assert shown.isascii()
    assert shown.isprintable()
    assert "@" not in shown
    assert "PASS" not in shown


def test_an_origin_keeps_scheme_host_and_port() -> None:
    cases = {
        "http://a.example/x": "http://a.example",
        "https://u:p@[::1]:8774/v2": "https://[::1]:8774",
        "/v2": "http://here:1",
        "//b:2/c": "http://b:2",
        "javascript:x": "an address that cannot be shown",
    }

    assert {asked: origin_of(asked, "http://here:1/a") for asked in cases} == cases
