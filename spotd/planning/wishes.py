"""A rule for one GPU type: which hosts it may take, where they go, and what its expressions say."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from spotd.fleet.interpretation import canonical
from spotd.fleet.snapshot import ClassifiedAggregate, FleetSnapshot, Pool
from spotd.planning.census import Census, View
from spotd.planning.expressions import Expression, Unknown
from spotd.planning.facts import AGED, FROM, NAMED_POOLS, TO, FactValue
from spotd.planning.models import NO_VARIANT
from spotd.planning.plan import RuleKey
from spotd.planning.refusals import Code, Refusal
from spotd.planning.rules import Rule, Rules
from spotd.planning.states import Condition, Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A rule and a GPU type."""

    rule: Rule
    gpu_type: str
    """In its canonical spelling."""
    origin: View
    """The hosts that may be taken."""
    views: tuple[tuple[str, View], ...]
    """The sums that its expressions need, by the name that goes before the dot."""

    @property
    def key(self) -> RuleKey:
        """What its state is kept under."""
        return self.rule.name, self.gpu_type

    def facts(self, census: Census, times: Mapping[str, FactValue]) -> dict[str, FactValue]:
        """Every known fact that its expressions may need."""
        facts = dict(times)
        for name, view in self.views:
            for key, value in census.sums(view).items():
                facts[f"{name}.{key}"] = value
        return facts

    def condition(self, facts: Mapping[str, FactValue]) -> Condition:
        """What `when` and `until` say."""
        when = self.rule.when.evaluate(facts)
        until = None if self.rule.until is None else self.rule.until.evaluate(facts)
        unknown = [answer for answer in (when, until) if isinstance(answer, Unknown)]
        # What failed is told first: it does not heal by itself as an unknown fact does.
        told = min(unknown, key=lambda answer: not answer.is_failure, default=Unknown(""))
        return Condition(
            when=_truth(when),
            until=None if until is None else _truth(until),
            hold=self.rule.hold,
            reason=told.reason,
            is_failure=told.is_failure,
        )

    def fires(self, facts: Mapping[str, FactValue], *, is_active: bool) -> bool:
        """Whether the rule would act on these facts, its `for` aside."""
        when = self.rule.when.evaluate(facts)
        if isinstance(when, Unknown) or (self.rule.until is None and not when):
            return False
        if self.rule.until is None:
            return True
        return (bool(when) or is_active) and self.rule.until.evaluate(facts) is False

    def wanted(self, facts: Mapping[str, FactValue]) -> int | Refusal:
        """How many hosts the rule wants in this cycle."""
        count: int | Unknown = self.rule.count if isinstance(self.rule.count, int) else 0
        if isinstance(self.rule.count, Expression):
            count = self.rule.count.evaluate(facts)
        if isinstance(count, Unknown):
            code = Code.RULE_FAILED if count.is_failure else Code.COUNT_UNKNOWN
            return Refusal(code, f"count is unknown: {count.reason}")
        return max(0, min(count, self.rule.at_most))


def wishes(rules: Rules, snapshot: FleetSnapshot) -> list[Wish]:
    """Every rule for every GPU type it names, or else that the fleet has, in the order that decides.

    The order is the file's; within a rule, GPU types follow their names.
    """
    in_fleet = {canonical(c.gpu_type) for c in snapshot.aggregates if c.gpu_type is not None}
    return [
        _wish(rule, gpu_type)
        for rule in rules.rules
        for gpu_type in sorted(in_fleet if rule.gpu_types is None else set(map(canonical, rule.gpu_types)))
    ]


def conditions(
    asked: Iterable[Wish], facts: Mapping[RuleKey, Mapping[str, FactValue]], unread: Refusal | None
) -> dict[RuleKey, Condition]:
    """What each rule's expressions say; over readings that are missing or too old nothing can be said."""
    if unread is None:
        return {wish.key: wish.condition(facts[wish.key]) for wish in asked}
    return {
        wish.key: Condition(
            when=Truth.UNKNOWN,
            until=None if wish.rule.until is None else Truth.UNKNOWN,
            hold=wish.rule.hold,
            reason=unread.sentence,
        )
        for wish in asked
    }


def destination(wish: Wish, snapshot: FleetSnapshot) -> ClassifiedAggregate | Refusal:
    """The one aggregate that the rule's hosts go to."""
    rule = wish.rule
    found = [
        classified
        for classified in snapshot.aggregates
        if classified.pool is rule.to
        and classified.gpu_type is not None
        and canonical(classified.gpu_type) == wish.gpu_type
        and (rule.to is not Pool.CONTRACT or classified.contract == rule.contract)
        and (rule.to_variant is None or (classified.variant or NO_VARIANT) == rule.to_variant)
    ]
    if len(found) > 1 and rule.to_variant is None:
        found = [classified for classified in found if classified.variant is None] or found
    if not found:
        return Refusal(Code.NO_DESTINATION, f"no {rule.to} aggregate of GPU type {wish.gpu_type}")
    if len(found) > 1:
        names = ", ".join(classified.aggregate.name for classified in found)
        return Refusal(Code.SEVERAL_DESTINATIONS, f"{names} would do: name one by to_variant")
    return found[0]


def times(rules: Rules, snapshot: FleetSnapshot, now: datetime) -> dict[str, FactValue]:
    """Hour, weekday and the ages of the readings."""
    local = rules.local(now)
    facts: dict[str, FactValue] = {"hour": local.hour, "weekday": local.isoweekday()}
    for source in AGED:
        reading = getattr(snapshot.readings, source)
        if reading is not None:
            facts[f"age.{source}"] = reading.age_seconds(now)
    return facts


def mentions(rule: Rule) -> frozenset[str]:
    """Every fact that the rule's expressions name."""
    named: frozenset[str] = frozenset()
    for expression in (rule.when, rule.until, rule.count):
        if isinstance(expression, Expression):
            named |= expression.mentions
    return named


def describe(rule: Rule) -> str:
    """Which hosts the rule takes, in words."""
    return " ".join(_words(rule))


def _words(rule: Rule) -> Iterator[str]:
    yield f"{' and '.join(rule.gpu_types)} hosts" if rule.gpu_types else "hosts"
    yield f"out of {' and '.join(rule.from_pools)}"
    for name, value in (("variant", rule.variant), ("contract", rule.contract)):
        if value is not None:
            yield f"of {name} {value}"
    for name, values in (("sites", rule.sites), ("tenants", rule.tenants)):
        if values is not None:
            yield f"of {name} {', '.join(values)}"


def _wish(rule: Rule, gpu_type: str) -> Wish:
    origin = View(
        gpu_type=gpu_type,
        pools=rule.from_pools,
        variant=rule.variant,
        sites=rule.sites,
        tenants=rule.tenants,
        contract=rule.contract,
    )
    views = {
        FROM: origin,
        TO: View(gpu_type=gpu_type, pools=(rule.to,), sites=rule.sites, contract=rule.contract),
        **{pool: View(gpu_type=gpu_type, pools=(Pool(pool),), sites=rule.sites) for pool in NAMED_POOLS},
    }
    needed = {name.partition(".")[0] for name in mentions(rule)}
    return Wish(
        rule=rule,
        gpu_type=gpu_type,
        origin=origin,
        views=tuple((name, view) for name, view in views.items() if name in needed),
    )


def _truth(answer: int | Unknown) -> Truth:
    if isinstance(answer, Unknown):
        return Truth.UNKNOWN
    return Truth.TRUE if answer else Truth.FALSE
