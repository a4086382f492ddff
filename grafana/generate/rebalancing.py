"""Rebalancing: what the rules want, what was moved or refused and why, and whether anything is stuck."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from generate.colours import BAD, CALM, CYCLES, GOOD, MUTED, WARN
from generate.frame import Placed, Question, board
from generate.moving import durations, moves
from generate.panels import Column, Meaning, Panel, bars, graph, none_wanted, number, rows, wanted
from generate.queries import Query, increase, max_by, of, sum_by

MODES = {
    "observe": ("observe", MUTED),
    "dry-run": ("dry-run", CALM),
    "active": ("active", GOOD),
}
YES = {"0": ("no", MUTED), "1": ("yes", CALM)}


def rebalancing() -> Dashboard:
    """The board for whoever answers for the moves."""
    return board(
        "rebalancing",
        "What do the rules want, what was moved, what is refused and why, and is anything stuck?",
        (_standing(), _wishes(), moves(), durations()),
        since="now-24h",
    )


def _numbers() -> tuple[Panel, ...]:
    return (
        number(
            Meaning(
                title="Mode of the rules",
                description="observe: no plans. dry-run (blue): plans that nobody carries out. active"
                " (green): hosts are moved.",
            ),
            Query(max_by("mode", of("spotd_rules_info"))),
            show_label="mode",
            meanings=MODES,
        ),
        number(
            Meaning(
                title="Leaders",
                description="Daemons that may move hosts. Green: exactly one. Red: none, so that nothing"
                " moves, or more, which must never be.",
            ),
            Query(f"sum({of('spotd_leader')})"),
            steps=((float("-inf"), BAD), (1, GOOD), (2, BAD)),
        ),
        number(
            Meaning(
                title="Frozen",
                description="Whether spotd holds still, told by a person or by itself after a stranded host."
                " Green: no. Yellow: yes.",
            ),
            Query(f"max({of('spotd_frozen')})"),
            steps=none_wanted(WARN),
            meanings={"0": ("no", GOOD), "1": ("yes", WARN)},
        ),
        number(
            Meaning(
                title="Hosts stranded",
                description="Hosts whose move failed and could not be taken back. Green: none. Red from 1: a"
                " person must look (spotd recover).",
            ),
            Query(f"max({of('spotd_hosts_stranded')})"),
            steps=none_wanted(),
        ),
        number(
            Meaning(title="Moves in progress", description="Hosts that are on their way from pool to pool."),
            Query(f"sum({of('spotd_moves_in_progress')})"),
        ),
        number(
            Meaning(
                title="Journal",
                description="Whether every daemon reaches the journal of moves; without it nothing moves."
                " Green: yes. Red: one does not.",
            ),
            Query(f"min({of('spotd_journal_up')})"),
            steps=wanted(),
            meanings={"0": ("down", BAD), "1": ("up", GOOD)},
        ),
        number(
            Meaning(
                title="Rules file",
                description="Whether the last reading of the rules succeeded everywhere. Green: yes. Red:"
                " the rules before it are still in force.",
            ),
            Query(f"min({of('spotd_rules_last_reload_successful')})"),
            steps=wanted(),
            meanings={"0": ("refused", BAD), "1": ("good", GOOD)},
        ),
        number(
            Meaning(
                title="Age of the plan",
                description="Time since the rules were last compared with the fleet. Green below 2 min,"
                " yellow from 2 min, red from 10 min: no cycle gets as far as a plan.",
                unit="s",
                decimals=0,
            ),
            Query(f"time() - max({of('spotd_plan_timestamp_seconds')})"),
            steps=((float("-inf"), GOOD), (120, WARN), (600, BAD)),
        ),
    )


def _standing() -> Question:
    stuck = graph(
        Meaning(
            title="Frozen and stranded",
            description="1 while spotd is frozen (yellow); hosts that are stranded (red). Gaps: unknown.",
        ),
        Query(f"max({of('spotd_frozen')})", "frozen"),
        Query(f"max({of('spotd_hosts_stranded')})", "stranded"),
        colours={"frozen": WARN, "stranded": BAD},
        reaches=1,
    )
    cycles = graph(
        Meaning(
            title="Cycles by outcome",
            description="What became of each cycle, once every few seconds: blocked, while a source is too"
            " old; frozen; not the leader; planned; moved; failed.",
            unit="short",
        ),
        Query(sum_by("outcome", increase("spotd_rebalance_cycles_total")), "{{outcome}}"),
        colours=CYCLES,
        counts=True,
    )
    several = rows(
        Meaning(
            title="Hosts not in exactly one pool",
            empty="none, or unknown",
            description="Hosts in several pools, and those in none that NetBox does not keep back; without"
            " rows while there are none, or while aggregates are unknown. Yellow: in none. Red: in several,"
            " so that the wrong customers may land on them.",
        ),
        (
            Column(field="host", title="Host"),
            Column(field="Value", title="Pools", width=110, steps=((float("-inf"), WARN), (2, BAD))),
        ),
        Query(max_by("host", _misplaced())),
        sort_by="Pools",
    )
    return Question(
        asks="May spotd move hosts, and is anything stuck?",
        panels=(
            *(Placed(panel=panel, width=3, height=4) for panel in _numbers()),
            Placed(panel=cycles, width=12, height=8),
            Placed(panel=stuck, width=6, height=8),
            Placed(panel=several, width=6, height=8),
        ),
    )


def _misplaced() -> str:
    """Hosts that are in the wrong number of pools, as the alerts see it."""
    pools, here = of("spotd_host_pools"), "and on (job, instance, host)"
    several = of("spotd_host_info", 'pool=""')
    none = of("spotd_host_info", 'pool=""', 'netbox_status=~"active|"', 'service_status!=""')
    return f"({pools} > 1 {here} {several}) or ({pools} == 0 {here} {none})"


def _wishes() -> Question:
    each = "rule, gpu_type"
    conditions = rows(
        Meaning(
            title="Rules and their conditions",
            description="One row for each rule and GPU type. Holds: its condition is true. Acts: it wants"
            " moves now. Waits: for how long the condition has held without a break. `unknown`: a fact is"
            " missing, and then the rule moves nothing.",
        ),
        (
            Column(field="rule", title="Rule"),
            Column(field="gpu_type", title="GPU type", width=120),
            Column(field="Value #A", title="Holds", width=95, words=YES),
            Column(field="Value #B", title="Acts", width=95, words=YES),
            Column(field="Value #C", title="Waits", width=95, unit="s", decimals=1),
        ),
        Query(max_by(each, of("spotd_rule_condition"))),
        Query(max_by(each, of("spotd_rule_acting"))),
        Query(max_by(each, of("spotd_rule_pending_seconds"))),
        sort_by="Rule",
        falling=False,
    )
    plan = rows(
        Meaning(
            title="Plan and budgets",
            description="Moves in the last plan, the hosts that it refuses, and how many moves the rule's"
            " limits still allow. Yellow: the budget is used up.",
        ),
        (
            Column(field="rule", title="Rule"),
            Column(field="Value #A", title="Planned", width=100),
            Column(field="Value #B", title="Refused", width=100),
            Column(
                field="Value #C", title="Budget left", width=110, steps=((float("-inf"), WARN), (1, CALM))
            ),
        ),
        Query(max_by("rule", of("spotd_plan_moves"))),
        Query(sum_by("rule", max_by("rule, reason", of("spotd_plan_refusals")))),
        Query(max_by("rule", of("spotd_budget_remaining"))),
        sort_by="Rule",
        falling=False,
    )
    refusals = bars(
        Meaning(
            title="Refusals in the last plan",
            empty="none, or unknown",
            description="Hosts that rules would take and guards refuse, by reason. spotd explain HOST says"
            " it in words.",
        ),
        "reason",
        Query(f"{sum_by('reason', max_by('rule, reason', of('spotd_plan_refusals')))} > 0"),
        heading="Reason",
        value="Hosts",
    )
    return Question(
        asks="What do the rules want, and what is refused?",
        panels=(
            Placed(panel=conditions, width=10, height=11),
            Placed(panel=plan, width=8, height=11),
            Placed(panel=refusals, width=6, height=11),
        ),
    )
