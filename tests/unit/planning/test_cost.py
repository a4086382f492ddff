"""An expression costs little, whatever is written, and one that fails harms its own rule only."""

from typing import Any

import pytest
from fleets import NOW, FleetBuilder
from hypothesis import given
from hypothesis import strategies as st

from spotd.fleet.readings import Source
from spotd.planning.cost import MOST_STEPS
from spotd.planning.expressions import Expression, ExpressionError, Unknown, parse_expression
from spotd.planning.facts import FACTS
from spotd.planning.load import parse_rules
from spotd.planning.plan import Plan
from spotd.planning.planner import make_plan
from spotd.planning.refusals import Code
from spotd.settings.problems import ConfigurationError

TEN = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
TENFOLD = ".map(x, x + x + x + x + x + x + x + x + x + x)"
LISTS = "a macro goes over a list of numbers that is written out, such as [1, 2, 3]"
KNOWN = {name: 4 if fact.type == "int" else 0.5 for name, fact in FACTS.items()}


def nested(levels: int, inner: str = "hour >= 0") -> str:
    """Macros over ten numbers, each in the one before."""
    for level in range(levels, 0, -1):
        inner = f"{TEN}.all(x{level}, {inner})"
    return inner


REFUSED = {
    "seven nested macros": (nested(7), f"costs too much: more than {MOST_STEPS:,} steps for one answer"),
    "three nested macros": (nested(3), "costs too much"),
    "a text that grows": (f"[string(hour)]{TENFOLD * 10}.all(x, size(x) > 0)", LISTS),
    "a list that grows": (f"[[hour]]{TENFOLD * 10}.all(x, 3 in x)", LISTS),
    "a tree that grows": ("[hour]" + ".map(x, [x, x, x, x, x, x, x, x])" * 9 + ".all(x, x == x)", LISTS),
    "a text that grows without a fact": (f"['aaaaaaaa']{TENFOLD * 14}.all(x, x == 'b')", LISTS),
    "a macro over a list out of a list": ("[[1, 2]][0].all(x, x > 1)", LISTS),
    "a macro over a map": ("{1: 2}.all(x, x > 1)", LISTS),
    "a macro over what has no type": ("dyn([1, 2]).all(x, x > 1)", LISTS),
    "a macro over mixed numbers": ("[1, 2.0].all(x, x > 1.0)", LISTS),
    "a regular expression": ("'a'.matches('(((x{10}){10}){10})*')", "matches() is not for rules"),
    "a message": ("google.protobuf.Int64Value{value: 1} == 1", "google.protobuf.Int64Value is not for rules"),
    "many brackets": ("(" * 900 + "true" + ")" * 900, "is nested deeper than 32 levels"),
    "many lists": ("[" * 300 + "1" + "]" * 300 + " == [1]", "is nested deeper than 32 levels"),
    "a long sum": ("+".join(["hour"] * 300) + " > 1", "is nested deeper than 32 levels"),
    "many choices": ("true ? true : " * 100 + "true", "is nested deeper than 32 levels"),
    "a number too large to write": ("hour > 99999999999999999999", "invalid int literal"),
    "half a character": ("'\ud800' == 'a'", "holds half a surrogate pair"),
}


@pytest.mark.parametrize(("text", "told"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_could_burn_a_cycle(text: str, told: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse_expression(text, "bool")

    assert str(refused.value).startswith(told)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("[1, 2, 4].exists(x, x == hour)", True),
        ("[from.hosts, to.hosts, spot.hosts].all(x, x > 3)", True),
        ("[0.1, 0.2].exists_one(x, x < from.utilization)", False),
        ("size([1, 5, 6].filter(x, x > hour)) == 2", True),
        ("[1, 2].map(x, x * hour) == [4, 8]", True),
        (nested(2), True),
        ("{4: true, 5: false}[hour]", True),
        (" || ".join(["hour > 4"] * 150) + " || hour == 4", True),
        ("!" * 1900 + "(hour == 4)", True),
    ],
)
def test_takes_what_is_cheap(text: str, answer: bool) -> None:
    expression = parse_expression(text, "bool")

    assert expression.evaluate(KNOWN) is answer
    assert expression.steps <= MOST_STEPS


def test_what_costs_too_much_is_told_with_its_line_and_key() -> None:
    keys = f"when: '{nested(7)}',\n  count: '{nested(1)}'"
    text = f"rules:\n- {{name: burns, from: [ondemand], to: spot,\n  {keys}}}"

    with pytest.raises(ConfigurationError) as refused:
        parse_rules(text)

    costs, kind = str(refused.value).splitlines()
    assert costs.startswith("rules:3: rules[0].when: costs too much: more than 5,000 steps for one answer;")
    assert kind == "rules:4: rules[0].count: must give a whole number, not bool"


@pytest.mark.parametrize(
    ("rules", "when", "told"),
    [
        (501, "true", "rules:1: rules: holds more than 500"),
        (
            70,
            nested(2),
            "rules:1: rules: costs too much: more than 50,000 steps for all expressions together",
        ),
    ],
)
def test_a_file_of_very_many_rules_is_refused(rules: int, when: str, told: str) -> None:
    lines = [f"- {{name: r{n}, from: [ondemand], to: spot, when: '{when}'}}" for n in range(rules)]

    with pytest.raises(ConfigurationError) as refused:
        parse_rules("rules:\n" + "\n".join(lines))

    assert str(refused.value).startswith(told)


numbers = st.sampled_from(["hour", "from.hosts", "0", "7", "9223372036854775807", "x", "-x"])
anything = st.recursive(
    numbers | st.sampled_from(["'a'", "[1, 2]", "true", "1.5", "{1: 'b'}", "[x]", "duration('1h')"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", "/", "%", "-", "<", "==", "&&", "||", "in"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(
            st.sampled_from(["[1, 2, 3]", "[hour, 9]", "[[1], [2]]"]) | inner,
            st.sampled_from(["all", "exists", "exists_one", "map", "filter"]),
            inner,
        ).map(lambda parts: f"{parts[0]}.{parts[1]}(x, {parts[2]})"),
        st.tuples(st.sampled_from(["size", "string", "int", "dyn", "timestamp"]), inner).map(
            lambda parts: f"{parts[0]}({parts[1]})"
        ),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} ? {parts[1]} : {parts[2]})"),
    ),
    max_leaves=12,
)


