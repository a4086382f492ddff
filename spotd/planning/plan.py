"""A plan: the moves of one cycle, what each rule thinks, and why every other host stays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from spotd.fleet.snapshot import ClassifiedAggregate, Pool
from spotd.planning.facts import FactValue
from spotd.planning.models import Mode
from spotd.planning.refusals import Code, Refusal
from spotd.planning.states import Condition, RuleState

RuleKey = tuple[str, str]
"""A rule's name and a GPU type in its canonical spelling: each type has a state of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An aggregate that a move leaves or joins."""

    id: int
    uuid: str | None
    name: str
    pool: Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMove:
    """One host that should change pool now."""

    host: str
    rule: str
    gpu_type: str
    origin: Place
    destination: Place
    reason: str
    drain_deadline: timedelta | None
    """How long to wait for the servers to leave; None: the host is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one rule thinks of the hosts of one GPU type."""

    rule: str
    gpu_type: str
    condition: Condition
    state: RuleState
    facts: Mapping[str, FactValue]
    """The facts that its expressions name, as they were before any move of this plan."""
    scope: tuple[str, ...]
    """Hosts that the rule may take."""
    blocked: Refusal | None
    """Why it takes none of them, whichever they are."""
    by_host: Mapping[str, Refusal] = field(repr=False)
    """Why it does not take one of them."""
    failure: str | None = None
    """Why one of its expressions cannot be worked out over facts that are known; None: none failed."""


class HostRefusal(NamedTuple):
    """Why one rule does not take one host; a tuple, since there is one for each host and rule."""

    host: str
    rule: str
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the rules want done now."""

    mode: Mode
    made_at: datetime
    assembled_at: datetime
    moves: tuple[PlannedMove, ...]
    verdicts: tuple[Verdict, ...] = field(repr=False)
    rule_states: Mapping[RuleKey, RuleState] = field(repr=False)
    """To be handed in at the next cycle."""
    hosts: tuple[str, ...] = field(repr=False)
    rules: tuple[str, ...] = field(repr=False)
    outside: Mapping[str, Refusal] = field(repr=False)
    """By rule: what it says about hosts that it never takes."""

    def refusals(self) -> Iterator[HostRefusal]:
        """One for each host and rule that are not together in a move; rule by rule, in host order."""
        chosen = {move.host: move.rule for move in self.moves}
        for rule in self.rules:
            inside = self._inside(rule)
            outside = self.outside[rule]
            for host in self.hosts:
                if chosen.get(host) != rule:
                    yield HostRefusal(host, rule, inside.get(host, outside))

    def refusal(self, host: str, rule: str) -> Refusal | None:
        """Why the rule does not take the host; None where it does."""
        if any(move.host == host and move.rule == rule for move in self.moves):
            return None
        return self._inside(rule).get(host, self.outside[rule])

    def _inside(self, rule: str) -> dict[str, Refusal]:
        found: dict[str, Refusal] = {}
        for verdict in self.verdicts:
            if verdict.rule == rule:
                if verdict.blocked is not None:
                    found |= dict.fromkeys(verdict.scope, verdict.blocked)
                found |= verdict.by_host
        return found


def out_of_scope(description: str) -> Refusal:
    """What a rule says about hosts that it never takes."""
    return Refusal(Code.OUT_OF_SCOPE, f"the rule takes {description}")


def place_of(classified: ClassifiedAggregate) -> Place:
    """The aggregate as a move names it."""
    aggregate = classified.aggregate
    assert classified.pool is not None  # noqa: S101 - origins and destinations are pools
    return Place(id=aggregate.id, uuid=aggregate.uuid, name=aggregate.name, pool=classified.pool)
