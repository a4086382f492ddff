"""The table of names, against what is exposed, against Prometheus' own rules, and against the golden text."""

import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from fleets import NOW, FleetBuilder
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from spotd.clock import SystemClock
from spotd.fleet.snapshot import FleetSnapshot
from spotd.metrics.acting_own import ActingState
from spotd.metrics.names import METRICS, PROCESS_METRICS
from spotd.metrics.own import Metrics
from spotd.planning.load import parse_rules
from spotd.planning.planner import make_plan
from spotd.store.records import MoveOrder, MovePlace, MoveRecord, MoveState
from spotd.web.scrape import Scrape

GOLDEN = Path(__file__).parents[2] / "golden" / "fleet.prom"
SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def known_fleet() -> FleetSnapshot:
    """A fleet in which every fleet metric has a value; the golden text shows it."""
    return (
        FleetBuilder()
        .host("gpu-1", "H100-n3", servers=(4, 2), netbox="active")
        .host("gpu-2", "H100-n3", netbox="active")
        .host("gpu-3", "H100-n3-spot", servers=(8,), netbox="active")
        .host("gpu-4", "H100-n3", status="disabled", netbox="active")
        .host("gpu-5", "H100-n3", netbox="failed")
        .host("gpu-6", "H100-n3", "H100-n3-spot", netbox="active")
        .host("gpu-7", "Contract-acme-1xH100", servers=(8,), netbox="active")
        .host("gpu-8", "RTX-A6000-n3-runpod", gpu_type="RTX-A6000", gpus=10, netbox="active")
        .host("gpu-9", gpu_type="RTX-A6000", gpus=10, state="down", netbox="active")
        .host("gpu-10", "H100-n3", servers=(4,), used=3, netbox="active")
        .aggregate("zone-1", "gpu-1", zone="zone-1")
        .snapshot()
    )


def _report_acting(metrics: Metrics, fleet: FleetSnapshot) -> None:
    """Everything of deciding and acting, once."""
    rules = parse_rules("rules: [{name: lend, from: [ondemand], to: spot, when: 'true'}]")
    metrics.rules_loaded(True, "active")
    metrics.planned(make_plan(rules, fleet, (), NOW, {}), {"lend": 3})
    metrics.decided("lend", "refuse", "cooldown")
    metrics.cycle_ended("planned", 0.1)
    record = ended_move()
    metrics.move_stepped(record, "fence", "do", "done", 0.1)
    metrics.move_ended(record)


def ended_move() -> MoveRecord:
    place = MovePlace(id=1, uuid="u", name="H100-n3", pool="ondemand")
    order = MoveOrder(
        host="gpu-1",
        origin=place,
        destination=MovePlace(id=2, uuid="v", name="H100-n3-spot", pool="spot"),
        gpu_type="H100",
        rule="lend",
        asked_by="rule lend",
        reason="",
        drain_deadline=None,
    )
    return MoveRecord(
        id="5e6c",
        number=1,
        order=order,
        state=MoveState.DONE,
        asked_at=NOW,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=40),
        sentence="",
        code=None,
        service_id=None,
        fenced=True,
    )


def test_a_move_in_the_histogram_names_itself_in_openmetrics() -> None:
    registry = CollectorRegistry()
    registry.register(used_metrics())

    text = openmetrics.generate_latest(registry).decode()

    assert 'spotd_move_duration_seconds_bucket{le="45.0",outcome="done"} 1.0 # {move_id="5e6c"} 40.0' in text


def used_metrics() -> Metrics:
    """Metrics to which everything was reported once."""
    fleet = known_fleet()
    metrics = Metrics(
        CollectorRegistry(),
        lambda: fleet,
        SystemClock(),
        agents=("netbox", "aggregates", "servers", "gpus"),
        cache_state=lambda: {"netbox": (1.0, 1)},
        pool_state=lambda: (8, 1, 0),
        abandoned_calls=lambda: 0,
        acting_state=lambda: ActingState(
            is_leader=True, is_frozen=True, frozen_since=NOW, moves_in_progress=1, stranded=0, journal_up=True
        ),
    )
    _report_acting(metrics, fleet)
    metrics.agent_ran("servers", 1.0, {"servers": 1})
    metrics.agent_failed("gpus", 1.0, "timeout")
    metrics.agent_skipped("netbox", "running")
    metrics.collection_finished(1.0, 2.0, 10.0)
    metrics.collection_missed("late")
    metrics.cache_requested("netbox", hit=True)
    metrics.cloud_answered("nova", "servers", "200", 0.1, 10)
    metrics.http_answered("/metrics", "GET", 200, 0.01)
    metrics.job_ran("collect")
    metrics.job_missed("collect")
    metrics.reloaded(ok=True)
    return metrics


def whole_text() -> str:
    return Scrape(used_metrics()).answer().body.decode()


def test_what_is_exposed_is_the_table_and_the_table_is_exposed() -> None:
    families = [family for family in text_string_to_metric_families(whole_text()) if family.samples]

    exposed = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert exposed == {description.name for description in METRICS}


def test_types_labels_and_help_are_those_of_the_table() -> None:
    table = {description.name: description for description in METRICS}
    text = text_string_to_metric_families(whole_text())

    for family in text:
        description = table[family.name + ("_total" if family.type == "counter" else "")]
        assert family.type == description.kind
        if description not in PROCESS_METRICS:
            assert family.documentation == description.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(description.labels), sample


def test_no_name_is_in_the_table_twice() -> None:
    table = [description.name for description in METRICS]

    assert sorted(set(table)) == sorted(table)


@pytest.mark.parametrize("description", METRICS, ids=lambda description: description.name)
def test_every_help_is_made_of_sentences(description: object) -> None:
    text = getattr(description, "help", "")

    assert text[0].isupper()
    assert text.endswith(".")
    assert "  " not in text


def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH; it is part of the package prometheus")

    checked = subprocess.run(
        [promtool, "check", "metrics"], input=whole_text(), capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_exposition_of_a_known_fleet_is_the_golden_text() -> None:
    """SPOTD_UPDATE_GOLDEN=1 writes the file anew; look at the diff before committing it."""
    fleet = known_fleet()
    registry = CollectorRegistry()
    registry.register(Metrics(CollectorRegistry(), lambda: fleet, SystemClock()).fleet)

    text = generate_latest(registry).decode()

    if os.environ.get("SPOTD_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
