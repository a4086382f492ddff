"""Which pool sizes and times `search` tries: those that tell the thresholds of some rules apart."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronsim import CronSim

from spotd.planning.expressions import Expression
from spotd.planning.facts import AGED, FactValue
from spotd.planning.rules import Rule, Rules
from spotd.planning.wishes import mentions

GPUS = 8
"""GPUs of each host of the searched fleets."""
_MONDAY = datetime(2030, 1, 7, tzinfo=UTC)
_LARGEST_SIZE = 100_000
_MOST_SIZES = 14
_MOST_SIZES_THOROUGH = 16
_HUNDRED = 100
"""Hosts of a pool whose utilization is to be met to the hundredth."""

Times = list[tuple[datetime, dict[str, FactValue]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Hosts that a pool is tried with."""

    sizes: tuple[int, ...]
    """In order."""
    is_whole: bool
    """Whether every size that the rules name is among them."""


def sizes_for(rules: Sequence[Rule], *, thorough: bool = False) -> Sizes:
    """Each number that the rules name, one less and one more, as hosts and as GPUs.

    Args:
        rules: Those whose thresholds matter.
        thorough: Also sizes at which a pool is used to about each ratio that they name.
    """
    wanted = dict.fromkeys((0, 1, 2))
    for number in _numbers(rules):
        wanted |= dict.fromkeys((number + 1, number - 1, number, number + 2))
    if thorough:
        for ratio in _ratios(rules):
            free = round(_HUNDRED * (1 - ratio))
            wanted |= dict.fromkeys((_HUNDRED, free, free - 1, free + 1))
    named = [size for size in wanted if 0 <= size <= _LARGEST_SIZE]
    most = _MOST_SIZES_THOROUGH if thorough else _MOST_SIZES
    kept = list(dict.fromkeys((*named, 10, 3, 4)))[:most]
    return Sizes(sizes=tuple(sorted(kept)), is_whole=len(named) <= most)


def times_for(rules: Rules, of: Sequence[Rule]) -> Times:
    """Hours of a week and the next opening of each window, one of each kind that these rules tell apart."""
    openings = {
        next(CronSim(window.cron, rules.local(_MONDAY)), _MONDAY).astimezone(UTC)
        for rule in of
        for window in rule.windows
    }
    named = {fact for rule in of for fact in mentions(rule)}
    kinds: dict[object, datetime] = {}
    for moment in [*(_MONDAY + timedelta(hours=hour) for hour in range(7 * 24)), *sorted(openings)]:
        local = rules.local(moment)
        hour = local.hour if "hour" in named else None
        weekday = local.isoweekday() if "weekday" in named else None
        kinds.setdefault((hour, weekday, *(rule.is_open(moment) for rule in of)), moment)
    return [(moment, _clock(rules, moment)) for moment in kinds.values()]


def _numbers(rules: Sequence[Rule]) -> list[int]:
    """As hosts, the rules' own first."""
    numbers: list[int] = []
    for rule in rules:
        for words in _texts(rule):
            found = [int(text) for text in re.findall(r"(?<![\w.])\d{1,6}(?![\w.])", words)]
            numbers += [number // GPUS for number in found] if "gpus" in words else []
            numbers += found
        numbers += [rule.limits.keep_hosts, rule.limits.keep_free_gpus // GPUS]
    return [number for number in dict.fromkeys(numbers) if number]


def _ratios(rules: Sequence[Rule]) -> list[float]:
    """Those from 0 to 1."""
    texts = [words for rule in rules for words in _texts(rule)]
    return [float(text) for words in texts for text in re.findall(r"(?<![\w.])0\.\d{1,6}(?![\w.])", words)]


def _texts(rule: Rule) -> Iterator[str]:
    for expression in (rule.when, rule.until, rule.count):
        if isinstance(expression, Expression):
            yield expression.text


def _clock(rules: Rules, moment: datetime) -> dict[str, FactValue]:
    local = rules.local(moment)
    return {"hour": local.hour, "weekday": local.isoweekday(), **{f"age.{source}": 0.0 for source in AGED}}
