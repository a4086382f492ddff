"""Who may do what: every route stands behind the one guard."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
import requests
from asgi_client import asked, status_of
from fastapi import APIRouter
from fastapi.routing import APIRoute
from fleets import NOW

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.identity import TokenOwner
from spotd.settings.api import ApiSettings
from spotd.web.api.api import api_routes
from spotd.web.api.auth import Role, hash_of, new_token
from spotd.web.api.guard import KEYSTONE_THREADS, guarded_by, role_needed
from spotd.web.api.throttle import Kind

TIMEOUT = 5
FAR = ("192.0.2.7", 1)
NEAR = ("127.0.0.1", 1)
TOKENS = {role: new_token() for role in ("viewer", "operator", "admin")}


def with_tokens(**changes: Any) -> ApiSettings:
    tokens = [{"name": role, "role": role, "hash": hash_of(token)} for role, token in TOKENS.items()]
    return ApiSettings.model_validate({"tokens": tokens, **changes})


def bearer(role: str) -> tuple[bytes, bytes]:
    return (b"authorization", f"Bearer {TOKENS[role]}".encode())


def all_routes(face: Any) -> list[APIRoute]:
    return api_routes(face.backing, guarded_by(NoGuard()))


class NoGuard:
    async def admit(self, *_: Any) -> None: ...

    async def audited(self, request: Any, handler: Any) -> Any:
        return await handler(request)


def filled(path: str) -> str:
    for name, value in {"gpu_type": "H100", "pool": "spot", "host": "gpu-1"}.items():
        path = path.replace(f"{{{name}}}", value)
    return path.replace("{", "").replace("}", "")


def test_every_route_of_the_api_refuses_a_stranger(face: Any) -> None:
    """Walks the routes, so that a new one cannot be without the guard."""
    app = face.app()
    routes = all_routes(face)
    assert len(routes) > 12

    codes = {
        (method, route.path): asked(app, method, filled(route.path), FAR)
        for route in routes
        for method in route.methods or ()
    }

    assert {code for code in codes.values() if code != 401} == set(), codes


def test_every_write_refuses_this_machine_without_a_credential(face: Any) -> None:
    app = face.app()

    for route in all_routes(face):
        if role_needed(route) > Role.VIEWER:
            (method,) = route.methods or ()
            assert asked(app, method, filled(route.path), NEAR) == 401, route.path


def test_a_route_that_says_nothing_is_an_admins_unless_it_reads() -> None:
    router = APIRouter(route_class=guarded_by(NoGuard()))
    router.add_api_route("/read", lambda: None, methods=["GET"])
    router.add_api_route("/write", lambda: None, methods=["POST"])

    assert [role_needed(route) for route in router.routes] == [Role.VIEWER, Role.ADMIN]


def test_only_clearing_and_refreshing_are_writes_that_a_viewer_may(face: Any) -> None:
    open_writes = {
        route.path
        for route in all_routes(face)
        if route.methods != {"GET"} and role_needed(route) is Role.VIEWER
    }

    assert open_writes == {"/api/clear-cache", "/api/clear-cache/{host}", "/api/refresh-all-data"}


@pytest.mark.parametrize(
    ("reads", "client", "code"),
    [
        ("loopback", NEAR, 200),
        ("loopback", FAR, 401),
        ("credential", NEAR, 401),
        ("anyone", FAR, 200),
    ],
)
def test_who_reads_without_a_credential(face: Any, reads: str, client: Any, code: int) -> None:
    face.api = ApiSettings.model_validate({"reads": reads})

    assert asked(face.app(), "GET", "/api/hosts", client) == code


@pytest.mark.parametrize("header", [b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"])
def test_behind_a_proxy_of_this_machine_nobody_reads_for_free(face: Any, header: bytes) -> None:
    assert asked(face.app(), "GET", "/api/hosts", NEAR, (header, b"127.0.0.1")) == 401


@pytest.mark.parametrize("role", TOKENS)
def test_a_token_reads_from_everywhere(face: Any, role: str) -> None:
    face.api = with_tokens()

    assert asked(face.app(), "GET", "/api/hosts", FAR, bearer(role)) == 200
    assert asked(face.app(), "GET", "/api/hosts", FAR, (b"x-auth-token", TOKENS[role].encode())) == 200


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer sptd_wrong"),
        (b"authorization", b"Bearer "),
        (b"authorization", b"Bearer"),
        (b"authorization", b"Basic YTpi"),
        (b"authorization", b"Digest x"),
        (b"authorization", b"Bearer \xff\xfe"),
        (b"x-auth-token", b""),
        (b"x-auth-token", b"gAAAA-a-keystone-token"),
    ],
)
def test_a_wrong_credential_is_refused_even_where_none_is_needed(face: Any, header: Any) -> None:
    face.api = with_tokens()

    assert asked(face.app(), "GET", "/api/hosts", NEAR, header) == 401


def test_a_token_that_expired_is_refused(face: Any) -> None:
    token = {"name": "a", "role": "admin", "hash": hash_of(TOKENS["admin"]), "expires": NOW.isoformat()}
    face.api = ApiSettings.model_validate({"tokens": [token]})
    face.now = NOW - timedelta(seconds=1)
    before = asked(face.app(), "GET", "/api/hosts", FAR, bearer("admin"))
    face.now = NOW

    after = asked(face.app(), "GET", "/api/hosts", FAR, bearer("admin"))

    assert (before, after) == (200, 401)


def test_a_token_that_was_taken_out_is_refused_at_once(face: Any) -> None:
    face.api = with_tokens()
    app = face.app()
    before = asked(app, "GET", "/api/hosts", FAR, bearer("admin"))
    face.api = ApiSettings()

    assert (before, asked(app, "GET", "/api/hosts", FAR, bearer("admin"))) == (200, 401)


def owner(*roles: str, project: str = "ops", expires: timedelta = timedelta(hours=1)) -> TokenOwner:
    return TokenOwner(
        user="ada", projects=frozenset({project}), roles=frozenset(roles), expires_at=NOW + expires
    )


KEYSTONE = (b"x-auth-token", b"gAAAA-of-keystone")


@pytest.mark.parametrize(
    ("owner", "code"),
    [
        (owner("admin"), 200),
        (owner("member"), 403),
        (owner(), 403),
        (owner("admin", project="other"), 401),
        (owner("admin", expires=timedelta(0)), 401),
        (None, 401),
        (CloudError(Failure.CONNECTION, "keystone: no connection"), 502),
    ],
    ids=["mapped", "unmapped role", "no role", "other project", "expired", "revoked", "keystone down"],
)
def test_keystone_tokens_have_the_roles_that_are_mapped(face: Any, owner: Any, code: int) -> None:
    face.api = ApiSettings.model_validate(
        {"keystone_roles": {"admin": "admin"}, "keystone_projects": ["ops"]}
    )
    face.owners = {KEYSTONE[1].decode(): owner} if owner is not None else {}

    assert asked(face.app(), "GET", "/api/hosts", FAR, KEYSTONE) == code


def test_keystone_is_asked_once_for_a_token_in_use(face: Any) -> None:
    face.api = ApiSettings.model_validate({"keystone_roles": {"admin": "viewer"}})
    face.owners = {KEYSTONE[1].decode(): owner("admin")}
    app = face.app()

    codes = {asked(app, "GET", "/api/hosts", FAR, KEYSTONE) for _ in range(3)}

    assert (codes, face.keystone_asked) == ({200}, 1)


def test_guessing_keystone_tokens_is_stopped_before_keystone_is_asked(face: Any) -> None:
    face.api = ApiSettings.model_validate(
        {"keystone_roles": {"admin": "viewer"}, "failed_logins_per_minute": 2}
    )
    app = face.app()

    codes = [asked(app, "GET", "/api/hosts", FAR, (b"x-auth-token", b"guess%d" % n)) for n in range(4)]

    assert (codes, face.keystone_asked) == ([401, 401, 429, 429], 2)


@pytest.fixture
def slow_keystone(face: Any, monkeypatch: pytest.MonkeyPatch) -> "SlowKeystone":
    made = SlowKeystone()
    monkeypatch.setattr(face, "_owner_of", made)
    return made


class SlowKeystone:
    """Keystone that takes as long for each token as the test wants; it knows those of ada."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._may_answer = threading.Semaphore(0)

    def __call__(self, token: str) -> TokenOwner | None:
        self.asked.append(token)
        assert self._may_answer.acquire(timeout=TIMEOUT)
        return owner("admin") if "ada" in token else None

    def answer(self, number: int) -> None:
        self._may_answer.release(number)


