"""Every write is written down, also one that was refused, and nobody can fill the journal with those."""

import asyncio
import base64
from typing import Any

import pytest
import requests
from asgi_client import asked
from waiting import until

from spotd.settings.api import ApiSettings
from spotd.store.errors import StoreError
from spotd.web.api import attempts as attempts_module
from spotd.web.api.attempts import CLIENTS, Attempt, Attempts
from spotd.web.api.auth import hash_of, new_token

TIMEOUT = 5
FAR = ("192.0.2.7", 1)
NEAR = ("127.0.0.1", 1)
TOKENS = {role: new_token() for role in ("viewer", "operator", "admin")}


@pytest.fixture(autouse=True)
def tokens(face: Any) -> None:
    known = [{"name": f"{role}-1", "role": role, "hash": hash_of(token)} for role, token in TOKENS.items()]
    face.api = ApiSettings.model_validate({"tokens": known})


def bearer(token: str) -> tuple[bytes, bytes]:
    return (b"authorization", f"Bearer {token}".encode())


def told(face: Any) -> list[tuple[str, str, str, str]]:
    return [(entry.who, entry.from_where, entry.what, entry.outcome) for entry in face.audits]


@pytest.mark.parametrize(
    ("client", "headers", "entry"),
    [
        (FAR, [], ("stranger", "192.0.2.7", "POST /api/freeze", "unauthorized")),
        (NEAR, [], ("loopback loopback", "127.0.0.1", "POST /api/freeze", "unauthorized")),
        (FAR, [bearer(new_token())], ("stranger", "192.0.2.7", "POST /api/freeze", "unauthorized")),
        (
            FAR,
            [bearer(TOKENS["viewer"])],
            ("token viewer-1", "192.0.2.7", "POST /api/freeze", "forbidden"),
        ),
        (
            NEAR,
            [(b"origin", b"https://evil.example")],
            ("stranger", "127.0.0.1", "POST /api/freeze", "cross_site"),
        ),
        (
            NEAR,
            [(b"content-length", b"999999999")],
            ("stranger", "127.0.0.1", "POST /api/freeze", "too_large"),
        ),
    ],
    ids=["no credential", "this machine", "wrong token", "wrong role", "another site", "too long"],
)
def test_a_refused_write_is_written_down(face: Any, client: Any, headers: Any, entry: Any) -> None:
    asked(face.app(), "POST", "/api/freeze", client, *headers)

    assert told(face) == [entry]


def test_a_client_that_asks_too_often_is_written_down_once(face: Any) -> None:
    face.api = face.api.model_copy(update={"writes_per_minute": 1})
    app = face.app()

    codes = [asked(app, "POST", "/api/unfreeze", FAR, bearer(TOKENS["operator"])) for _ in range(20)]

    assert codes == [409, *[429] * 19]
    assert [entry[3] for entry in told(face)] == ["not_configured", "rate_limited"]


@pytest.mark.parametrize("path", ["/api/hosts", "/api/journal/audit"])
def test_a_refused_read_is_no_write(face: Any, path: str) -> None:
    assert asked(face.app(), "GET", path, FAR) == 401
    assert face.audits == []


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/nothing"), ("DELETE", "/api/hosts")])
def test_what_is_no_operation_is_not_written_down(face: Any, method: str, path: str) -> None:
    assert asked(face.app(), method, path, FAR) in {404, 405}
    assert face.audits == []


def test_no_entry_has_a_credential(face: Any, url: str) -> None:
    wrong, basic = new_token(), base64.b64encode(b"admin:swordfish").decode()
    for headers in (
        {"Authorization": f"Bearer {wrong}"},
        {"X-Auth-Token": "gAAAAABkeystonetokenkeystonetoken"},
        {"Authorization": f"Basic {basic}"},
    ):
        requests.post(f"{url}/api/clear-cache/{wrong}?token={wrong}", headers=headers, timeout=TIMEOUT)
    until(lambda: len(face.audits) >= 1, seconds=TIMEOUT)

    shown = repr(face.audits)
    assert not [secret for secret in (wrong, basic, "keystonetoken", "swordfish") if secret in shown]


def test_what_a_client_sends_cannot_steer_a_terminal(face: Any, url: str) -> None:
    requests.post(f"{url}/api/clear-cache/a%1b%5b2J%00%0ab", timeout=TIMEOUT)

    until(lambda: face.audits, seconds=TIMEOUT)
    assert [entry.target for entry in face.audits] == ["a?[2J??b"]


