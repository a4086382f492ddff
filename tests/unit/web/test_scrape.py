"""Answers to scrapes."""

import gzip
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fleets import FleetBuilder
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from spotd.clock import SystemClock
from spotd.fleet.snapshot import FleetSnapshot
from spotd.metrics.own import Metrics
from spotd.web.scrape import Format, Scrape, accepts_gzip, negotiated

PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


class Counted:
    """A source of snapshots whose rendering is counted by reading its hosts."""

    def __init__(self, snapshot: FleetSnapshot | None) -> None:
        self.snapshot = snapshot

    def latest(self) -> FleetSnapshot | None:
        return self.snapshot


def scrape_of(source: Counted) -> tuple[Scrape, Metrics]:
    metrics = Metrics(CollectorRegistry(), source.latest, SystemClock(), agents=("servers",))
    return Scrape(metrics), metrics


def fleet() -> FleetSnapshot:
    return FleetBuilder().host("a", "H100-n3", servers=(4,)).snapshot()


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format.TEXT),
        ("text/plain;version=0.0.4", Format.TEXT),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0", Format.OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", Format.TEXT),
        ("application/openmetrics-text;version=9.9.9", Format.TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.9", Format.TEXT),
        ("application/openmetrics-text;q=0", Format.TEXT),
        ("application/openmetrics-text;q=nonsense", Format.TEXT),
        (PROMETHEUS_ACCEPT, Format.OPENMETRICS),
        (";;;,=,;q", Format.TEXT),
    ],
)
def test_the_format_is_the_one_the_client_likes_most(accept: str, wanted: Format) -> None:
    assert negotiated(accept) is wanted


@pytest.mark.parametrize(
    ("accept_encoding", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("xgzip", False),
    ],
)
def test_gzip_is_used_where_the_client_takes_it(accept_encoding: str, wanted: object) -> None:
    assert accepts_gzip(accept_encoding) is wanted


def test_the_openmetrics_answer_is_valid_and_has_both_parts() -> None:
    scrape, _ = scrape_of(Counted(fleet()))

    answer = scrape.answer("application/openmetrics-text")

    families = {family.name for family in openmetrics_families(answer.body.decode())}
    assert {"spotd_host_gpus", "spotd_build_info", "spotd_agent_runs"} <= families
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")


def test_the_plain_answer_has_both_parts() -> None:
    scrape, _ = scrape_of(Counted(fleet()))

    answer = scrape.answer()

    families = {family.name for family in text_string_to_metric_families(answer.body.decode())}
    assert {"spotd_host_gpus", "spotd_build_info"} <= families
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
def test_the_compressed_answer_is_one_gzip_stream_of_the_same_text(accept: str) -> None:
    scrape, _ = scrape_of(Counted(fleet()))

    for _ in range(2):
        answer = scrape.answer(accept, "gzip")
        text = gzip.decompress(answer.body)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert text.count(b"# TYPE spotd_host_gpus gauge\n") == 1
        assert text.count(b"# TYPE spotd_build_info gauge\n") == 1


def test_before_the_first_snapshot_only_its_own_metrics_are_there() -> None:
    scrape, _ = scrape_of(Counted(None))

    text = gzip.decompress(scrape.answer("", "gzip").body)

    assert b"spotd_build_info{" in text
    assert b"spotd_host_gpus" not in text


def test_a_new_snapshot_is_seen_at_once() -> None:
    source = Counted(fleet())
    scrape, _ = scrape_of(source)
    assert b'host="a"' in scrape.answer().body

    source.snapshot = FleetBuilder().host("b", "H100-n3").snapshot()
    text = scrape.answer().body

    assert b'host="b"' in text
    assert b'host="a"' not in text


def test_a_snapshot_that_became_too_old_takes_its_series_along() -> None:
    source = Counted(fleet())
    scrape, _ = scrape_of(source)
    assert b"spotd_host_gpus" in scrape.answer().body

    source.snapshot = None

    assert b"spotd_host_gpus" not in scrape.answer().body


def test_the_fleet_is_rendered_once_for_each_snapshot() -> None:
    class Hosts(dict[str, object]):
        reads = 0

        def values(self) -> object:  # type: ignore[override]
            Hosts.reads += 1
            return super().values()

    snapshot = fleet()
    source = Counted(replace(snapshot, hosts=Hosts(snapshot.hosts)))  # type: ignore[arg-type]
    scrape, _ = scrape_of(source)
    scrape.answer()
    reads = Hosts.reads

    for _ in range(3):
        scrape.answer("", "gzip")

    assert reads > 0
    assert reads == Hosts.reads


def test_prepare_renders_so_that_no_scrape_has_to() -> None:
    source = Counted(fleet())
    scrape, _ = scrape_of(source)
    scrape.answer("application/openmetrics-text")
    source.snapshot = replace(fleet())

    scrape.prepare()

    # Rendering it again would fail: hosts that cannot be read stand for work.
    kept = source.snapshot
    object.__setattr__(kept, "hosts", None)
    assert b"spotd_host_gpus{" in scrape.answer("application/openmetrics-text").body


def test_a_fleet_that_cannot_be_rendered_leaves_its_own_metrics_and_counts() -> None:
    scrape, metrics = scrape_of(Counted(replace(fleet(), hosts=None)))  # type: ignore[arg-type]

    text = scrape.answer().body

    assert b"spotd_build_info{" in text
    assert metrics.registry.get_sample_value("spotd_metrics_errors_total", {"part": "fleet"}) == 1


def test_each_answer_counts_as_a_request_for_the_snapshot() -> None:
    source = Counted(fleet())
    asked: list[int] = []

    def requested() -> FleetSnapshot | None:
        asked.append(1)
        return source.latest()

    metrics = Metrics(CollectorRegistry(), source.latest, SystemClock())
    scrape = Scrape(metrics, requested)

    scrape.prepare()
    scrape.answer()
    scrape.answer("application/openmetrics-text", "gzip")

    assert len(asked) == 2


def test_many_scrapes_at_once_all_get_the_whole_answer() -> None:
    scrape, _ = scrape_of(Counted(fleet()))
    texts: list[bytes] = []

    def ask() -> None:
        texts.extend(gzip.decompress(scrape.answer("", "gzip").body) for _ in range(5))

    for thread in (threads := [threading.Thread(target=ask) for _ in range(8)]):
        thread.start()
    for thread in threads:
        thread.join()

    assert len(texts) == 40
    assert all(b"spotd_host_gpus{" in text and b"spotd_build_info{" in text for text in texts)


@pytest.fixture(autouse=True)
def _no_stray_threads() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() <= before