@given(anything)
def test_an_expression_is_refused_or_answers_and_throws_nothing(text: str) -> None:
    try:
        expression = parse_expression(f"({text}) == ({text})", "bool")
    except ExpressionError:
        return

    assert isinstance(expression.evaluate(KNOWN), bool | Unknown)


class Throws:
    """A program that fails in a way that nobody thought of."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def eval(self, data: object) -> Any:
        raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("INTERNAL: Iteration budget exceeded [INTERNAL]"), MemoryError(), TypeError("odd")]
)
def test_whatever_the_library_throws_is_the_expressions_own_failure(error: BaseException) -> None:
    answer = Expression("hour > 1", frozenset(), Throws(error)).evaluate({})

    assert isinstance(answer, Unknown)
    assert answer.is_failure
    assert answer.reason.startswith("it cannot be worked out (")


def plan_with(bad: str) -> Plan:
    """A bad rule before a good one, on two idle hosts."""
    builder = FleetBuilder().aggregate("H100-n3-spot").unconfigured(Source.NETBOX)
    for name in ("od0", "od1"):
        builder.host(name, "H100-n3")
    text = f"""
rules:
- {{name: bad, from: [ondemand], to: spot, {bad}}}
- {{name: good, from: [ondemand], to: spot, when: from.free_hosts > 0}}
"""
    return make_plan(parse_rules(text), builder.snapshot(), (), NOW, {})


FAILING = {
    "divides by zero": "when: 1 / (from.hosts - 2) > 0",
    "remainder of zero": "when: 1 % (from.hosts - 2) > 0",
    "too large": "when: 9223372036854775807 + from.hosts > 0",
    "smallest by minus one": "when: -9223372036854775808 / (from.hosts - 3) > 0",
    "other kinds": "when: dyn(from.hosts) > 'a'",
    "no such place": "when: '[1][from.hosts] > 0'",
    "no such key": "when: '{1: true}[from.hosts]'",
    "a time too far": "when: timestamp(from.hosts * 999999999999) > timestamp(0)",
    "a length too long": "when: duration(string(from.hosts) + '99999999999999h') > duration('1s')",
    "no whole number": "when: int(1e300 * double(from.hosts)) > 0",
    "until": "when: 'true', until: 1 / (from.hosts - 2) > 0",
    "count": "when: 'true', count: 1 / (from.hosts - 2)",
}


@pytest.mark.parametrize("bad", FAILING.values(), ids=FAILING)
def test_a_rule_that_fails_moves_nothing_and_the_others_go_on(bad: str) -> None:
    plan = plan_with(bad)

    first, second = plan.verdicts
    assert [(move.host, move.rule) for move in plan.moves] == [("od0", "good")]
    assert first.blocked is not None
    assert first.blocked.code is Code.RULE_FAILED
    assert "it cannot be worked out (" in first.blocked.sentence
    assert first.failure is not None
    assert second.failure is None


def test_a_fact_that_is_unknown_is_no_failure() -> None:
    verdict = plan_with("when: to.utilization > 0.5").verdicts[0]

    assert verdict.blocked is not None
    assert (verdict.blocked.code, verdict.failure) == (Code.CONDITION_UNKNOWN, None)


def test_a_count_that_fails_while_the_rule_does_not_act_is_no_failure() -> None:
    verdict = plan_with("when: from.hosts > 2, count: 1 / (from.hosts - 2)").verdicts[0]

    assert verdict.blocked is not None
    assert (verdict.blocked.code, verdict.failure) == (Code.CONDITION_FALSE, None)
