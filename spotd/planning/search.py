"""Searches small fleets for rules that never fire, that fight, or that swing hosts to and fro.

The fleets have one GPU type and no sites, tenants or variants: what the rules say about those is taken
as overlapping. A finding therefore comes with its fleet, to be judged by whoever wrote the rules.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from spotd.fleet.interpretation import canonical
from spotd.fleet.snapshot import Pool
from spotd.planning.expressions import Unknown
from spotd.planning.facts import FROM, NAMED_POOLS, TO, FactValue
from spotd.planning.rules import Rule, Rules
from spotd.planning.samples import GPUS, Times, sizes_for, times_for
from spotd.planning.wishes import mentions

FLEETS, FLEETS_THOROUGH = 5_000, 20_000
"""About how many are tried for each rule or pair: fixed, so that a file always gets the same answer."""
MOST_TRIED = 2_000_000
"""Fleets over all rules and pairs: a file of hundreds of rules is searched less closely, not for hours."""
LONGEST_WALK = 60
_POOLS = (Pool.ONDEMAND, Pool.SPOT, Pool.RUNPOD, Pool.CONTRACT)

Counts = tuple[tuple[int, int], ...]
"""Hosts and free hosts of each pool, in the order of `_POOLS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that rules do which nobody can want."""

    kind: Literal["never-fires", "fight", "swing"]
    rules: tuple[str, ...]
    sentence: str
    example: tuple[str, ...] = ()
    """The counter-example, a line for each step."""


def search(rules: Rules, *, most_tried: int = MOST_TRIED) -> tuple[Finding, ...]:
    """Everything that was found; nothing found is no proof that there is nothing."""
    field = _Field(rules, most_tried)
    findings = [*field.silent(), *field.fights()]
    if not any(finding.kind == "fight" for finding in findings):
        findings += field.swings()
    return tuple(findings)


class _Field:
    """The fleets and times that are tried."""

    def __init__(self, rules: Rules, most_tried: int) -> None:
        self._rules = rules
        self._pairs = [
            (one, other)
            for one, other in itertools.combinations(rules.rules, 2)
            if one.to in other.from_pools and other.to in one.from_pools and _overlap(one, other)
        ]
        self._most = most_tried // max(1, len(rules.rules) + 2 * len(self._pairs))

    def silent(self) -> Iterator[Finding]:
        for rule in self._rules.rules:
            tried = sizes_for((rule,), thorough=True)
            if not tried.is_whole or any(self._fires(rule, thorough=thorough) for thorough in (False, True)):
                continue
            sizes = ", ".join(map(str, tried.sizes))
            sentence = f"no fleet with pools of {sizes} hosts makes it move one at any time of the week"
            yield Finding(kind="never-fires", rules=(rule.name,), sentence=sentence)

    def _fires(self, rule: Rule, *, thorough: bool) -> bool:
        """Whether a fleet makes it move a host; taken for granted where not all can be tried."""
        counts_of_each, open_times = self._tried(rule, (rule,), thorough=thorough)
        if math.prod(map(len, counts_of_each)) * len(open_times) > self._most:
            return True
        return next(self._firing(rule, (rule,), thorough=thorough), None) is not None

    def fights(self) -> Iterator[Finding]:
        for one, other in self._pairs:
            found = self._fight(one, other) or self._fight(other, one)
            if found is not None:
                yield found

    def swings(self) -> Iterator[Finding]:
        """The first one: others are mostly the same seen from elsewhere."""
        for rule in self._rules.rules:
            others = tuple(other for other in self._rules.rules if _overlap(rule, other))
            for counts, moment, clock in itertools.islice(self._firing(rule, others), 500):
                if (found := _walk(others, counts, moment, clock)) is not None:
                    yield found
                    return

    def _fight(self, one: Rule, other: Rule) -> Finding | None:
        for counts, moment, clock in self._firing(one, (one, other)):
            after = _moved(one, counts)
            if (
                not other.is_open(moment)
                or not _starts(other, after, clock)
                or _wanted(other, after, clock) < 1
            ):
                continue
            return Finding(
                kind="fight",
                rules=(one.name, other.name),
                sentence="one undoes what the other has just done; the plan refuses such moves",
                example=(
                    f"{_shown(counts, moment)}: {one.name} moves a host to {one.to}",
                    f"{_shown(after, moment)}: {other.name} moves one to {other.to}",
                ),
            )
        return None

    def _firing(
        self, rule: Rule, with_rules: tuple[Rule, ...], *, thorough: bool = False
    ) -> Iterator[tuple[Counts, datetime, dict[str, FactValue]]]:
        """Fleets and times at which the rule moves a host, among those that these rules can tell apart."""
        counts_of_each, open_times = self._tried(rule, with_rules, thorough=thorough)
        tried = ((counts, *at) for counts in itertools.product(*counts_of_each) for at in open_times)
        for counts, moment, clock in itertools.islice(tried, self._most):
            if _acts(rule, counts, clock):
                yield counts, moment, clock

    def _tried(
        self, rule: Rule, with_rules: tuple[Rule, ...], *, thorough: bool
    ) -> tuple[list[Counts], Times]:
        """Hosts and free hosts of each pool, and times."""
        pools = {pool for known in with_rules for pool in _named_pools(known)}
        times = times_for(self._rules, with_rules)
        open_times = [(moment, clock) for moment, clock in times if rule.is_open(moment)]
        fleets = FLEETS_THOROUGH if thorough else FLEETS
        most = round((fleets / max(1, len(open_times))) ** (1 / len(pools)))
        sizes = sizes_for(with_rules, thorough=thorough).sizes
        counts_of_one = _pool_counts(sizes)[: max(most, 2 * len(sizes))]
        return [counts_of_one if pool in pools else ((0, 0),) for pool in _POOLS], open_times


def _pool_counts(sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Hosts and free hosts of one pool, the most telling first: all free or none free."""
    pairs = [(hosts, free) for hosts in sizes for free in sizes if free <= hosts]
    return tuple(sorted(pairs, key=lambda pair: (pair[1] not in (0, pair[0]), pair)))


def _walk(
    rules: tuple[Rule, ...], counts: Counts, moment: datetime, clock: dict[str, FactValue]
) -> Finding | None:
    """Let the rules move one host after the other until they rest, or until a fleet comes back."""
    active: frozenset[str] = frozenset()
    seen: dict[tuple[Counts, frozenset[str]], int] = {}
    steps: list[tuple[str, Counts, Pool]] = []
    for _ in range(LONGEST_WALK):
        if (counts, active) in seen:
            turn = steps[seen[counts, active] :]
            names = tuple(dict.fromkeys(name for name, _, _ in turn))
            lines = (f"{_shown(before, moment)}: {name} moves a host to {to}" for name, before, to in turn)
            sentence = "hosts go round for ever though nobody starts or ends a server"
            return Finding(kind="swing", rules=names, sentence=sentence, example=tuple(lines))
        seen[counts, active] = len(steps)
        active = frozenset(rule.name for rule in rules if _acting(rule, active, counts, clock))
        mover = next(
            (
                rule
                for rule in rules
                if rule.name in active and rule.is_open(moment) and _can(rule, counts, clock)
            ),
            None,
        )
        if mover is None:
            return None
        steps.append((mover.name, counts, mover.to))
        counts = _moved(mover, counts)
    return None


def _acting(rule: Rule, active: frozenset[str], counts: Counts, clock: dict[str, FactValue]) -> bool:
    if rule.name in active and rule.until is not None:
        return rule.until.evaluate(_facts(rule, counts, clock)) is False
    return _starts(rule, counts, clock)


def _acts(rule: Rule, counts: Counts, clock: dict[str, FactValue]) -> bool:
    return _can(rule, counts, clock) and _starts(rule, counts, clock)


def _can(rule: Rule, counts: Counts, clock: dict[str, FactValue]) -> bool:
    """Whether a host is there to be moved and the limits of the rule let it go."""
    hosts = sum(counts[_POOLS.index(pool)][0] for pool in rule.from_pools)
    free = sum(counts[_POOLS.index(pool)][1] for pool in rule.from_pools)
    return (
        free > 0
        and hosts - 1 >= rule.limits.keep_hosts
        and (free - 1) * GPUS >= rule.limits.keep_free_gpus
        and _wanted(rule, counts, clock) > 0
    )


def _wanted(rule: Rule, counts: Counts, clock: dict[str, FactValue]) -> int:
    if isinstance(rule.count, int):
        return rule.count
    value = rule.count.evaluate(_facts(rule, counts, clock))
    return 0 if isinstance(value, Unknown) else value


def _starts(rule: Rule, counts: Counts, clock: dict[str, FactValue]) -> bool:
    facts = _facts(rule, counts, clock)
    return rule.when.evaluate(facts) is True and (rule.until is None or rule.until.evaluate(facts) is False)


def _moved(rule: Rule, counts: Counts) -> Counts:
    """The fleet after one free host went from the first pool that has one to the rule's destination."""
    origin = next(pool for pool in rule.from_pools if counts[_POOLS.index(pool)][1] > 0)
    changes = {origin: -1, rule.to: 1}
    return tuple(
        (hosts + changes.get(pool, 0), free + changes.get(pool, 0))
        for pool, (hosts, free) in zip(_POOLS, counts, strict=True)
    )


def _facts(rule: Rule, counts: Counts, clock: dict[str, FactValue]) -> dict[str, FactValue]:
    by_pool = dict(zip(_POOLS, counts, strict=True))
    views = {FROM: rule.from_pools, TO: (rule.to,), **{pool: (Pool(pool),) for pool in NAMED_POOLS}}
    facts = dict(clock)
    for name, pools in views.items():
        hosts, free = (sum(by_pool[pool][place] for pool in pools) for place in (0, 1))
        used = (hosts - free) * GPUS
        facts[f"{name}.hosts"], facts[f"{name}.free_hosts"] = hosts, free
        facts[f"{name}.gpus"], facts[f"{name}.gpus_used"] = hosts * GPUS, used
        facts[f"{name}.free_gpus"] = free * GPUS
        if hosts:
            facts[f"{name}.utilization"] = used / (hosts * GPUS)
    return facts


def _named_pools(rule: Rule) -> set[Pool]:
    named = {fact.partition(".")[0] for fact in mentions(rule)}
    return {*rule.from_pools, rule.to, *(Pool(pool) for pool in NAMED_POOLS if pool in named)}


def _overlap(one: Rule, other: Rule) -> bool:
    if one.gpu_types is None or other.gpu_types is None:
        return True
    return not {*map(canonical, one.gpu_types)}.isdisjoint(map(canonical, other.gpu_types))


def _shown(counts: Counts, moment: datetime) -> str:
    words = (
        f"{pool} {hosts} hosts, {free} free"
        for pool, (hosts, free) in zip(_POOLS, counts, strict=True)
        if hosts
    )
    return f"{moment:%a %H:%M} UTC, {'; '.join(words)}"
