"""One host explained, as tables or as JSON."""

import json
import sys
from dataclasses import asdict
from typing import Any

from spotd.cli.journaling import print_moves
from spotd.cli.migrations import Migrations
from spotd.cli.past import Past
from spotd.cli.planning import Look, plan_now
from spotd.cli.printing import Grid, say, show
from spotd.fleet.live import Migration
from spotd.fleet.snapshot import Host
from spotd.planning.explain import Explanation, Thought, explain
from spotd.planning.rules import Rules
from spotd.planning.surroundings import survey
from spotd.store.records import MoveRecord

UNKNOWN = "?"


def print_explanation(
    host: Host, rules: Rules, look: Look, past: Past, migrations: Migrations, *, as_json: bool
) -> None:
    """Writes all that is known of the host on standard output."""
    standing = migrations.on(past.standing)
    around = survey(rules, look.snapshot, past.recent_moves, look.now, standing)
    explanation = explain(host, plan_now(rules, look, past, standing=standing), around)
    if as_json:
        more = {
            "migrations": migrations.found.get(host.name),  # null is unknown
            "moves": [move_document(record) for record in past.moves_of_host],
        }
        json.dump(explanation_document(explanation) | more, sys.stdout, indent=2, default=_plain)
        sys.stdout.write("\n")
        return
    _print_tables(explanation)
    if (why := migrations.unknown.get(host.name)) is not None:
        say(f"Unfinished migrations are not known: {why}")
    elif not migrations.found.get(host.name):
        say("Unfinished migrations from or to it: none.")
    if past.moves_of_host:
        print_moves(past.moves_of_host, as_json=False, steps=False)


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    """The explanation for scripts; null is unknown."""
    return {
        "host": explanation.host,
        "facts": {
            fact.name: {"value": fact.value, "source": fact.source, "age_seconds": fact.age_seconds}
            for fact in explanation.facts
        },
        "contradictions": list(explanation.contradictions),
        "standing": [{"code": found.code, "sentence": found.sentence} for found in explanation.standing],
        "rules": [
            {
                "rule": thought.rule,
                "moves_to": thought.moves_to,
                "code": thought.refusal and thought.refusal.code,
                "sentence": thought.refusal and thought.refusal.sentence,
                "facts": dict(thought.verdict.facts) if thought.verdict else None,
            }
            for thought in explanation.thoughts
        ],
    }


def move_document(record: MoveRecord) -> dict[str, Any]:
    """A move of the host, without its steps, for which there is `spotd journal`."""
    return {
        "id": record.id,
        "state": record.state,
        "origin": record.order.origin.name,
        "destination": record.order.destination.name,
        "asked_by": record.order.asked_by,
        "asked_at": record.asked_at,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "sentence": record.sentence,
    }


def _print_tables(explanation: Explanation) -> None:
    known = Grid("fact", "value", "source", "age", title=explanation.host)
    for fact in explanation.facts:
        age = "" if fact.age_seconds is None else f"{fact.age_seconds:.0f} s"
        known.row(fact.name, _value(fact.value), fact.source or "", age)
    show(known)
    for sentence in explanation.contradictions:
        say(f"The sources disagree: {sentence}")
    for refusal in explanation.standing:
        say(f"No rule may take it: {refusal.sentence} ({refusal.code})")
    thoughts = Grid("rule", "what it does", "why", title="Rules")
    for thought in explanation.thoughts:
        thoughts.row(thought.rule, *_decision(thought))
    show(thoughts)


def _plain(value: object) -> object:
    return asdict(value) if isinstance(value, Migration) else str(value)


def _decision(thought: Thought) -> tuple[str, str]:
    if thought.refusal is None:
        return f"moves it to {thought.moves_to}", ""
    return thought.refusal.code, thought.refusal.sentence


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return UNKNOWN if value is None else str(value)
