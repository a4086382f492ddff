"""Forced collections: shared by all who ask together, never older than the question, bounded in rate."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from spotd.agents.state import AgentName
from spotd.settings.api import ApiSettings
from spotd.web.api.refresh import Refresher, RefreshFailed, RefreshOutcome

TIMEOUT = 10


class Collections:
    """Counts them; each waits until it may end."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self) -> RefreshOutcome:
        self.began.append(time.monotonic())
        assert self.may_end.wait(5)
        return RefreshOutcome(seconds=0.1, failures={"netbox": "netbox: no answer"}, unfinished=("gpus",))


def test_all_who_ask_while_one_runs_share_the_next() -> None:
    collections = Collections()
    collections.may_end.clear()
    refresher = Refresher(collections, spacing_seconds=lambda: 0.0)
    first = refresher.ask()
    while not collections.began:
        time.sleep(0.001)

    later = [refresher.ask() for _ in range(5)]
    collections.may_end.set()

    assert {id(future) for future in later} == {id(later[0])} != {id(first)}
    assert (first.result(5).asked_together, later[0].result(5).asked_together) == (1, 5)
    assert len(collections.began) == 2


def test_two_collections_never_begin_closer_than_the_spacing() -> None:
    collections = Collections()
    refresher = Refresher(collections, spacing_seconds=lambda: 0.2)

    refresher.ask().result(5)
    refresher.ask().result(5)

    assert collections.began[1] - collections.began[0] >= 0.2


def test_those_who_wait_are_told_where_it_fails() -> None:
    def fails() -> RefreshOutcome:
        raise RuntimeError("closed")

    with pytest.raises(RefreshFailed):
        Refresher(fails, spacing_seconds=lambda: 0.0).ask().result(5)


def test_a_closed_refresher_keeps_nobody_waiting() -> None:
    refresher = Refresher(Collections(), spacing_seconds=lambda: 60.0)
    refresher.ask().result(5)
    waiting = refresher.ask()

    refresher.close()

    with pytest.raises(RefreshFailed):
        waiting.result(5)


def test_twenty_forced_reads_at_once_cost_few_collections(face: Any, url: str) -> None:
    collections = Collections()
    face.collect = collections
    face.api = ApiSettings.model_validate({"refresh_spacing_seconds": 0.3})
    address = f"{url}/api/aggregates/H100?force_refresh=true"

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: requests.get(address, timeout=TIMEOUT), range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(collections.began) <= 3


def test_waiting_for_a_collection_holds_no_thread(face: Any, url: str) -> None:
    """Otherwise those who wait would keep Prometheus from its scrape."""
    collections = Collections()
    collections.may_end.clear()
    face.collect = collections
    face.api = ApiSettings.model_validate({"refreshes_per_minute": 100})
    with ThreadPoolExecutor(60) as pool:
        waiting = [
            pool.submit(requests.post, f"{url}/api/refresh-all-data", timeout=TIMEOUT) for _ in range(60)
        ]
        while not collections.began:
            time.sleep(0.001)

        started = time.monotonic()
        scraped = requests.get(f"{url}/metrics", timeout=TIMEOUT)
        seconds = time.monotonic() - started
        collections.may_end.set()

    assert (scraped.status_code, seconds < 3) == (200, True)
    # Those that came before the first began share it; a second one needs the spacing.
    assert {future.result().status_code for future in waiting} == {200}


def test_a_refresh_tells_which_agents_brought_nothing(face: Any, url: str) -> None:
    face.collect = Collections()

    data = requests.post(f"{url}/api/refresh-all-data", timeout=TIMEOUT).json()["data"]

    assert data["failures"] == {"netbox": "netbox: no answer"}
    assert data["unfinished"] == ["gpus"]


@pytest.mark.parametrize("error", [RuntimeError("closed"), KeyError("gpu-1"), TimeoutError()], ids=repr)
def test_a_refresh_that_did_not_happen_is_a_503(face: Any, url: str, error: Exception) -> None:
    def fails() -> RefreshOutcome:
        raise error

    face.collect = fails
    answer = requests.post(f"{url}/api/refresh-all-data", timeout=TIMEOUT)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "refresh_failed")


def test_clearing_makes_the_next_collection_ask_every_cloud_and_forgets_nothing(face: Any, url: str) -> None:
    answer = requests.post(f"{url}/api/clear-cache", timeout=TIMEOUT)

    assert answer.status_code == 200
    assert face.expired == [frozenset(AgentName)]
    assert requests.get(f"{url}/api/hosts/gpu-1", timeout=TIMEOUT).status_code == 200


def test_clearing_for_a_host_names_the_layers_that_tell_of_it(face: Any, url: str) -> None:
    data = requests.post(f"{url}/api/clear-cache/gpu-1", timeout=TIMEOUT).json()["data"]

    assert data == {"layers": ["aggregates", "gpus", "servers", "services"], "host": "gpu-1"}
    assert face.expired == [frozenset({AgentName.AGGREGATES, AgentName.GPUS, AgentName.SERVERS})]


def test_clearing_for_an_unknown_host_is_a_404(url: str) -> None:
    assert requests.post(f"{url}/api/clear-cache/nobody", timeout=TIMEOUT).status_code == 404
