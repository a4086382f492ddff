"""Whoever guesses passwords makes nobody wait, and is refused after a while; what is right costs nothing."""

import asyncio
import threading
from typing import Any

import bcrypt
import pytest
import requests
from waiting import until
from web_files import HASH, PASSWORD, written

from spotd.settings.api import ApiSettings
from spotd.web.api.envelope import Refusal
from spotd.web.api.throttle import Throttle
from spotd.web.config.file import WebConfigError, load
from spotd.web.config.passwords import MOST_OF_ONE, Passwords, cost_of, nobodys, weight_of

TIMEOUT = 5
USERS = {"alice": HASH, "bob": HASH}
FILE = f'basic_auth_users: {{alice: "{HASH}"}}\n'


class SlowBcrypt:
    """bcrypt that takes as long as the test wants for each check."""

    def __init__(self) -> None:
        self.checked: list[bytes] = []
        self._may_end = threading.Semaphore(0)

    def __call__(self, password: bytes, _: bytes) -> bool:
        self.checked.append(password)
        assert self._may_end.acquire(timeout=TIMEOUT)
        return password == PASSWORD.encode()

    def end(self, number: int) -> None:
        self._may_end.release(number)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowBcrypt:
    made = SlowBcrypt()
    monkeypatch.setattr(bcrypt, "checkpw", made)
    return made


def passwords(**settings: Any) -> Passwords:
    api = ApiSettings(**settings)
    return Passwords(Throttle(lambda: api), 100)


@pytest.mark.parametrize(
    ("guessers", "name"),
    [("192.0.2.1", "alice"), ("192.0.2.9", "bob"), ("192.0.2.9", "nobody")],
    ids=["another address", "the same address, another user", "the same address, unknown users"],
)
def test_a_right_password_waits_for_one_guess_of_another_client_at_most(
    slow: SlowBcrypt, guessers: str, name: str
) -> None:
    async def run() -> bool:
        gate = passwords(failed_logins_per_minute=1000)
        names = [name if name in USERS else f"{name}{number}" for number in range(8)]
        guesses = [
            asyncio.ensure_future(gate.are_right(USERS, names[number], b"guess %d" % number, guessers))
            for number in range(8)
        ]
        await asyncio.sleep(0)
        good = asyncio.ensure_future(gate.are_right(USERS, "alice", PASSWORD.encode(), "192.0.2.9"))
        slow.end(3)
        right = await asyncio.wait_for(good, TIMEOUT)
        slow.end(100)
        await asyncio.gather(*guesses)
        return right

    assert asyncio.run(run())
    assert slow.checked.index(PASSWORD.encode()) <= 2


def test_one_check_is_enough_for_all_who_show_the_same_password(slow: SlowBcrypt) -> None:
    async def run() -> list[bool]:
        gate = passwords()
        slow.end(1)
        return await asyncio.gather(
            *(gate.are_right(USERS, "alice", PASSWORD.encode(), "192.0.2.9") for _ in range(100))
        )

    assert asyncio.run(run()) == [True] * 100
    assert len(slow.checked) == 1


def test_a_client_with_too_many_open_guesses_is_refused(slow: SlowBcrypt) -> None:
    async def run() -> list[Any]:
        gate = passwords()
        slow.end(100)
        guesses = (gate.are_right(USERS, "alice", b"guess %d" % number, "192.0.2.1") for number in range(30))
        return await asyncio.gather(*guesses, return_exceptions=True)

    outcomes = asyncio.run(run())

    refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert len(refusals) == 30 - MOST_OF_ONE - 1
    assert {refusal.headers["Retry-After"] for refusal in refusals} == {"5"}


def test_a_client_whose_passwords_are_wrong_is_refused_before_a_check_and_no_other_is(
    serve: Any, face: Any
) -> None:
    face.api = ApiSettings(failed_logins_per_minute=3)
    url = serve(FILE)

    answers = [requests.get(url, auth=("alice", f"guess {number}"), timeout=TIMEOUT) for number in range(5)]
    near = requests.get(url, auth=("nobody", "guess"), timeout=TIMEOUT)

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert near.status_code == 401