def together(app: Any, *requests_: tuple[str, str]) -> list[int]:
    """The statuses of requests that come at once, each from an address and with a token."""

    async def run() -> list[int]:
        return await asyncio.gather(
            *(
                status_of(app, "GET", "/api/hosts", (host, 1), (b"x-auth-token", token.encode()))
                for host, token in requests_
            )
        )

    return asyncio.run(run())


def test_whoever_guesses_keystone_tokens_makes_no_other_client_wait(
    face: Any, slow_keystone: SlowKeystone
) -> None:
    face.api = ApiSettings.model_validate({"keystone_roles": {"admin": "viewer"}})
    guesses = [("192.0.2.1", f"guess{number}") for number in range(30)]
    slow_keystone.answer(1000)

    codes = together(face.app(), *guesses, ("192.0.2.2", "of-ada"))

    assert codes[-1] == 200
    assert slow_keystone.asked.index("of-ada") < 10


def test_guesses_that_come_at_once_are_stopped_like_those_that_come_one_by_one(
    face: Any, slow_keystone: SlowKeystone
) -> None:
    face.api = ApiSettings.model_validate(
        {"keystone_roles": {"admin": "viewer"}, "failed_logins_per_minute": 5}
    )
    slow_keystone.answer(1000)

    codes = together(face.app(), *(("192.0.2.1", f"guess{number}") for number in range(60)))

    assert set(codes) == {401, 429}
    assert len(slow_keystone.asked) < 5 + KEYSTONE_THREADS


