"""One collection and the plan on it, as tables or as JSON."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from spotd.cli.migrations import AskMigrations, Migrations
from spotd.cli.options import exit_for
from spotd.cli.past import Past
from spotd.cli.printing import Grid, say, show
from spotd.clock import SystemClock
from spotd.clouds.errors import CloudError
from spotd.daemon.region import build_region
from spotd.fleet.snapshot import FleetSnapshot
from spotd.planning.plan import Plan
from spotd.planning.planner import make_plan
from spotd.planning.refusals import Code
from spotd.planning.rules import Rules
from spotd.planning.surroundings import Standing
from spotd.settings import Settings

SHOWN_HOSTS = 3


class Unrecorded:
    """A recorder for one collection, of which nobody asks how it went."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_keywords: None


@dataclass(frozen=True, slots=True)
class Look:
    """One collection, and a way to ask the clouds more while it is looked at."""

    snapshot: FleetSnapshot
    now: datetime
    failures: dict[str, str]
    """What failed, by agent."""
    migrations: AskMigrations


@contextmanager
def looking(settings: Settings) -> Iterator[Look]:
    """Collects once; leaves with the reason where the clouds cannot even be named."""
    clock = SystemClock()
    try:
        region = build_region(
            settings, clock=clock, recorder=Unrecorded(), observer=lambda *_facts: None, wait_for_walk=True
        )
    except CloudError as error:
        exit_for(error)
    try:
        result = region.collection.collect()
        snapshot = region.collection.latest()
        assert snapshot is not None  # noqa: S101 - a collection always joins one
        failures = {str(agent): str(why) for agent, why in result.failures.items()}
        calls = region.host_calls(write_timeout_seconds=settings.moves.write_timeout_seconds)
        yield Look(snapshot, clock.now(), failures, calls.unfinished_migrations)
    finally:
        region.close()


def plan_now(
    rules: Rules,
    look: Look,
    past: Past,
    *,
    standing: Standing | None = None,
    as_if_held: bool = False,
) -> Plan:
    """The plan of a first cycle: no rule has waited yet."""
    if as_if_held:
        held = tuple(replace(rule, hold=timedelta(0)) for rule in rules.rules)
        rules = replace(rules, rules=held)
    return make_plan(
        rules, look.snapshot, past.recent_moves, look.now, {}, standing=standing or past.standing
    )


def print_plan(plan: Plan, migrations: Migrations, *, as_json: bool) -> None:
    """Writes the plan on standard output."""
    if as_json:
        asked = {"asked": sorted(migrations.found), "unknown": dict(migrations.unknown)}
        json.dump(plan_document(plan) | {"migrations": asked}, sys.stdout, indent=2, default=_plain)
        sys.stdout.write("\n")
        return
    _print_moves(plan)
    for why in sorted(set(migrations.unknown.values())):
        said = f"Unfinished migrations are not known, and a move is refused while they are not: {why}"
        say(said)
    _print_rules(plan)
    _print_refusals(plan)


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan for scripts."""
    return {
        "mode": plan.mode,
        "made_at": plan.made_at,
        "assembled_at": plan.assembled_at,
        "moves": [asdict(move) for move in plan.moves],
        "rules": [
            {
                "rule": verdict.rule,
                "gpu_type": verdict.gpu_type,
                "condition": verdict.condition.when,
                "until": verdict.condition.until,
                "is_active": verdict.state.is_active,
                "since": verdict.state.since,
                "facts": dict(verdict.facts),
                "blocked": verdict.blocked and asdict(verdict.blocked),
                "hosts_in_scope": len(verdict.scope),
            }
            for verdict in plan.verdicts
        ],
        "refusals": [
            {"host": found.host, "rule": found.rule, **asdict(found.refusal)} for found in plan.refusals()
        ],
    }


def _print_moves(plan: Plan) -> None:
    if not plan.moves:
        say(f"No moves. (mode: {plan.mode})")
        return
    table = Grid("host", "GPU type", "from", "to", "rule", "why", title=f"Moves (mode: {plan.mode})")
    for move in plan.moves:
        why = move.reason if move.drain_deadline is None else f"drain first; {move.reason}"
        table.row(move.host, move.gpu_type, move.origin.name, move.destination.name, move.rule, why)
    show(table)


def _print_rules(plan: Plan) -> None:
    table = Grid("rule", "GPU type", "condition", "hosts in scope", "facts", "why not", title="Rules")
    for verdict in plan.verdicts:
        facts = ", ".join(f"{name} {value:g}" for name, value in sorted(verdict.facts.items()))
        why = verdict.blocked.sentence if verdict.blocked is not None else ""
        condition = "acting" if verdict.state.is_active else str(verdict.condition.when)
        table.row(verdict.rule, verdict.gpu_type, condition, str(len(verdict.scope)), facts, why)
    show(table)


def _print_refusals(plan: Plan) -> None:
    """Hosts that a rule could take and does not, alike refusals together; --format json has each."""
    alike: dict[tuple[str, Code, str], list[str]] = defaultdict(list)
    for found in plan.refusals():
        if found.refusal.code is not Code.OUT_OF_SCOPE:
            alike[found.rule, found.refusal.code, found.refusal.sentence].append(found.host)
    table = Grid("rule", "code", "why", "hosts", title="Refusals")
    for (rule, code, sentence), hosts in alike.items():
        more = f" and {len(hosts) - SHOWN_HOSTS} more" if len(hosts) > SHOWN_HOSTS else ""
        table.row(rule, code, sentence, ", ".join(hosts[:SHOWN_HOSTS]) + more)
    show(table)


def _plain(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)
