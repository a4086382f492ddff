"""Rules are proved by Prometheus' own unit tests, name metrics that exist, and have a runbook each."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from spotd.agents.state import AgentName
from spotd.cli.commands import main
from spotd.fleet.readings import Source
from spotd.fleet.snapshot import ContradictionKind, OutOfStock, Pool
from spotd.metrics.agents_own import FAILURE_REASONS, MISS_REASONS
from spotd.metrics.names import METRICS
from spotd.settings import describe_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
RUNBOOKS = (DEPLOY / "runbooks.md").read_text(encoding="utf-8")

DOCUMENTS = [DEPLOY / "README.md", DEPLOY / "runbooks.md", DEPLOY.parent / "grafana" / "README.md"]
RECORDED_NAME = re.compile(r"\b\w+:spotd_\w+:\w+")
METRIC_NAME = re.compile(r"\bspotd_[a-z_]+\b")
TARGET_LABELS = {"job", "instance", "region"}
KNOWN_VALUES: dict[str, set[str]] = {
    "agent": set(AgentName),
    "source": set(Source),
    "layer": {*Source, "snapshot"},
    "pool": {*Pool, ""},
    "kind": set(ContradictionKind),
    "reason": {*OutOfStock, *FAILURE_REASONS, *MISS_REASONS},
    "fact": {"gpus", "free"},
    "job": {"spotd"},
    "mode": {"observe", "dry-run", "active"},
    "outcome": {"observing", "not_leader", "frozen", "blocked", "settled", "planned", "moved", "failed"}
    | {"done", "undone", "refused", "stranded"},
}
SELECTOR = re.compile(r"\b((?:spotd|process|python)_[a-z0-9_]+|up)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not on PATH: install prometheus to check the rules"
)


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def sections() -> dict[str, str]:
    _, *parts = re.split(r"(?m)^## (.+)\n", RUNBOOKS)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def looks(section: str) -> list[str]:
    return re.findall(r"```text\n(.*?)\n```", section, re.DOTALL)[0].splitlines()


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}
SECTIONS = sections()
EXPRESSIONS = [rule["expr"] for rule in rules()]
LOOKS = [line for section in SECTIONS.values() for line in looks(section)]
QUERIES = [line for line in LOOKS if "spotd_" in line or line == "up"]


def without_recorded(expression: str) -> str:
    """The expression without recorded names, of which every one must be defined."""
    for name in RECORDED_NAME.findall(expression):
        assert name in RECORDED, name
    return RECORDED_NAME.sub("recorded", expression)


def exposed() -> dict[str, set[str]]:
    """Every series name that spotd exposes, with its labels."""
    found: dict[str, set[str]] = {"up": set()}
    for metric in METRICS:
        found[metric.name] = set(metric.labels)
        if metric.kind == "histogram":
            found |= {f"{metric.name}_{part}": {*metric.labels, "le"} for part in ("bucket", "sum", "count")}
    return found


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=PROMETHEUS
    )


@needs_promtool
def test_prometheus_takes_the_example_configuration_and_every_rule_it_names() -> None:
    done = promtool("check", "config", "prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rule files found" in done.stdout


@needs_promtool
def test_promtool_finds_nothing_in_the_rules() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)

    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_every_rule_does_what_its_unit_tests_say() -> None:
    done = promtool("test", "rules", *UNIT_TESTS)

    assert done.returncode == 0, done.stdout + done.stderr


def noticed(change: Callable[[dict[str, Any]], None], directory: Path) -> tuple[set[str], set[str]]:
    """The alerts that `change` made others of, and those whose unit tests then fail."""
    shutil.copytree(PROMETHEUS, directory, dirs_exist_ok=True)
    rules_file = directory / "rules" / "spotd.alerts.yml"
    document = yaml.safe_load(rules_file.read_text(encoding="utf-8"))
    for rule in (rule for group in document["groups"] for rule in group["rules"]):
        change(rule)
    rules_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    changed = {
        rule["alert"]
        for group in document["groups"]
        for rule in group["rules"]
        if rule != ALERTS[rule["alert"]]
    }

    done = promtool("test", "rules", *sorted((directory / "tests").glob("*.yml")))

    return changed, set(re.findall(r"name: (Spotd\w+):", done.stdout + done.stderr))


def always(rule: dict[str, Any]) -> None:
    rule.update({"expr": "vector(1)", "for": "0m"})


def never(rule: dict[str, Any]) -> None:
    rule["expr"] = "vector(1) > 1"


def without_patience(rule: dict[str, Any]) -> None:
    rule.pop("for", None)


def a_third_too_early(rule: dict[str, Any]) -> None:
    """Each threshold that is not zero is moved to where the alert would fire sooner."""

    def moved(found: re.Match[str]) -> str:
        return f"{found[1]} {float(found[2]) * (0.7 if found[1].startswith('>') else 1.3):g}"

    rule["expr"] = re.sub(r"([<>]=?)\s*([\d.]*[1-9][\d.]*)", moved, rule["expr"])


@needs_promtool
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "at_least"), [(always, 35), (never, 35), (without_patience, 30), (a_third_too_early, 14)]
)
def test_the_unit_tests_notice_an_alert_that_fires_too_often_too_soon_or_never(
    change: Callable[[dict[str, Any]], None], at_least: int, tmp_path: Path
) -> None:
    changed, failed = noticed(change, tmp_path)

    assert len(changed) >= at_least
    assert failed == changed


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_is_seen_silent_then_firing_then_silent_again(alert: str) -> None:
    courses = [
        [bool(check["exp_alerts"]) for check in test["alert_rule_test"] if check["alertname"] == alert]
        for path in UNIT_TESTS
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        if test["name"].startswith(f"{alert}:")
    ]

    assert courses
    assert all(course == [False, True, False] for course in courses)


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_says_what_where_how_bad_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    annotations = rule["annotations"]

    assert re.fullmatch(r"Spotd[A-Za-z]+", alert)
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert annotations["summary"].endswith((".", ")."))
    assert annotations["runbook_url"] == f"https://runbooks.example.com/spotd#{alert.lower()}"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert list(SECTIONS) == list(ALERTS)


@pytest.mark.parametrize("alert", sorted(SECTIONS))
def test_a_runbook_says_what_it_means_how_to_look_and_what_to_do(alert: str) -> None:
    headings = re.findall(r"(?m)^\*\*(.+?)\.\*\*", SECTIONS[alert])

    assert headings == ["What it means", "How to look", "What to do"]
    assert looks(SECTIONS[alert])


@pytest.mark.parametrize("expression", [*EXPRESSIONS, *QUERIES])
def test_a_rule_or_query_names_only_metrics_labels_and_values_that_spotd_has(expression: str) -> None:
    known = exposed()

    for name, matchers in SELECTOR.findall(without_recorded(expression)):
        assert name in known, name
        for label, value in MATCHER.findall(matchers):
            assert label in known[name] | TARGET_LABELS, (name, label)
            values = set() if value.startswith("$") else set(value.split("|"))
            assert values <= KNOWN_VALUES.get(label, values), (label, value)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_only_metrics_that_spotd_has(document: Path) -> None:
    named = set(METRIC_NAME.findall(without_recorded(document.read_text(encoding="utf-8"))))

    assert named
    assert named <= set(exposed())


def test_a_runbook_names_only_commands_that_spotd_has() -> None:
    named = re.findall(r"(?m)(?:^|`)spotd ([a-z-]+)", RUNBOOKS)

    assert named
    assert set(named) <= set(main.commands)


def test_a_runbook_names_only_settings_that_spotd_has() -> None:
    keys = {setting.key for setting in describe_settings()} | {"cache.*_max_age_seconds"}
    groups = {key.partition(".")[0] for key in keys}
    named = {
        key
        for key in re.findall(r"`([a-z]+\.[a-z_*]+)(?::[^`]*)?`", RUNBOOKS)
        if key.partition(".")[0] in groups and not key.endswith((".yml", ".yaml", ".sqlite"))
    }

    assert len(named) > 10
    assert named <= keys


def test_a_runbook_links_only_to_sections_that_exist() -> None:
    links = re.findall(r"\[(\w+)\]\(#(\w+)\)", RUNBOOKS)

    assert links
    assert all(title in SECTIONS and anchor == title.lower() for title, anchor in links)


@needs_promtool
def test_prometheus_can_read_every_query_of_a_runbook(tmp_path: Path) -> None:
    queries = [{"record": "runbook:query:value", "expr": query} for query in dict.fromkeys(QUERIES)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": queries}]}), encoding="utf-8")

    done = promtool("check", "rules", "--lint=none", path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout
