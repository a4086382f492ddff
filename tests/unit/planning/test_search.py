"""`check-rules` finds rules that never fire, fight, or swing hosts, with a fleet that shows it."""

import pytest

from spotd.planning.load import parse_rules
from spotd.planning.search import Finding, search


def found(*rules: str) -> dict[str, Finding]:
    text = "\n".join(f"- {{name: r{number}, {rule}}}" for number, rule in enumerate(rules))
    return {finding.kind: finding for finding in search(parse_rules(f"rules:\n{text}"))}


LEND = "from: [ondemand], to: spot"
BACK = "from: [spot], to: ondemand"

GOOD = {
    "one rule": (f"{LEND}, when: from.free_hosts > 2",),
    "a high threshold": (f"{LEND}, when: from.free_hosts > 120",),
    "lend and take back": (
        f"{LEND}, when: from.free_hosts > 4, limits: {{keep_hosts: 3}}",
        f"{BACK}, when: to.free_hosts < 2, until: to.free_hosts >= 3, count: 3 - to.free_hosts",
    ),
    "at other hours": (f"{LEND}, when: hour >= 18", f"{BACK}, when: hour < 6"),
    "in other windows": (
        f'{LEND}, when: from.free_hosts > 0, windows: [{{cron: "0 18 * * *", for: 2h}}]',
        f'{BACK}, when: from.free_hosts > 0, windows: [{{cron: "0 6 * * *", for: 2h}}]',
    ),
    "of other GPU types": (
        f"{LEND}, gpu_types: [H100], when: from.free_hosts > 0",
        f"{BACK}, gpu_types: [A100], when: from.free_hosts > 0",
    ),
    "a long way": (f"{LEND}, when: from.free_hosts > 10 && from.hosts + to.hosts > 120",),
    "many thresholds": tuple(
        f"{LEND}, gpu_types: [T{number}], when: from.free_hosts > {7 * number}" for number in range(1, 12)
    ),
    "a threshold of thousands": (f"{LEND}, when: from.hosts > 2500 && from.free_hosts > 20",),
    "a span of GPUs": (f"{LEND}, when: from.free_gpus >= 400 && from.free_gpus <= 408",),
    "busy with some free": (f"{BACK}, when: from.utilization > 0.8 && from.free_hosts > 2",),
    "a span of a ratio": (f"{BACK}, when: from.utilization > 0.74 && from.utilization < 0.76",),
    "a ratio and a weekday": (f"{LEND}, when: to.utilization > 0.4 && weekday == 6",),
}


@pytest.mark.parametrize("rules", GOOD.values(), ids=GOOD)
def test_finds_nothing_in_good_rules(rules: tuple[str, ...]) -> None:
    assert found(*rules) == {}


NEVER = {
    "contradictory": f"{LEND}, when: from.free_hosts > 3 && from.free_hosts < 2",
    "no such hour": f"{LEND}, when: hour > 23",
    "more free than there are": f"{LEND}, when: from.free_hosts > from.hosts",
    "until always holds": f"{LEND}, when: from.free_hosts > 1, until: from.hosts > 1",
    "count is never positive": f"{LEND}, when: from.free_hosts > 1, count: 0 - from.hosts",
    "count is unknown": f"{LEND}, when: from.free_hosts > 1, count: from.hosts / 0",
}


@pytest.mark.parametrize("rule", NEVER.values(), ids=NEVER)
def test_finds_a_rule_that_can_never_fire(rule: str) -> None:
    assert found(rule)["never-fires"].rules == ("r0",)


def test_finds_two_rules_that_fight_and_shows_a_fleet() -> None:
    fight = found(f"{LEND}, when: from.free_hosts > 2", f"{BACK}, when: to.free_hosts < 4")["fight"]

    assert fight.rules == ("r0", "r1")
    assert fight.example == (
        "Mon 00:00 UTC, ondemand 3 hosts, 3 free: r0 moves a host to spot",
        "Mon 00:00 UTC, ondemand 2 hosts, 2 free; spot 1 hosts, 1 free: r1 moves one to ondemand",
    )


def test_finds_hosts_that_go_round_through_three_pools() -> None:
    swing = found(
        "from: [ondemand], to: spot, when: from.free_hosts == 1 && to.hosts == 0 && runpod.hosts == 0",
        "from: [spot], to: runpod, when: from.free_hosts == 1 && to.hosts == 0 && ondemand.hosts == 0",
        "from: [runpod], to: ondemand, when: from.free_hosts == 1 && to.hosts == 0 && spot.hosts == 0",
    )["swing"]

    assert set(swing.rules) == {"r0", "r1", "r2"}
    assert len(swing.example) == 3


def test_finds_a_swing_between_two_thresholds() -> None:
    swing = found(
        f"{LEND}, when: from.free_hosts > 3, until: from.free_hosts < 2",
        f"{BACK}, when: to.free_hosts < 2, until: to.free_hosts > 3",
    )["swing"]

    assert set(swing.rules) == {"r0", "r1"}


def test_what_cannot_all_be_tried_is_not_called_silent() -> None:
    rules = "\n".join(
        f"- {{name: r{number}, {way}, when: from.hosts > 8 && from.hosts < 3}}"
        for number, way in enumerate([LEND, BACK])
    )
    book = parse_rules(f"rules:\n{rules}")

    closely, less_closely = search(book), search(book, most_tried=200)

    assert {finding.kind for finding in closely} == {"never-fires"}
    assert less_closely == ()