def test_a_password_that_was_right_is_not_refused_with_those_that_are_wrong(serve: Any, face: Any) -> None:
    face.api = ApiSettings(failed_logins_per_minute=2)
    url = serve(FILE)
    good = ("alice", PASSWORD)
    assert requests.get(url, auth=good, timeout=TIMEOUT).status_code == 200
    for number in range(4):
        requests.get(url, auth=("alice", f"guess {number}"), timeout=TIMEOUT)

    assert requests.get(url, auth=good, timeout=TIMEOUT).status_code == 200


def test_the_same_wrong_password_costs_one_check_and_counts_once(serve: Any, face: Any) -> None:
    """Such as of a Prometheus whose configuration is wrong: it is told so, again and again."""
    face.api = ApiSettings(failed_logins_per_minute=2)
    url = serve(FILE)

    codes = {requests.get(url, auth=("alice", "old"), timeout=TIMEOUT).status_code for _ in range(5)}

    assert codes == {401}


def test_refused_guesses_of_writes_are_in_the_audit(serve: Any, face: Any) -> None:
    face.api = ApiSettings(failed_logins_per_minute=1)
    url = serve(FILE)
    for number in range(2):
        requests.get(url, auth=("alice", f"guess {number}"), timeout=TIMEOUT)

    assert requests.post(f"{url}/api/freeze", auth=("alice", "guess"), timeout=TIMEOUT).status_code == 429

    until(lambda: face.audits, seconds=TIMEOUT)
    assert (face.audits[0].what, face.audits[0].outcome) == ("POST /api/freeze", "rate_limited")


@pytest.mark.parametrize(("cost", "weight"), [(4, 1), (10, 1), (13, 1), (14, 2), (16, 8)])
def test_a_guess_counts_as_much_as_it_costs(cost: int, weight: int) -> None:
    assert weight_of(HASH.replace("$04$", f"${cost:02}$")) == weight


def test_a_name_that_is_nobodys_costs_as_much_as_the_costliest() -> None:
    users = {"alice": HASH, "bob": HASH.replace("$04$", "$07$")}

    assert cost_of(nobodys(users)) == 7
    assert not bcrypt.checkpw(b"", nobodys(users).encode())


@pytest.mark.parametrize("cost", ["00", "03", "17", "31", "99"])
def test_a_cost_that_would_take_too_long_is_refused_where_the_file_is_read(folder: Any, cost: str) -> None:
    with pytest.raises(
        WebConfigError, match=f"'alice' has the bcrypt cost {int(cost)}, which must be 4 to 16"
    ) as raised:
        load(written(folder, FILE.replace("$04$", f"${cost}$")))

    assert HASH[7:] not in str(raised.value)


@pytest.mark.parametrize(("role", "code"), [("viewer", 403), ("operator", 403), ("admin", 200)])
def test_a_user_may_reload_who_is_an_admin_by_the_configuration(
    serve: Any, face: Any, role: str, code: int
) -> None:
    face.api = ApiSettings.model_validate({"basic_auth_roles": {"alice": role}})
    url = serve(FILE)

    assert requests.post(f"{url}/-/reload", timeout=TIMEOUT).status_code == 401
    assert requests.post(f"{url}/-/reload", auth=("alice", PASSWORD), timeout=TIMEOUT).status_code == code
    assert face.reloads == (code == 200)


def test_the_gate_does_not_wait_for_the_apis_threads(face: Any, serve: Any) -> None:
    hangs = threading.Event()
    face.api = ApiSettings(refreshes_per_minute=1000, basic_auth_roles={"alice": "admin"})
    face.expired = Hanging(hangs)
    face.backing = face.make_backing()
    url = serve(f'basic_auth_users: {{alice: "{HASH}", bob: "{HASH}"}}\n')
    good = ("alice", PASSWORD)
    ask = [
        threading.Thread(target=requests.post, args=(f"{url}/api/clear-cache",), kwargs={"auth": good})
        for _ in range(45)
    ]
    for thread in ask:
        thread.start()
    until(lambda: face.expired.count >= 40, seconds=10)

    code = requests.get(f"{url}/-/healthy", auth=("bob", PASSWORD), timeout=TIMEOUT).status_code

    hangs.set()
    for thread in ask:
        thread.join()
    assert code == 200


class Hanging:
    """A part of the daemon that does not come back."""

    def __init__(self, until_set: threading.Event) -> None:
        self._until_set = until_set
        self.count = 0

    def append(self, _: Any) -> None:
        self.count += 1
        self._until_set.wait(30)
