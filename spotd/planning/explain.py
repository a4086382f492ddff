"""Everything that is known about one host, and what each rule thinks of it."""

from dataclasses import dataclass, fields
from datetime import datetime

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot, Host
from spotd.planning.guards import HOST_GUARDS, cycle_refusal
from spotd.planning.plan import Plan, Verdict
from spotd.planning.refusals import Code, Refusal
from spotd.planning.surroundings import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFact:
    """One fact; value and source are None where nobody tells it."""

    name: str
    value: object
    source: Source | None
    age_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """What one rule thinks of the host."""

    rule: str
    moves_to: str | None
    """The destination, where the rule takes the host now."""
    refusal: Refusal | None
    verdict: Verdict | None
    """What the rule says for the host's GPU type; None where the rule is not about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One host, explained."""

    host: str
    facts: tuple[KnownFact, ...]
    contradictions: tuple[str, ...]
    standing: tuple[Refusal, ...]
    """Every guard that keeps all rules away from it, not only the first."""
    thoughts: tuple[Thought, ...]


def explain(host: Host, plan: Plan, around: Surroundings) -> Explanation:
    """All that is known about the host and about why it moves or stays."""
    stop = cycle_refusal(around)
    keeps = [found for guard in HOST_GUARDS if (found := guard(host, around)) is not None]
    return Explanation(
        host=host.name,
        facts=tuple(_facts(host, around.snapshot, around.now)),
        contradictions=tuple(found.detail for found in around.contradictions.get(host.name, ())),
        standing=tuple(keeps if stop is None else [stop, *keeps]),
        thoughts=tuple(_thought(rule, host, plan) for rule in plan.rules),
    )


def _facts(host: Host, snapshot: FleetSnapshot, now: datetime) -> list[KnownFact]:
    found = []
    for field in fields(host):
        if field.name in ("name", "sources"):
            continue
        value, source = getattr(host, field.name), host.sources.get(field.name)
        reading = snapshot.readings.of(source) if source is not None else None
        age = None if reading is None else reading.age_seconds(now)
        found.append(KnownFact(name=field.name, value=value, source=source, age_seconds=age))
    return found


def _thought(rule: str, host: Host, plan: Plan) -> Thought:
    move = next((move for move in plan.moves if (move.host, move.rule) == (host.name, rule)), None)
    refusal = plan.refusal(host.name, rule)
    verdict = None
    if refusal is None or refusal.code is not Code.OUT_OF_SCOPE:
        theirs = (verdict for verdict in plan.verdicts if verdict.rule == rule)
        verdict = next((verdict for verdict in theirs if host.name in verdict.scope), None)
    return Thought(
        rule=rule, moves_to=move.destination.name if move else None, refusal=refusal, verdict=verdict
    )