def test_a_token_that_keystone_knew_lately_is_not_refused_with_guesses_of_its_address(face: Any) -> None:
    face.api = ApiSettings.model_validate(
        {"keystone_roles": {"admin": "viewer"}, "failed_logins_per_minute": 1}
    )
    face.owners = {KEYSTONE[1].decode(): owner("admin")}
    app = face.app()
    assert asked(app, "GET", "/api/hosts", FAR, KEYSTONE) == 200
    codes = [asked(app, "GET", "/api/hosts", FAR, (b"x-auth-token", b"guess%d" % n)) for n in range(2)]

    assert codes == [401, 429]
    assert asked(app, "GET", "/api/hosts", FAR, KEYSTONE) == 200


def test_a_client_that_asks_too_often_is_told_when_to_come_back(face: Any, url: str) -> None:
    face.api = ApiSettings.model_validate({"reads_per_minute": 2})

    answers = [requests.get(f"{url}/api/hosts", timeout=TIMEOUT) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[-1].json()["error"]["code"] == "rate_limited"


def test_clients_are_counted_apart(face: Any) -> None:
    face.api = ApiSettings.model_validate({"reads_per_minute": 1, "reads": "anyone"})
    app = face.app()

    codes = [asked(app, "GET", "/api/hosts", (host, 1)) for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]
    network = [asked(app, "GET", "/api/hosts", (host, 1)) for host in ("2001:db8::1", "2001:db8::2")]

    assert (codes, network) == ([200, 200, 429], [200, 429])


@pytest.mark.parametrize(
    "header", [(b"origin", b"https://evil.example"), (b"sec-fetch-site", b"cross-site"), (b"origin", b"null")]
)
def test_a_page_of_another_site_cannot_make_a_browser_write(face: Any, header: Any) -> None:
    assert asked(face.app(), "POST", "/api/clear-cache", NEAR, header) == 403


def test_the_page_of_this_server_may_write(face: Any) -> None:
    assert asked(face.app(), "POST", "/api/clear-cache", NEAR, (b"origin", b"http://localhost")) == 200


def test_no_answer_allows_another_site_to_read_it(face: Any, url: str) -> None:
    answer = requests.get(f"{url}/api/hosts", headers={"Origin": "https://evil.example"}, timeout=TIMEOUT)

    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_the_configuration_never_shows_a_hash_or_a_secret(face: Any, url: str) -> None:
    face.api = with_tokens()

    answer = requests.get(
        f"{url}/api/config", headers={"Authorization": f"Bearer {TOKENS['admin']}"}, timeout=TIMEOUT
    )

    assert answer.json()["data"]["api"]["tokens"][0]["name"] == "viewer"
    for token in TOKENS.values():
        assert token not in answer.text
        assert hash_of(token).partition(":")[2] not in answer.text


def test_comparing_takes_every_token_into_account(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing-safe: each known hash is compared by `hmac.compare_digest`, also after one fitted."""
    import hmac  # noqa: PLC0415

    face.api = with_tokens()
    compared: list[bytes] = []
    real = hmac.compare_digest

    def counting(a: Any, b: Any) -> bool:
        compared.append(a)
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    asked(face.app(), "GET", "/api/hosts", FAR, bearer("viewer"))

    assert len(compared) == len(TOKENS)


def test_kinds_of_requests_are_counted_apart(face: Any) -> None:
    face.api = ApiSettings.model_validate({"refreshes_per_minute": 1})
    app = face.app()

    codes = [asked(app, "POST", "/api/clear-cache", NEAR) for _ in range(2)]

    assert codes == [200, 429]
    assert asked(app, "GET", "/api/hosts", NEAR) == 200
    assert {kind.value for kind in Kind} == {"read", "write", "refresh", "failed login"}


def test_refreshes_are_counted_by_token_where_there_is_one(face: Any) -> None:
    """Else everybody behind one proxy would share one allowance."""
    face.api = with_tokens(refreshes_per_minute=1, refresh_spacing_seconds=0.01)
    app = face.app()

    codes = [
        asked(app, "GET", "/api/aggregates/H100?force_refresh=true", FAR, bearer(role))
        for role in ("viewer", "operator", "viewer")
    ]

    assert codes == [200, 200, 429]


def test_a_forced_refresh_by_a_read_counts_as_a_refresh(face: Any) -> None:
    face.api = ApiSettings.model_validate({"refreshes_per_minute": 1, "refresh_spacing_seconds": 0.01})
    app = face.app()

    codes = [asked(app, "GET", "/api/aggregates/H100?force_refresh=true", NEAR) for _ in range(2)]

    assert codes == [200, 429]
    assert threading.active_count() < 50
