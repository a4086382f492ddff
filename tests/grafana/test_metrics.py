"""Boards name only metrics, labels and columns that spotd has."""

import re
from typing import Any

import pytest
from grafana_boards import (
    BOARDS,
    GROUPING,
    LEGEND,
    MATCHER,
    SELECTOR,
    Asked,
    filled_in,
    overrides,
    panels,
    queries,
    variables,
)
from played_spotd import exposition
from prometheus_client.parser import text_string_to_metric_families

from spotd.metrics.names import METRICS

TARGET_LABELS = {"job", "instance"}


def exposed() -> dict[str, set[str]]:
    """Every series name that spotd exposes, with its labels and those of its target."""
    found: dict[str, set[str]] = {"up": set(TARGET_LABELS)}
    for metric in METRICS:
        labels = {*metric.labels, *TARGET_LABELS}
        if metric.kind == "histogram":
            found |= {f"{metric.name}_sum": labels, f"{metric.name}_count": labels}
            found[f"{metric.name}_bucket"] = labels | {"le"}
        else:
            found[metric.name] = labels
    return found


KNOWN = exposed()
QUERIES = list(queries())
TABLES = [(board, panel) for board in BOARDS for panel in panels(board) if panel["type"] == "table"]


def customers() -> list[str]:
    """The labels that may stand for a customer."""
    chosen: list[str] = variables("customer")["by"]["query"].split(",")
    return chosen


def names_in(text: str) -> set[str]:
    """Label names in a list with commas."""
    return {name.strip() for name in text.split(",") if name.strip()}


@pytest.mark.parametrize("asked", QUERIES, ids=[asked.place for asked in QUERIES])
def test_a_query_names_only_metrics_and_labels_that_spotd_has(asked: Asked) -> None:
    for by in customers():
        expr = filled_in(asked.expr, {"by": by})
        named: set[str] = set()
        for name, matchers in SELECTOR.findall(expr):
            assert name in KNOWN, name
            assert {label for label, _ in MATCHER.findall(matchers)} <= KNOWN[name]
            named |= KNOWN[name]
        for grouping in GROUPING.findall(expr):
            assert names_in(grouping) <= named
        assert set(LEGEND.findall(asked.legend)) <= named


@pytest.mark.parametrize("board", BOARDS)
def test_a_variable_names_only_metrics_and_labels_that_spotd_has(board: str) -> None:
    for variable in variables(board).values():
        if variable["type"] != "query":
            continue
        for by in customers():
            asked = filled_in(variable["query"]["query"], {"by": by})
            found = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", asked)
            assert found is not None, asked
            name, matchers, label = found.groups()
            assert {label, *(each for each, _ in MATCHER.findall(matchers or ""))} <= KNOWN[name]


@pytest.mark.parametrize(("board", "panel"), TABLES, ids=[f"{b}: {p['title']}" for b, p in TABLES])
def test_a_table_shows_only_columns_that_its_queries_bring(board: str, panel: dict[str, Any]) -> None:
    targets = panel["targets"]
    grouped = {
        label for each in targets for found in GROUPING.findall(each["expr"]) for label in names_in(found)
    }
    values = {f"Value #{each['refId']}" for each in targets} if len(targets) > 1 else {"Value"}
    _, keep, organize = panel["transformations"]

    shown = set(keep["options"]["include"]["names"])

    assert shown <= grouped | values
    renamed = organize["options"]["renameByName"]
    assert set(renamed) == shown
    assert {name for name, _ in overrides(panel)} <= set(renamed.values())


def test_the_played_daemon_shows_only_metrics_and_labels_that_spotd_has() -> None:
    samples = [
        each for family in text_string_to_metric_families(exposition(60.0, 2e9)) for each in family.samples
    ]

    assert samples
    for sample in samples:
        assert set(sample.labels) | TARGET_LABELS == KNOWN[sample.name]
