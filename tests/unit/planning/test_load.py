"""A rules file is taken whole or refused with every mistake, each on its line."""

from datetime import date, timedelta
from pathlib import Path

import jsonschema_rs
import pytest

from spotd.fleet.snapshot import Pool
from spotd.planning.expressions import Expression
from spotd.planning.load import load_rules, parse_rules, rules_schema
from spotd.settings.document import parse_document
from spotd.settings.problems import ConfigurationError

RULE = 'name: a, from: [ondemand], to: spot, when: "true"'
DURATION = "must be a whole number with s, m, h or d, such as 90s, 10m, 2h or 3d"

BAD_FILES = {
    "not-yaml": (
        "rules: [",
        "rules:1:9: is not valid YAML: expected the node content, but found '<stream end>'",
    ),
    "not-a-mapping": ("- a", "rules:1: must hold keys with values at the top, such as 'cache:'"),
    "duplicate-key": ("mode: active\nmode: active", "rules:2: duplicate key 'mode' (first on line 1)"),
    "unknown-key": (
        "\nmodes: active",
        (
            "rules:2: modes: unknown key; did you mean mode? "
            "(keys here: mode, time_zone, limits, max_age, freeze_dates, rules)"
        ),
    ),
    "unknown-deep-key": (
        f"rules:\n- {RULE.join('{}')[:-1]}, limits: {{keep: 1}}}}",
        (
            "rules:2: rules[0].limits.keep: unknown key (keys here: keep_hosts, keep_free_gpus, cooldown, "
            "moves_per_hour, moves_per_day, moves_at_once)"
        ),
    ),
    "mode": ("mode: go", "rules:1: mode: 'go' is not valid; choices: observe, dry-run, active"),
    "time-zone": (
        "time_zone: Mars/Base",
        "rules:1: time_zone: 'Mars/Base' is not a time zone: must be a name such as UTC or Europe/Berlin",
    ),
    "time-zone-path": (
        "time_zone: ../etc",
        "rules:1: time_zone: '../etc' is not a time zone: must be a name such as UTC or Europe/Berlin",
    ),
    "limit": (
        "limits: {moves_per_hour: 0}",
        (
            "rules:1: limits.moves_per_hour: 0 is not valid; "
            "must be a whole number of at least 1 and at most 100,000"
        ),
    ),
    "limit-boolean": (
        "limits: {moves_per_hour: yes}",
        (
            "rules:1: limits.moves_per_hour: true is not valid; "
            "must be a whole number of at least 1 and at most 100,000"
        ),
    ),
    "group": (
        "limits: 3",
        (
            "rules:1: limits: 3 is not valid; must be a group of keys "
            "(moves_per_hour, moves_per_day, moves_at_once, cooldown)"
        ),
    ),
    "list": ("rules: 3", "rules:1: rules: 3 is not valid; must be a list of groups of keys"),
    "texts": (
        f"rules: [{{{RULE}, sites: x}}]",
        "rules:1: rules[0].sites: 'x' is not valid; must be a list of text",
    ),
    "duration": ("limits: {cooldown: 10}", f"rules:1: limits.cooldown: 10 is not a duration: {DURATION}"),
    "long-duration": ("limits: {cooldown: 999d}", "rules:1: limits.cooldown: '999d' is longer than a year"),
    "date": (
        "freeze_dates: [{from: 24.12.2026, to: 2026-12-26}]",
        (
            "rules:1: freeze_dates[0].from: '24.12.2026' is not a date: "
            "must be YEAR-MONTH-DAY, such as 2026-12-24"
        ),
    ),
    "number-as-date": (
        "freeze_dates: [{from: 2026, to: 2026-12-26}]",
        "rules:1: freeze_dates[0].from: 2026 is not a date: must be YEAR-MONTH-DAY, such as 2026-12-24",
    ),
    "dates-reversed": (
        "freeze_dates:\n- from: 2026-12-26\n  to: 2026-12-24",
        "rules:3: freeze_dates[0].to: to is before from",
    ),
    "missing": (
        "rules:\n- {name: a}",
        (
            "rules:2: rules[0].from: is required\n"
            "rules:2: rules[0].to: is required\nrules:2: rules[0].when: is required"
        ),
    ),
    "name": (
        f"rules: [{{{RULE.replace('a,', 'A b,', 1)}}}]",
        "rules:1: rules[0].name: 'A b' is not a name: must be up to 63 lower-case letters, digits and dashes",
    ),
    "name-is-a-number": (
        f"rules: [{{{RULE.replace('a,', '3,', 1)}}}]",
        "rules:1: rules[0].name: 3 is not valid; must be text",
    ),
    "same-name": (
        f"rules:\n- {{{RULE}}}\n- {{{RULE}}}",
        "rules:3: rules[1].name: 'a' is the name of rules[0] already",
    ),
    "same-pool-twice": (
        'rules: [{name: a, from: [spot, spot], to: ondemand, when: "true"}]',
        "rules:1: rules[0].from: a list holds 'spot' twice",
    ),
    "no-pool": (
        'rules: [{name: a, from: [], to: ondemand, when: "true"}]',
        "rules:1: rules[0].from: is empty; must name at least one",
    ),
    "round-trip": (
        'rules: [{name: a, from: [spot], to: spot, when: "true"}]',
        "rules:1: rules[0].to: from and to both name spot",
    ),
    "contract-missing": (
        'rules: [{name: a, from: [contract], to: spot, when: "true"}]',
        "rules:1: rules[0].to: contract is required where from or to is contract",
    ),
    "contract-in-vain": (
        f"rules: [{{{RULE}, contract: ACME}}]",
        "rules:1: rules[0].contract: contract is set and neither from nor to is contract",
    ),
    "count": (
        f"rules: [{{{RULE}, count: 0}}]",
        (
            "rules:1: rules[0].count: 0 is not a count: must be a whole number of at least 1, "
            "or an expression in quotes"
        ),
    ),
    "count-type": (
        f'rules: [{{{RULE}, count: "1.5"}}]',
        "rules:1: rules[0].count: must give a whole number, not double",
    ),
    "cron": (
        f'rules: [{{{RULE}, windows: [{{cron: "0 40 * * *", for: 1h}}]}}]',
        "rules:1: rules[0].windows[0].cron: '0 40 * * *' is not a cron expression: bad hour",
    ),
    "cron-never": (
        f'rules: [{{{RULE}, windows: [{{cron: "0 0 30 2 *", for: 1h}}]}}]',
        "rules:1: rules[0].windows[0].cron: '0 0 30 2 *' is not a cron expression: bad day-of-month",
    ),
    "rule-is-text": (
        "rules: [x]",
        (
            "rules:1: rules[0]: 'x' is not valid; must be a group of keys (name, description, gpu_types, "
            "variant, sites, tenants, from, to, to_variant, contract, when, until, for, count, at_most, "
            "hosts, limits, windows)"
        ),
    ),
    "until-type": (
        f"rules: [{{{RULE}, until: hour}}]",
        "rules:1: rules[0].until: must give true or false, not int",
    ),
}


