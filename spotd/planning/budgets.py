"""How many more moves the limits allow, of one rule and of all."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from spotd.planning.models import AllLimits, RuleLimits
from spotd.planning.refusals import Code, Refusal
from spotd.planning.rules import Rule
from spotd.planning.surroundings import RecentMove

_ALL = None
_SPANS = (
    (Code.BUDGET_HOUR, "moves_per_hour"),
    (Code.BUDGET_DAY, "moves_per_day"),
    (Code.BUDGET_AT_ONCE, "moves_at_once"),
)


class Budgets:
    """Moves counted by rule and over all, those of this plan too."""

    def __init__(self, limits: AllLimits, recent_moves: Iterable[RecentMove], now: datetime) -> None:
        self._limits = limits
        self._spent: dict[Code, Counter[str | None]] = {code: Counter() for code, _ in _SPANS}
        for move in recent_moves:
            age = now - move.started_at
            self._count(Code.BUDGET_HOUR, move.rule, counts=age < timedelta(hours=1))
            self._count(Code.BUDGET_DAY, move.rule, counts=age < timedelta(days=1))
            self._count(Code.BUDGET_AT_ONCE, move.rule, counts=move.finished_at is None)

    def spend(self, rule: str) -> None:
        """Count one more move of a rule."""
        for code in self._spent:
            self._count(code, rule, counts=True)

    def refusal(self, rule: Rule) -> Refusal | None:
        """Which limit allows no further move of the rule."""
        return self._exhausted(rule.limits, rule.name) or self._exhausted(self._limits, _ALL)

    def remaining(self, rule: Rule) -> int:
        """How many more moves of the rule all limits together allow now."""
        left: list[int] = [
            limit - self._spent[code][name]
            for limits, name in ((rule.limits, rule.name), (self._limits, _ALL))
            for code, key in _SPANS
            if (limit := getattr(limits, key)) is not None
        ]
        return max(0, min(left))

    def _count(self, code: Code, rule: str | None, *, counts: bool) -> None:
        if counts:
            self._spent[code][_ALL] += 1
            if rule is not None:
                self._spent[code][rule] += 1

    def _exhausted(self, limits: RuleLimits | AllLimits, name: str | None) -> Refusal | None:
        for code, key in _SPANS:
            limit: int | None = getattr(limits, key)
            if limit is not None and self._spent[code][name] >= limit:
                whose = "all rules together" if name is None else "the rule"
                return Refusal(code, f"{key} of {whose} is {limit}, and so many are counted")
        return None
