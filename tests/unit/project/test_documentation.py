"""The README says what the code does."""

import json
import re
import tomllib
from pathlib import Path

import yaml

from spotd.agents.cache import OLDEST_REDIS
from spotd.clouds import oldest
from spotd.metrics.names import METRICS
from spotd.planning.refusals import Code
from spotd.settings import settings_table_markdown
from spotd.store.schema import OLDEST_POSTGRESQL

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_setting_as_the_code_has_it() -> None:
    table = README.partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]

    assert table.strip() == settings_table_markdown().strip()


def test_every_metric_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"\bspotd_[a-z_]+", README))

    assert named <= {metric.name for metric in METRICS}


def test_the_readme_lists_every_code_of_a_refusal_once() -> None:
    listed = README.partition("<!-- codes -->")[2].partition("<!-- /codes -->")[0]

    assert sorted(re.findall(r"`([a-z_]+)`", listed)) == sorted(Code)


def oldest_versions() -> dict[str, tuple[str, str]]:
    """Server to its oldest version and when that came, as the README has them."""
    table = README.partition("<!-- oldest -->")[2].partition("<!-- /oldest -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    return {row[0]: (row[1], row[2]) for row in rows[2:]}


def test_the_readme_names_the_oldest_versions_as_the_code_has_them() -> None:
    listed = oldest_versions()
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    grafana = re.search(r"Grafana ([0-9.]+) or newer", (ROOT / "grafana/README.md").read_text())
    assert grafana is not None

    expected = {
        one.server: (oldest.written(one.version), one.released)
        for one in (oldest.NOVA, oldest.PLACEMENT, oldest.NETBOX)
    }
    assert expected == {name: listed[name] for name in expected}
    assert {
        "Keystone": f"v{oldest.KEYSTONE.version[0]}",
        "Redis": oldest.written(OLDEST_REDIS),
        "PostgreSQL": str(OLDEST_POSTGRESQL),
        "Prometheus": "2.0",
        "Grafana": grafana[1],
        "Python": python.removeprefix(">="),
    } == {name: version for name, (version, _) in listed.items() if name not in expected}


PROMQL_WORDS = (
    "absent avg changes clamp_max clamp_min count delta deriv histogram_quantile increase label_replace max"
    " min quantile rate round sort sort_desc sum time topk vector avg_over_time max_over_time min_over_time"
    " by on without ignoring group_left group_right and or unless offset bool"
)
PROMQL_OF_2_0 = frozenset(PROMQL_WORDS.split())


def expressions() -> list[str]:
    """Every PromQL expression of the rules and the boards."""
    found = []
    for path in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml")):
        groups = yaml.safe_load(path.read_text())["groups"]
        found += [rule["expr"] for group in groups for rule in group["rules"]]
    for path in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        found += re.findall(r'"expr": ("(?:[^"\\]|\\.)*")', path.read_text())
    return [json.loads(one) if one.startswith('"') else one for one in found]


def test_rules_and_boards_ask_prometheus_for_nothing_newer_than_the_readme_says() -> None:
    """Functions and modifiers of later releases: `@`, a negative offset, `last_over_time` and their like."""
    found = expressions()

    assert len(found) > 100
    for expression in found:
        plain = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
        assert set(re.findall(r"\b([a-z_0-9]+)\s*\(", plain)) <= PROMQL_OF_2_0, expression
        assert "@" not in plain, expression
        assert not re.search(r"offset\s+-", plain), expression
