"""What spotd tells of itself."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from spotd.metrics.agents_own import FAILURE_REASONS
from spotd.metrics.own import Metrics

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


@dataclass
class FixedClock:
    wall: datetime = NOW

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return 0.0


def make_metrics(**keywords: object) -> Metrics:
    return Metrics(
        CollectorRegistry(), lambda: None, FixedClock(), **{"agents": ("netbox", "servers"), **keywords}
    )


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_an_agent_that_never_ran_has_counters_at_zero_and_no_success() -> None:
    metrics = make_metrics()

    assert value(metrics, "spotd_agent_runs_total", agent="servers") == 0
    assert value(metrics, "spotd_agent_failures_total", agent="servers", reason="timeout") == 0
    assert value(metrics, "spotd_agent_success", agent="servers") is None
    assert value(metrics, "spotd_agent_last_success_timestamp_seconds", agent="servers") is None


def test_a_run_tells_its_success_its_time_and_its_items() -> None:
    metrics = make_metrics()

    metrics.agent_ran("servers", 1.5, {"servers": 7})

    assert value(metrics, "spotd_agent_success", agent="servers") == 1
    assert value(metrics, "spotd_agent_duration_seconds", agent="servers") == 1.5
    assert value(metrics, "spotd_agent_last_success_timestamp_seconds", agent="servers") == NOW.timestamp()
    assert value(metrics, "spotd_agent_items", agent="servers", kind="servers") == 7


def test_a_failure_keeps_the_last_success_and_its_items() -> None:
    metrics = make_metrics()
    metrics.agent_ran("servers", 1.5, {"servers": 7})

    metrics.agent_failed("servers", 30.0, "timeout")

    assert value(metrics, "spotd_agent_success", agent="servers") == 0
    assert value(metrics, "spotd_agent_failures_total", agent="servers", reason="timeout") == 1
    assert value(metrics, "spotd_agent_runs_total", agent="servers") == 2
    assert value(metrics, "spotd_agent_last_success_timestamp_seconds", agent="servers") == NOW.timestamp()
    assert value(metrics, "spotd_agent_items", agent="servers", kind="servers") == 7


def test_an_agent_that_only_failed_has_no_time_of_success() -> None:
    metrics = make_metrics()

    metrics.agent_failed("servers", 1.0, "tls")

    assert value(metrics, "spotd_agent_success", agent="servers") == 0
    assert value(metrics, "spotd_agent_last_success_timestamp_seconds", agent="servers") is None


def test_a_reason_outside_the_closed_set_is_other() -> None:
    metrics = make_metrics()

    metrics.agent_failed("servers", 1.0, "a whole sentence with an id 4711")

    assert value(metrics, "spotd_agent_failures_total", agent="servers", reason="other") == 1


def test_an_agent_that_is_not_configured_has_no_series_even_when_a_run_ends_late() -> None:
    metrics = make_metrics()
    metrics.agent_ran("netbox", 1.0, {"devices": 1})

    metrics.agents_configured(["servers"])
    metrics.agent_ran("netbox", 1.0, {"devices": 1})
    metrics.agent_failed("netbox", 1.0, "timeout")
    metrics.agent_skipped("netbox", "running")

    assert b'agent="netbox"' not in generate_latest(metrics.registry)
    assert value(metrics, "spotd_agent_runs_total", agent="servers") == 0


def test_a_collection_tells_its_time_speed_and_speedup() -> None:
    metrics = make_metrics()

    metrics.collection_finished(2.0, 3.5, 500.0)
    metrics.collection_missed("overlapped")

    assert value(metrics, "spotd_collection_duration_seconds") == 2.0
    assert value(metrics, "spotd_collection_speedup_ratio") == 3.5
    assert value(metrics, "spotd_collection_hosts_per_second") == 500.0
    assert value(metrics, "spotd_collections_total") == 1
    assert value(metrics, "spotd_collections_missed_total", reason="overlapped") == 1


def test_the_hit_ratio_is_absent_without_requests_and_else_hits_over_requests() -> None:
    metrics = make_metrics()
    assert value(metrics, "spotd_cache_hit_ratio", layer="netbox") is None

    for hit in (True, True, True, False):
        metrics.cache_requested("netbox", hit=hit)

    assert value(metrics, "spotd_cache_requests_total", layer="netbox") == 4
    assert value(metrics, "spotd_cache_hits_total", layer="netbox") == 3
    assert value(metrics, "spotd_cache_hit_ratio", layer="netbox") == 0.75


def test_an_empty_cache_layer_has_neither_age_nor_entries() -> None:
    metrics = make_metrics(cache_state=lambda: {"netbox": (12.0, 3), "gpus": (None, None)})

    assert value(metrics, "spotd_cache_age_seconds", layer="netbox") == 12.0
    assert value(metrics, "spotd_cache_entries", layer="netbox") == 3
    assert value(metrics, "spotd_cache_age_seconds", layer="gpus") is None
    assert value(metrics, "spotd_cache_entries", layer="gpus") is None


@pytest.mark.parametrize(
    ("code", "label"),
    [("200", "200"), ("503", "503"), ("timeout", "timeout"), ("999", "other"), ("oops", "other")],
)
def test_a_cloud_request_is_counted_by_status_or_failure(code: str, label: str) -> None:
    metrics = make_metrics()

    metrics.cloud_answered("nova", "servers", code, 0.2, 1000)

    labels = {"service": "nova", "operation": "servers"}
    assert value(metrics, "spotd_cloud_requests_total", code=label, **labels) == 1
    assert value(metrics, "spotd_cloud_response_bytes_total", **labels) == 1000
    assert value(metrics, "spotd_cloud_request_duration_seconds_bucket", le="0.25", **labels) == 1
    assert value(metrics, "spotd_cloud_request_duration_seconds_bucket", le="0.1", **labels) == 0


def test_an_invented_http_method_is_other() -> None:
    metrics = make_metrics()

    metrics.http_answered("/metrics", "BREW", 405, 0.01)

    assert value(metrics, "spotd_http_requests_total", route="/metrics", method="other", code="405") == 1


def test_the_thread_pool_is_absent_until_it_is_known() -> None:
    assert value(make_metrics(), "spotd_thread_pool_busy") is None

    metrics = make_metrics(pool_state=lambda: (8, 3, 1), abandoned_calls=lambda: 2)

    assert value(metrics, "spotd_thread_pool_threads_max") == 8
    assert value(metrics, "spotd_thread_pool_busy") == 3
    assert value(metrics, "spotd_thread_pool_queue") == 1
    assert value(metrics, "spotd_abandoned_calls") == 2


def test_a_job_tells_its_runs_its_misses_and_its_last_time() -> None:
    metrics = make_metrics()

    metrics.job_ran("collect")
    metrics.job_missed("collect")

    assert value(metrics, "spotd_scheduler_job_runs_total", task="collect") == 1
    assert value(metrics, "spotd_scheduler_jobs_missed_total", task="collect") == 1
    assert value(metrics, "spotd_scheduler_last_run_timestamp_seconds", task="collect") == NOW.timestamp()


def test_a_failed_reload_keeps_the_time_of_the_last_good_one() -> None:
    metrics = make_metrics()
    assert value(metrics, "spotd_config_last_reload_successful") is None
    metrics.reloaded(ok=True)

    metrics.reloaded(ok=False)

    assert value(metrics, "spotd_config_last_reload_successful") == 0
    assert value(metrics, "spotd_config_last_reload_success_timestamp_seconds") == NOW.timestamp()


def test_a_part_that_fails_harms_no_other_and_is_counted() -> None:
    def broken() -> dict[str, tuple[float, int]]:
        raise RuntimeError("broken")

    metrics = make_metrics(cache_state=broken)

    assert value(metrics, "spotd_metrics_errors_total", part="cache") == 1
    assert value(metrics, "spotd_build_info") is None
    assert b"spotd_build_info{" in generate_latest(metrics.registry)


def test_no_created_series_double_the_counters() -> None:
    metrics = make_metrics()
    metrics.cloud_answered("nova", "servers", "200", 0.2, 1)

    assert b"_created" not in b"".join(
        line for line in generate_latest(metrics.registry).splitlines() if line.startswith(b"spotd_")
    )


def test_two_objects_share_nothing() -> None:
    one, other = make_metrics(), make_metrics()

    one.agent_ran("servers", 1.0, {})

    assert value(other, "spotd_agent_runs_total", agent="servers") == 0


def test_the_failures_of_clouds_are_all_in_the_closed_set() -> None:
    errors = pytest.importorskip("spotd.clouds.errors")

    assert {failure.value for failure in errors.Failure} <= FAILURE_REASONS
