"""Moves, plans, journal and freezes over HTTP: guards decide, the journal keeps, the leader carries out."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from fleets import NOW, FleetBuilder
from postgresql import started as started_postgresql

from spotd.daemon.orders import preview, targets
from spotd.planning.models import AllLimits
from spotd.planning.planner import make_plan
from spotd.planning.rules import Rules
from spotd.planning.surroundings import Standing, survey
from spotd.settings.api import ApiSettings
from spotd.store.errors import StoreError
from spotd.store.records import MoveState
from spotd.store.store import Store, open_store
from spotd.web.api.acting import Acting
from spotd.web.api.auth import hash_of, new_token
from spotd.web.api.guard import JOURNAL_PLACES

TIMEOUT = 5
TOKENS = {role: new_token() for role in ("viewer", "operator", "admin")}
WISH = {"host": "gpu-1", "target_aggregate": "H100-n3-spot"}


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    with started_postgresql() as server:
        yield server.create_database("moves")


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """In memory, or on the database of the kind that the test names."""
    kind = getattr(request, "param", "memory")
    url = "sqlite://" if kind == "memory" else f"sqlite:///{tmp_path / 'journal.sqlite'}"
    with open_store(request.getfixturevalue("postgresql_url") if kind == "postgresql" else url) as opened:
        yield opened


@pytest.fixture
def moving(face: Any, store: Store) -> Any:
    """The face with a journal, a fleet of five hosts and a token for each role."""
    tokens = [{"name": role, "role": role, "hash": hash_of(token)} for role, token in TOKENS.items()]
    face.api = ApiSettings.model_validate({"tokens": tokens})
    builder = FleetBuilder()
    for number in range(1, 6):
        builder.host(f"gpu-{number}", "H100-n3", servers=(4,) if number == 5 else (), netbox="active")
    builder.host("gpu-6", "H100-n3-spot", netbox="active")
    face.snapshot = builder.snapshot()
    face.rules = Rules(limits=AllLimits(moves_at_once=2))
    face.standing = Standing()
    face.surroundings = lambda: (
        face.snapshot and survey(face.rules, face.snapshot, (), face.now, face.standing)
    )
    face.acting = Acting(
        journal=store.journal,
        surroundings=lambda: face.surroundings(),  # noqa: PLW0108 - tests replace it
        recent=lambda: (),
        preview=preview,
        targets=targets,
        plan=lambda: face.snapshot and make_plan(face.rules, face.snapshot, (), face.now, {}),
        rules=lambda: face.rules,
        freeze=lambda: store.journal.current_freeze(face.now),
        holder=lambda: None,
        recover=lambda by: store.journal.save_memory("recover", {"by": by}),
    )
    return face


@pytest.fixture
def api(moving: Any, served: Any) -> Any:
    switch, address = served
    switch.app = moving.make()

    def asked(
        method: str, path: str, body: Any = None, *, role: str | None = "operator", **headers: str
    ) -> Any:
        if role is not None:
            headers["Authorization"] = f"Bearer {TOKENS[role]}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.request(method, f"{address}/api{path}", json=body, headers=named, timeout=TIMEOUT)

    return asked


def test_a_preview_shows_steps_commands_and_each_guards_verdict(api: Any, store: Store) -> None:
    answer = api("POST", "/preview-migration", WISH)

    data = answer.json()["data"]
    assert (answer.status_code, data["allowed"], data["refusal"]) == (200, True, None)
    assert [step["step"] for step in data["steps"]][1:3] == ["fence", "settle"]
    commands = [step["command"] for step in data["steps"] if step["command"]]
    assert "openstack aggregate remove host H100-n3 gpu-1" in commands
    assert "openstack aggregate add host H100-n3-spot gpu-1" in commands
    assert len(data["verdicts"]) > 10
    assert {verdict["passes"] for verdict in data["verdicts"]} == {True}
    assert store.journal.moves() == ()


def test_a_preview_of_a_busy_host_says_why_not(api: Any) -> None:
    data = api("POST", "/preview-migration", {**WISH, "host": "gpu-5"}).json()["data"]

    assert (data["allowed"], data["refusal"]["code"]) == (False, "servers_present")


def test_executing_asks_in_the_journal_and_answers_with_the_move(api: Any, store: Store) -> None:
    answer = api("POST", "/execute-migration", {**WISH, "reason": "ticket 7"})

    move = answer.json()["data"]
    assert (answer.status_code, move["state"], move["asked_by"]) == (202, "asked", "api operator")
    assert answer.headers["Location"] == f"/api/moves/{move['id']}"
    (kept,) = store.journal.asked_moves()
    assert (kept.id, kept.order.reason, kept.order.rule) == (move["id"], "ticket 7", None)
    assert api("GET", f"/moves/{move['id']}").json()["data"]["host"] == "gpu-1"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"host": "nobody"}, 404, "unknown_host"),
        ({"target_aggregate": "nowhere"}, 404, "unknown_aggregate"),
        ({"host": "gpu-5"}, 409, "refused_by_guards"),
        ({"target_aggregate": "H100-n3"}, 409, "refused_by_guards"),
        ({"host": ""}, 422, "invalid_request"),
        ({"hots": "gpu-1"}, 422, "invalid_request"),
        ({"reason": "x" * 501}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_is_refused_with_its_code(
    api: Any, store: Store, change: Any, status: int, code: str
) -> None:
    answer = api("POST", "/execute-migration", WISH | change)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert store.journal.moves() == ()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"host":', b"\xff\xfe"])
def test_a_broken_body_is_a_422(moving: Any, api: Any, served: Any, body: bytes) -> None:
    answer = requests.post(
        f"{served[1]}/api/execute-migration",
        data=body,
        headers={"Authorization": f"Bearer {TOKENS['operator']}", "Content-Type": "application/json"},
        timeout=TIMEOUT,
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("path", ["/execute-migration", "/freeze", "/unfreeze", "/recover"])
def test_a_viewer_may_not_act(api: Any, store: Store, path: str) -> None:
    answer = api("POST", path, WISH, role="viewer")

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert store.journal.moves() == ()


def test_without_a_credential_nothing_moves_also_on_loopback(api: Any, store: Store) -> None:
    assert api("POST", "/execute-migration", WISH, role=None).status_code == 401
    assert store.journal.moves() == ()


def test_the_configuration_may_free_loopback_in_so_many_words(moving: Any, api: Any) -> None:
    moving.api = ApiSettings.model_validate({"loopback_writes": "without-credential"})

    assert api("POST", "/execute-migration", WISH, role=None).status_code == 202


def test_the_same_key_is_the_same_move_whatever_became_of_it(moving: Any, api: Any, store: Store) -> None:
    first = api("POST", "/execute-migration", WISH, Idempotency_Key="a1").json()["data"]["id"]
    moving.snapshot = FleetBuilder().host("gpu-1", "H100-n3-spot").aggregate("H100-n3").snapshot()

    again = api("POST", "/execute-migration", WISH, Idempotency_Key="a1")

    assert (again.status_code, again.json()["data"]["id"]) == (202, first)
    assert len(store.journal.moves()) == 1


def test_a_key_stands_for_one_move_only(api: Any) -> None:
    api("POST", "/execute-migration", WISH, Idempotency_Key="a1")

    answer = api("POST", "/execute-migration", {**WISH, "host": "gpu-2"}, Idempotency_Key="a1")

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "key_reused")


@pytest.mark.parametrize("store", ["memory", "sqlite-file", "postgresql"], indirect=True)
@pytest.mark.parametrize("late", ["preview", "journal"])
def test_of_eight_that_send_one_key_at_once_all_get_the_same_move(
    moving: Any, api: Any, store: Store, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """Each has found that nobody used the key; then one asks and the rest judge the move, or all ask."""
    all_here, asked = threading.Barrier(8), threading.Event()
    key, before = f"tide-{late}", len(store.journal.moves())
    real_ask, around = store.journal.ask, moving.surroundings

    def ask(*arguments: Any, **named: Any) -> Any:
        if late == "journal":
            all_here.wait(TIMEOUT)
        try:
            return real_ask(*arguments, **named)
        finally:
            asked.set()

    def surroundings() -> Any:
        if late == "preview" and all_here.wait(TIMEOUT) != 0:
            asked.wait(TIMEOUT)
        return around()

    monkeypatch.setattr(store.journal, "ask", ask)
    moving.surroundings = surroundings
    wish = {"host": f"gpu-{1 + (late == 'journal')}", "target_aggregate": "H100-n3-spot"}

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: api("POST", "/execute-migration", wish, Idempotency_Key=key), range(8))
        )

    assert [202] * 8 == [answer.status_code for answer in answers]
    moves = store.journal.moves()
    assert before + 1 == len(moves)
    assert {moves[0].id} == {answer.json()["data"]["id"] for answer in answers}


def test_of_two_that_send_one_key_for_two_moves_at_once_one_is_refused(
    moving: Any, api: Any, store: Store
) -> None:
    both_here, around = threading.Barrier(2), moving.surroundings

    def surroundings() -> Any:
        both_here.wait(TIMEOUT)
        return around()

    moving.surroundings = surroundings

    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda host: api("POST", "/execute-migration", {**WISH, "host": host}, Idempotency_Key="k"),
                ("gpu-1", "gpu-2"),
            )
        )

    assert [202, 409] == sorted(answer.status_code for answer in answers)
    assert ["key_reused"] == [one.json()["error"]["code"] for one in answers if one.status_code == 409]
    assert 1 == len(store.journal.moves())


def test_many_moves_with_one_key_at_once_are_each_asked_for_once(moving: Any, api: Any, store: Store) -> None:
    """Both have planned, and both have found that nobody asked for the first host with this key."""
    both_here, around, calls = threading.Barrier(2), moving.surroundings, count()

    def surroundings() -> Any:
        if next(calls) < 4:
            both_here.wait(TIMEOUT)
        return around()

    moving.surroundings = surroundings
    wish = {"hosts": ["gpu-1", "gpu-2"], "target_aggregate": "H100-n3-spot"}

    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda _: api("POST", "/execute-bulk-migration", wish, Idempotency_Key="k"), range(2))
        )

    ids = [[item["move"]["id"] for item in answer.json()["data"]["items"]] for answer in answers]
    assert ids[0] == ids[1]
    assert 2 == len(store.journal.moves())


def test_keys_of_two_people_do_not_meet(api: Any, store: Store) -> None:
    api("POST", "/execute-migration", WISH, Idempotency_Key="a1")

    answer = api("POST", "/execute-migration", {**WISH, "host": "gpu-2"}, role="admin", Idempotency_Key="a1")

    assert answer.status_code == 202
    assert len(store.journal.moves()) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "ü"])
def test_a_strange_key_is_refused(api: Any, key: str) -> None:
    answer = api("POST", "/execute-migration", WISH, Idempotency_Key=key.encode())

    assert answer.status_code == 422


def test_a_host_is_not_asked_for_twice(api: Any, store: Store) -> None:
    api("POST", "/execute-migration", WISH)

    answer = api("POST", "/execute-migration", WISH)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "host_claimed")
    assert len(store.journal.moves()) == 1


def test_while_frozen_nothing_is_asked_for(moving: Any, api: Any, store: Store) -> None:
    moving.standing = Standing(frozen="audit (ops)")

    answer = api("POST", "/execute-migration", WISH)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "frozen")


def test_many_hosts_are_planned_and_asked_for_within_the_budget(api: Any, store: Store) -> None:
    wish = {
        "hosts": ["gpu-1", "gpu-5", "gpu-2", "nobody", "gpu-3", "gpu-1"],
        "target_aggregate": "H100-n3-spot",
    }

    plan = api("POST", "/preview-bulk-migration", wish).json()["data"]
    result = api("POST", "/execute-bulk-migration", wish)

    assert (plan["allowed"], plan["refused"]) == (2, 3)
    items = {item["host"]: item["error_code"] for item in result.json()["data"]["items"]}
    assert result.status_code == 202
    assert items == {
        "gpu-1": None,
        "gpu-5": "servers_present",
        "gpu-2": None,
        "nobody": "no_pool",
        "gpu-3": "budget_at_once",
    }
    assert {record.order.host for record in store.journal.asked_moves()} == {"gpu-1", "gpu-2"}


def test_moves_that_wait_have_spent_their_budget(api: Any) -> None:
    api("POST", "/execute-bulk-migration", {"hosts": ["gpu-1", "gpu-2"], "target_aggregate": "H100-n3-spot"})

    again = api(
        "POST", "/execute-bulk-migration", {"hosts": ["gpu-3"], "target_aggregate": "H100-n3-spot"}
    ).json()["data"]

    assert (again["asked"], again["items"][0]["error_code"]) == (0, "budget_at_once")


def test_the_targets_of_a_host_are_the_pools_of_its_type(api: Any) -> None:
    data = api("POST", "/get-target-aggregate", {"host": "gpu-1"}).json()["data"]

    assert data["current_aggregates"] == ["H100-n3"]
    assert [target["name"] for target in data["targets"]] == ["H100-n3-spot"]


def test_the_journal_is_read_page_by_page_and_never_erased(api: Any) -> None:
    for host in ("gpu-1", "gpu-2", "gpu-3"):
        api("POST", "/execute-migration", {**WISH, "host": host})

    first = api("GET", "/journal?limit=2", role="viewer").json()["data"]
    rest = api("GET", f"/journal?limit=2&before={first['next']}", role="viewer").json()["data"]

    assert [move["host"] for move in first["items"]] == ["gpu-3", "gpu-2"]
    assert ([move["host"] for move in rest["items"]], rest["next"]) == (["gpu-1"], None)
    assert [api(method, "/journal").status_code for method in ("DELETE", "PUT", "POST", "PATCH")] == [405] * 4


def test_the_journal_is_filtered(api: Any) -> None:
    api("POST", "/execute-migration", WISH)

    def hosts(query: str) -> list[str]:
        return [move["host"] for move in api("GET", f"/journal?{query}").json()["data"]["items"]]

    assert (hosts("host=gpu-1"), hosts("host=gpu-2")) == (["gpu-1"], [])
    assert (hosts("state=asked"), hosts("state=done")) == (["gpu-1"], [])


def test_a_freeze_holds_until_it_is_lifted(api: Any, store: Store) -> None:
    frozen = api("POST", "/freeze", {"reason": "audit"}).json()["data"]
    lifted = api("POST", "/unfreeze").json()["data"]

    assert (frozen["frozen"], frozen["reason"], frozen["by"]) == (True, "audit", "api operator")
    assert (lifted["frozen"], lifted["reason"]) == (False, None)
    assert api("GET", "/freeze", role="viewer").json()["data"]["frozen"] is False


@pytest.mark.parametrize(
    ("until", "status"),
    [
        ((NOW + timedelta(hours=1)).isoformat(), 200),
        ("2030-01-01T14:00:00+01:00", 200),
        ((NOW - timedelta(hours=1)).isoformat(), 409),
        ("2031-01-01T00:00:00", 422),
        ("tomorrow", 422),
    ],
)
def test_a_freeze_may_have_an_end(api: Any, until: str, status: int) -> None:
    assert api("POST", "/freeze", {"reason": "audit", "until": until}).status_code == status


def test_recovering_asks_the_leader(api: Any, store: Store) -> None:
    lease = store.lease("me", timedelta(seconds=60))
    token = lease.try_acquire()
    assert token is not None
    move_id = api("POST", "/execute-migration", WISH).json()["data"]["id"]
    store.journal.begin(move_id, token=token, now=NOW)
    store.journal.finish(move_id, MoveState.STRANDED, "join failed", token=token, now=NOW)

    answer = api("POST", "/recover")

    assert answer.status_code == 202
    assert [move["state"] for move in answer.json()["data"]["waiting"]] == ["stranded"]
    assert store.journal.memory("recover") == {"by": "api operator"}


def test_the_plan_and_the_rules_are_told(api: Any) -> None:
    assert api("GET", "/plan", role="viewer").json()["data"]["mode"] == "dry-run"
    assert api("GET", "/rules", role="viewer").json()["data"]["items"] == []


def test_each_write_is_written_down_with_who_where_what_and_the_outcome(moving: Any, api: Any) -> None:
    api("POST", "/execute-migration", WISH)
    api("POST", "/execute-migration", {**WISH, "host": "gpu-5"})
    api("POST", "/clear-cache", role=None)

    told = [(a.who, a.from_where, a.what, a.target, a.outcome) for a in moving.audits]
    assert told == [
        ("token operator", "127.0.0.1", "POST /api/execute-migration", "gpu-1", "done"),
        ("token operator", "127.0.0.1", "POST /api/execute-migration", "gpu-5", "refused_by_guards"),
        ("loopback loopback", "127.0.0.1", "POST /api/clear-cache", "", "done"),
    ]


def test_reads_are_not_written_down(moving: Any, api: Any) -> None:
    api("GET", "/journal")

    assert moving.audits == []


def test_the_audit_is_an_operators(api: Any) -> None:
    assert api("GET", "/journal/audit", role="viewer").status_code == 403
    assert api("GET", "/journal/audit").status_code == 200


@pytest.mark.parametrize("path", ["/journal", "/journal/decisions", "/freeze", "/moves/x"])
def test_a_journal_that_fails_is_a_503_and_no_empty_list(
    api: Any, store: Store, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise StoreError("journal: cannot be read")

    for name in ("moves", "move", "decisions", "current_freeze"):
        monkeypatch.setattr(store.journal, name, fails)

    answer = api("GET", path)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "journal_failed")


def test_without_a_journal_moves_say_that_there_is_none(moving: Any, served: Any) -> None:
    moving.acting = None
    served[0].app = moving.make()

    answer = requests.post(
        f"{served[1]}/api/execute-migration",
        json=WISH,
        headers={"Authorization": f"Bearer {TOKENS['operator']}"},
        timeout=TIMEOUT,
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_configured")


def test_an_unknown_move_is_a_404(api: Any) -> None:
    assert api("GET", "/moves/nothing").json()["error"]["code"] == "unknown_move"


@pytest.mark.parametrize("path", ["/journal?host=a%00b", "/journal/decisions?host=%1b", "/moves/%00"])
def test_text_that_a_database_does_not_take_is_refused_before_it_is_asked(api: Any, path: str) -> None:
    """PostgreSQL has no NUL in text: asking it would be a failure of the journal."""
    answer = api("GET", path)

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/freeze", {"reason": "a\0b"}),
        ("/execute-migration", {**WISH, "reason": "\x1b[2J"}),
        ("/execute-migration", {**WISH, "host": "gpu-1\0"}),
        ("/execute-bulk-migration", {"hosts": ["\0"], "target_aggregate": "H100-n3-spot"}),
    ],
)
def test_text_that_would_steer_a_terminal_is_not_written_down(api: Any, path: str, body: Any) -> None:
    assert api("POST", path, body).status_code == 422


def test_a_journal_that_hangs_leaves_threads_to_what_needs_none(
    moving: Any, api: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, waiting = threading.Event(), threading.Semaphore(0)

    def hanging(*_: Any, **__: Any) -> Any:
        waiting.release()
        goes_on.wait(30)
        return ()

    monkeypatch.setattr(store.journal, "moves", hanging)
    with ThreadPoolExecutor(JOURNAL_PLACES) as pool:
        held = [pool.submit(api, "GET", "/journal") for _ in range(JOURNAL_PLACES)]
        assert all(waiting.acquire(timeout=TIMEOUT) for _ in range(JOURNAL_PLACES))

        further = api("GET", "/journal")
        others = [api("GET", path).status_code for path in ("/config", "/cache-stats", "/hosts")]
        goes_on.set()
        held_codes = {one.result().status_code for one in held}

    assert (further.status_code, further.json()["error"]["code"]) == (503, "busy")
    assert (others, held_codes) == ([200, 200, 200], {200})
    assert api("GET", "/journal").status_code == 200
