"""The counting itself costs no thread for each request, and forgets whoever stays away."""

import threading
import time
from typing import Any

import pytest

from spotd.settings.api import ApiSettings
from spotd.web.api import throttle as throttle_module
from spotd.web.api.envelope import Refusal
from spotd.web.api.throttle import Kind, Throttle


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    threads: list[threading.Thread] = []
    start = threading.Thread.start

    def counting(thread: threading.Thread) -> None:
        threads.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counting)
    return threads


def test_counting_starts_no_thread_for_each_request(started: list[threading.Thread]) -> None:
    throttle = Throttle(ApiSettings)
    began = len(started)

    for number in range(200):
        throttle.count(Kind.READ, f"192.0.2.{number}")

    assert len(started) == began


def test_a_limit_holds_until_its_minute_is_over_and_not_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    throttle = Throttle(lambda: ApiSettings(writes_per_minute=1))
    throttle.count(Kind.WRITE, "a")
    with pytest.raises(Refusal):
        throttle.count(Kind.WRITE, "a")
    now += 61

    throttle.count(Kind.WRITE, "a")


def test_clients_that_stay_away_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, started: list[threading.Thread]
) -> None:
    monkeypatch.setattr(throttle_module, "SWEEP_SECONDS", 0.0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    throttle = Throttle(ApiSettings)
    storage: Any = throttle._limiter.storage
    for number in range(50):
        throttle.count(Kind.READ, f"192.0.2.{number}")
    for thread in tuple(started):
        thread.join(5)
    now += 61

    throttle.count(Kind.READ, "198.51.100.1")
    for thread in tuple(started):
        thread.join(5)

    assert len(storage.storage) == 1