def test_a_body_that_is_not_right_is_invalid_and_no_failure_of_spotd(face: Any, url: str) -> None:
    headers = {"X-Auth-Token": TOKENS["operator"], "Content-Type": "application/json"}
    for body in (b"{", b"[" * 100_000, b'{"reason": ""}', b'{"reason": "a\\u0000b"}', b"\xff\xfe"):
        answer = requests.post(f"{url}/api/freeze", data=body, headers=headers, timeout=TIMEOUT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request"), body

    assert {entry.outcome for entry in face.audits} == {"invalid_request"}


def test_a_reload_over_http_is_written_down(face: Any) -> None:
    app = face.app()
    asked(app, "POST", "/-/reload", NEAR, bearer(TOKENS["admin"]))
    face.reload = (False, "kept the old configuration: line 3")
    asked(app, "POST", "/-/reload", NEAR, bearer(TOKENS["admin"]))
    asked(app, "POST", "/-/reload", FAR)
    asked(app, "POST", "/-/reload", NEAR, bearer(TOKENS["operator"]))

    assert told(face) == [
        ("token admin-1", "127.0.0.1", "POST /-/reload", "done"),
        ("token admin-1", "127.0.0.1", "POST /-/reload", "failed"),
        ("stranger", "192.0.2.7", "POST /-/reload", "forbidden"),
        ("token operator-1", "127.0.0.1", "POST /-/reload", "forbidden"),
    ]
    assert face.audits[1].detail == "kept the old configuration: line 3"


def test_a_page_that_rebinds_its_name_cannot_reload(face: Any) -> None:
    app = face.app()
    headers = [(b"host", b"evil.example"), (b"origin", b"http://evil.example")]

    assert asked(app, "POST", "/-/reload", NEAR, *headers) == 421
    assert (face.reloads, face.audits[0].outcome) == (0, "wrong_host")


def test_a_journal_that_fails_keeps_nobody_from_being_refused(face: Any) -> None:
    class Failing(list[Any]):
        def append(self, _: Any) -> None:
            raise StoreError("the disk is full")

    face.audits = Failing()

    assert asked(face.make(), "POST", "/api/freeze", FAR) == 401


def attempt(number: int = 1, what: str = "POST /api/freeze") -> Attempt:
    return Attempt(who="stranger", from_where=f"192.0.2.{number}", what=what, code="unauthorized")


def test_a_flood_from_everywhere_makes_a_bounded_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "WHILE_SECONDS", 0.05)
    sums: list[tuple[Attempt, str]] = []

    async def scenario() -> int:
        attempts = Attempts(lambda *said: sums.append(said))
        first = sum(
            attempts.is_first(attempt(number, f"POST /api/{again}"))
            for again in range(20)
            for number in range(200)
        )
        await asyncio.sleep(0.1)
        assert attempts.is_first(attempt())  # its while is over
        return first

    assert (asyncio.run(scenario()), len(sums)) == (CLIENTS + 1, CLIENTS + 1)
    several = next(sentence for one, sentence in sums if one.who == "several")
    assert several.startswith("3839 more within 0 s: 192 x POST /api/")
    assert several.endswith("15 other kinds")
    assert sum(int(sentence.split()[0]) for _, sentence in sums) == 20 * 200 - (CLIENTS + 1)


def test_a_client_that_asks_for_ever_new_things_is_remembered_with_a_few_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it asks for, a stranger chooses: it must not fill the memory."""
    monkeypatch.setattr(attempts_module, "WHILE_SECONDS", 0.05)
    sums: list[str] = []

    async def scenario() -> None:
        attempts = Attempts(lambda _, sentence: sums.append(sentence))
        for number in range(10_000):
            attempts.is_first(attempt(what=f"POST /{number}"))
        await asyncio.sleep(0.2)

    asyncio.run(scenario())

    [sentence] = sums
    assert sentence.startswith("9999 more within")
    assert sentence.endswith(f"at least {attempts_module.KINDS_KEPT - attempts_module.KINDS} other kinds")


def test_how_often_a_client_came_back_is_written_down(
    face: Any, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(attempts_module, "WHILE_SECONDS", 0.5)
    for _ in range(4):
        requests.post(f"{url}/api/freeze", timeout=TIMEOUT)

    until(lambda: len(face.audits) == 2, seconds=TIMEOUT)

    assert told(face)[0] == told(face)[1]
    assert face.audits[1].detail == "3 more within 0 s: 3 x POST /api/freeze unauthorized"
