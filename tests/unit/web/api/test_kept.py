"""Answers from the snapshot are made once, and never for another snapshot or question."""

import asyncio
import json
import threading
from typing import Any

import pytest
import requests
from fastapi import Request
from fleets import FleetBuilder

from spotd.fleet.snapshot import FleetSnapshot
from spotd.web.api import kept as kept_module
from spotd.web.api.envelope import Code, Refusal
from spotd.web.api.kept import KEPT_BYTES, Kept

TIMEOUT = 5


def snapshot() -> FleetSnapshot:
    return FleetBuilder().host("gpu-1", "H100-n3").snapshot()


def request_of(path: str, query: bytes = b"") -> Request:
    return Request({"type": "http", "method": "GET", "path": path, "query_string": query, "headers": []})


class Maker:
    """Counts how often it is asked."""

    def __init__(self, answer: Any = "made") -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def data(kept: Kept, found: FleetSnapshot, make: Any, path: str = "/a", query: bytes = b"") -> Any:
    answer = await kept.told(request_of(path, query), found, make)
    return json.loads(bytes(answer.body))["data"]


def test_the_same_question_about_the_same_snapshot_is_answered_once() -> None:
    kept, found, make = Kept(), snapshot(), Maker()

    async def scenario() -> list[Any]:
        return [await data(kept, found, make) for _ in range(3)]

    assert (asyncio.run(scenario()), make.asked) == (["made"] * 3, 1)


def test_who_asks_while_an_answer_is_made_waits_for_that_one() -> None:
    kept, found = Kept(), snapshot()
    go_on = threading.Event()
    asked: list[int] = []

    def slow() -> str:
        asked.append(1)
        go_on.wait(5)
        return "made"

    async def scenario() -> list[Any]:
        waiting = [asyncio.ensure_future(data(kept, found, slow)) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        go_on.set()
        return await asyncio.gather(*waiting[1:])

    assert (asyncio.run(scenario()), len(asked)) == (["made"] * 4, 1)


def test_another_snapshot_path_or_query_is_another_question() -> None:
    kept, found, make = Kept(), snapshot(), Maker()

    async def scenario() -> None:
        await data(kept, found, make)
        await data(kept, snapshot(), make)
        await data(kept, found, make)  # the first one's answer went with its snapshot
        await data(kept, found, make, "/b")
        await data(kept, found, make, "/b", b"limit=1")

    asyncio.run(scenario())
    assert make.asked == 5


def test_a_refusal_is_not_kept() -> None:
    kept, found, make = Kept(), snapshot(), Maker(Refusal(Code.UNKNOWN_GPU_TYPE, "no"))

    async def scenario() -> None:
        for _ in range(2):
            with pytest.raises(Refusal):
                await data(kept, found, make)
        make.answer = "made"
        assert await data(kept, found, make) == "made"

    asyncio.run(scenario())
    assert make.asked == 3


def test_an_answer_of_a_snapshot_that_is_gone_is_told_and_not_kept() -> None:
    kept, old, new = Kept(), snapshot(), snapshot()
    go_on = threading.Event()

    def slow() -> str:
        go_on.wait(5)
        return "old"

    async def scenario() -> list[Any]:
        first = asyncio.ensure_future(data(kept, old, slow))
        await asyncio.sleep(0)
        second = await data(kept, new, Maker("new"))
        go_on.set()
        return [await first, second, await data(kept, new, Maker("again"))]

    assert asyncio.run(scenario()) == ["old", "new", "new"]


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "KEPT_BYTES", 1000)
    monkeypatch.setattr(kept_module, "LARGEST_KEPT_BYTES", 400)
    kept, found = Kept(), snapshot()
    first, large = Maker("x" * 300), Maker("x" * 500)

    async def scenario() -> None:
        for _ in range(2):
            await data(kept, found, large, "/large")
        await data(kept, found, first, "/first")
        for number in range(10):
            await data(kept, found, Maker("x" * 300), f"/{number}")
        await data(kept, found, first, "/first")

    asyncio.run(scenario())
    assert (large.asked, first.asked) == (2, 2)


def test_an_answer_that_is_kept_has_the_envelope_of_its_own_request(face: Any, url: str) -> None:
    first, second = (requests.get(f"{url}/api/hosts", timeout=TIMEOUT).json() for _ in range(2))

    assert first["data"] == second["data"]
    assert first["metadata"]["timestamp"] < second["metadata"]["timestamp"]
    assert second["metadata"]["snapshot_timestamp"] == face.snapshot.assembled_at.timestamp()


def test_a_new_snapshot_is_shown_at_once(face: Any, url: str) -> None:
    before = requests.get(f"{url}/api/hosts", timeout=TIMEOUT).json()["data"]["total"]
    face.snapshot = FleetBuilder().host("gpu-1", "H100-n3").host("gpu-2", "H100-n3").snapshot()

    after = requests.get(f"{url}/api/hosts", timeout=TIMEOUT).json()["data"]["total"]
    face.snapshot = None

    gone = requests.get(f"{url}/api/hosts", timeout=TIMEOUT)
    assert (before, after, gone.status_code) == (1, 2, 503)


def test_long_questions_with_short_answers_take_no_more_room_than_is_given() -> None:
    """A stranger writes as much into a query as he likes, and no part of it need be known."""
    kept, found, make = Kept(), snapshot(), Maker(answer="x")

    async def scenario() -> None:
        for number in range(2 * KEPT_BYTES // 8_000):
            await data(kept, found, make, query=b"%d&" % number + b"a" * 8_000)

    asyncio.run(scenario())

    assert sum(len(path) + len(query) for path, query in kept._made) <= KEPT_BYTES
