"""The stream of events: told to all, bounded for each."""

import asyncio
import json
import threading
from datetime import timedelta
from typing import Any

import pytest
import requests
from waiting import until

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.identity import TokenOwner
from spotd.settings.api import ApiSettings
from spotd.web import events as events_module
from spotd.web.api.auth import hash_of, new_token
from spotd.web.events import EVENTS_KEPT, EventHub, TooManyStreams, encoded


def told(lines: Any, event: str) -> Any:
    """The data of the next event of this kind."""
    for line in lines:
        if line == f"event: {event}".encode():
            return json.loads(next(lines).removeprefix(b"data: "))
    raise AssertionError("the stream ended")


def test_a_stream_tells_what_happens(face: Any, url: str) -> None:
    with requests.get(f"{url}/api/events", stream=True, timeout=5) as answer:
        until(lambda: face.events.count() == 1, seconds=5)
        face.events.publish("snapshot", {"hosts": 3})

        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert told(answer.iter_lines(), "snapshot") == {"hosts": 3}


def test_a_client_that_leaves_frees_its_stream(face: Any, url: str) -> None:
    with requests.get(f"{url}/api/events", stream=True, timeout=5):
        until(lambda: face.events.count() == 1, seconds=5)

    until(lambda: face.events.count() == 0, seconds=5)


def test_more_streams_than_allowed_are_refused(face: Any, url: str) -> None:
    face.api = ApiSettings.model_validate({"event_streams": 1})
    with requests.get(f"{url}/api/events", stream=True, timeout=5):
        until(lambda: face.events.count() == 1, seconds=5)

        answer = requests.get(f"{url}/api/events", timeout=5)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")


def test_one_client_cannot_take_all_streams(face: Any, url: str) -> None:
    token = new_token()
    face.api = ApiSettings.model_validate(
        {
            "event_streams_per_client": 1,
            "tokens": [{"name": "board", "role": "viewer", "hash": hash_of(token)}],
        }
    )
    with requests.get(f"{url}/api/events", stream=True, timeout=5):
        until(lambda: face.events.count() == 1, seconds=5)

        again = requests.get(f"{url}/api/events", timeout=5)
        headers = {"X-Auth-Token": token}
        with requests.get(f"{url}/api/events", stream=True, headers=headers, timeout=5) as other:
            assert (again.status_code, other.status_code) == (503, 200)


@pytest.mark.parametrize("change", ["revoked", "expired"])
def test_a_stream_ends_when_its_token_does(
    face: Any, url: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(events_module, "KEEP_ALIVE_SECONDS", 0.05)
    token = new_token()
    known = {"name": "board", "role": "viewer", "hash": hash_of(token)}
    if change == "expired":
        known["expires"] = (face.now + timedelta(seconds=1)).isoformat()
    face.api = ApiSettings.model_validate({"tokens": [known]})
    with requests.get(f"{url}/api/events", stream=True, headers={"X-Auth-Token": token}, timeout=5) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(b":"))
        if change == "expired":
            face.now += timedelta(seconds=1)
        else:
            face.api = ApiSettings()

        assert [line for line in lines if line.startswith(b"event:")] == []

    until(lambda: face.events.count() == 0, seconds=5)


def test_a_stream_goes_on_while_keystone_cannot_tell(
    face: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "KEEP_ALIVE_SECONDS", 0.05)
    mapped = {"keystone_roles": {"admin": "viewer"}, "keystone_cache_seconds": 0.01}
    face.api = ApiSettings.model_validate(mapped)
    ends = face.now + timedelta(hours=1)
    ada = TokenOwner(user="ada", projects=frozenset(), roles=frozenset({"admin"}), expires_at=ends)
    face.owners = {"of-ada": ada}
    switch, url = served
    switch.app = face.app()
    headers = {"X-Auth-Token": "of-ada"}
    with requests.get(f"{url}/api/events", stream=True, headers=headers, timeout=5) as answer:
        face.owners = {"of-ada": CloudError(Failure.CONNECTION, "keystone: no connection")}
        asked = face.keystone_asked
        until(lambda: face.keystone_asked >= asked + 3, seconds=5)
        face.events.publish("snapshot", {"hosts": 3})

        assert told(answer.iter_lines(), "snapshot") == {"hosts": 3}