@pytest.mark.parametrize(("text", "told"), BAD_FILES.values(), ids=BAD_FILES)
def test_every_mistake_has_its_own_line(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_rules(text)

    assert str(refused.value) == told


def test_all_mistakes_are_told_at_once() -> None:
    text = (
        'mode: go\nlimits: {cooldown: 5}\nrules:\n- {name: B, from: [x], to: spot, when: fro.hosts > "a"}\n'
    )

    with pytest.raises(ConfigurationError) as refused:
        parse_rules(text)

    assert [(p.line, p.key) for p in refused.value.problems] == [
        (1, "mode"),
        (2, "limits.cooldown"),
        (4, "rules[0].from[0]"),
        (4, "rules[0].name"),
        (4, "rules[0].when"),
    ]


def test_an_unknown_fact_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown name 'from.host'; did you mean from.hosts\?"):
        parse_rules("rules: [{name: a, from: [ondemand], to: spot, when: from.host > 1}]")


def test_an_empty_file_is_a_dry_run_of_no_rules() -> None:
    rules = parse_rules("")

    assert (rules.mode, rules.rules) == ("dry-run", ())


def test_a_full_rule_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(
        "mode: active\n"
        "time_zone: Europe/Berlin\n"
        "freeze_dates: [{from: 2026-12-24, to: 2026-12-26}]\n"
        "rules:\n"
        "- name: lend\n"
        "  gpu_types: [H100]\n"
        "  from: [ondemand, runpod]\n"
        "  to: spot\n"
        "  when: from.free_hosts > 2\n"
        "  until: from.free_hosts < 2\n"
        "  for: 10m\n"
        "  count: from.free_hosts - 2\n"
        "  hosts: {take: drain, drain_deadline: 1h}\n"
        "  windows: [{cron: '0 18 * * *', for: 2h}, {cron: '0 6 * * *', for: 90s, time_zone: UTC}]\n"
    )

    rules = load_rules(path)

    (rule,) = rules.rules
    assert (rules.mode, rules.freeze_dates[0].last) == ("active", date(2026, 12, 26))
    assert rule.from_pools == (Pool.ONDEMAND, Pool.RUNPOD)
    assert rule.hold == timedelta(minutes=10)
    assert isinstance(rule.count, Expression)
    assert rule.count.mentions == {"from.free_hosts"}
    assert [window.time_zone for window in rule.windows] == ["Europe/Berlin", "UTC"]


def test_the_schema_has_the_keys_of_a_rules_file() -> None:
    schema = rules_schema()

    rule = schema["$defs"]["RuleModel"]["properties"]
    assert {"from", "to", "when", "until", "for", "count"} <= set(rule)
    assert all("description" in rule[key] for key in rule)


def test_the_example_fits_the_schema_and_a_mistake_does_not() -> None:
    checker = jsonschema_rs.validator_for(rules_schema())
    example = (Path(__file__).parents[3] / "deploy" / "rules.example.yml").read_text(encoding="utf-8")

    assert not list(checker.iter_errors(parse_document(example, "example").values))
    for wrong in ({"mode": "go"}, {"limits": {"moves_per_hour": 0}}, {"limits": {"cooldown": 10}}):
        assert not checker.is_valid(wrong)


def test_every_default_of_the_schema_fits_its_own_key() -> None:
    schema = rules_schema()
    wrong = [
        f"{name}.{key}"
        for name, group in {"": schema, **schema["$defs"]}.items()
        for key, slot in group.get("properties", {}).items()
        if "default" in slot
        and not jsonschema_rs.is_valid({**slot, "$defs": schema["$defs"]}, slot["default"])
    ]

    assert wrong == []