def test_a_stream_ends_after_its_longest_time(face: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(events_module, "LONGEST_SECONDS", 0.2)

    with requests.get(f"{url}/api/events", stream=True, timeout=5) as answer:
        until_its_end = list(answer.iter_lines())

    assert until_its_end[0] == b"retry: 3000"


def test_events_of_many_threads_come_in_the_order_of_their_numbers(face: Any, url: str) -> None:
    with requests.get(f"{url}/api/events", stream=True, timeout=5) as answer:
        until(lambda: face.events.count() == 1, seconds=5)

        def publish() -> None:
            for number in range(5):
                face.events.publish("move", {"step": number})

        threads = [threading.Thread(target=publish) for _ in range(8)]
        for thread in threads:
            thread.start()
        lines = (line for line in answer.iter_lines() if line.startswith(b"id: "))
        numbers = [int(next(lines).removeprefix(b"id: ")) for _ in range(40)]

    assert numbers == sorted(numbers)


def test_a_hub_that_closes_ends_its_streams_after_what_they_have_not_sent(face: Any, url: str) -> None:
    with requests.get(f"{url}/api/events", stream=True, timeout=5) as answer:
        until(lambda: face.events.count() == 1, seconds=5)
        face.events.publish("snapshot", {"hosts": 3})

        face.events.close()

        lines = list(answer.iter_lines())

    assert b'data: {"hosts":3}' in lines
    assert requests.get(f"{url}/api/events", timeout=5).status_code == 503


def test_the_time_of_a_stream_is_not_the_time_of_its_answer(face: Any, url: str) -> None:
    with requests.get(f"{url}/api/events", stream=True, timeout=5):
        until(lambda: face.requests("/api/events", "GET", 200) == 1, seconds=5)


def test_publishing_without_streams_costs_nothing() -> None:
    EventHub().publish("snapshot", {"hosts": 3})


def test_data_cannot_end_an_event_early() -> None:
    assert encoded("move", {"sentence": "a\n\nevent: forged"}).count(b"\n\n") == 1


def test_a_stream_that_is_not_read_loses_the_oldest_and_says_so() -> None:
    sent: list[bytes] = []

    async def scenario() -> None:
        hub = EventHub()
        stream = hub.open(1)
        for number in range(EVENTS_KEPT + 10):
            stream.put(encoded("snapshot", {"n": number}))
        leave = asyncio.Event()

        async def receive() -> Any:
            await leave.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if b"lost" in sent[-1]:
                leave.set()

        await asyncio.wait_for(stream({}, receive, send), 5)
        assert hub.count() == 0

    asyncio.run(scenario())

    whole = b"".join(sent)
    assert b'event: lost\ndata: {"events":10}' in whole
    assert b'{"n":9}' not in whole
    assert b'{"n":10}' in whole


def test_events_come_from_any_thread(face: Any, url: str) -> None:
    with requests.get(f"{url}/api/events", stream=True, timeout=5) as answer:
        until(lambda: face.events.count() == 1, seconds=5)
        threads = [threading.Thread(target=face.events.publish, args=("move", {"step": n})) for n in range(8)]
        for thread in threads:
            thread.start()
        lines = answer.iter_lines()
        steps = {told(lines, "move")["step"] for _ in threads}

    assert steps == set(range(8))


def test_a_hub_refuses_more_than_the_most() -> None:
    async def scenario() -> bool:
        hub = EventHub()
        hub.open(1)
        try:
            hub.open(1)
        except TooManyStreams:
            return True
        return False

    assert asyncio.run(scenario())
