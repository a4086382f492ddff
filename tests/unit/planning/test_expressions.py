"""Expressions are typed when they are read, and unknown where one fact is."""

import pytest

from spotd.planning.expressions import ALWAYS, ExpressionError, Unknown, parse_expression

REFUSED = {
    "syntax": ("from.hosts >", "Syntax error: mismatched input '<EOF>'"),
    "unknown-word": ("nonsense", "unknown name 'nonsense' (facts: from.hosts, "),
    "half-a-name": ("from > 1", "unknown name 'from'"),
    "whole-with-double": ("from.hosts * 0.2 > 1.0", "'*' does not fit (int, double); write 1.0 for a double"),
    "number-with-text": ("hour > 'a'", "'>' does not fit (int, string)"),
    "not-true-or-false": ("hour", "must give true or false, not int"),
    "too-long": ("true || " * 300 + "true", "is longer than 2000 characters"),
    "untyped": ("dyn(true)", "must give true or false, not dyn"),
}


@pytest.mark.parametrize(("text", "told"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_is_no_condition_over_the_facts(text: str, told: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse_expression(text, "bool")

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("from.hosts > 3", True),
        ("from.hosts > 3 && hour < 6", False),
        ("double(from.hosts) * 0.5 > from.utilization", True),
        ("weekday in [6, 7]", False),
    ],
)
def test_answers_over_known_facts(text: str, answer: bool) -> None:
    facts = {"from.hosts": 4, "from.utilization": 0.5, "hour": 12, "weekday": 2}

    assert parse_expression(text, "bool").evaluate(facts) is answer


@pytest.mark.parametrize(
    "text", ["from.hosts > 3", "true || from.hosts > 3", "from . hosts > 3 && false", "from.hosts == 0"]
)
def test_one_unknown_fact_makes_the_whole_answer_unknown(text: str) -> None:
    assert parse_expression(text, "bool").evaluate({"hour": 1}) == Unknown("from.hosts unknown")


@pytest.mark.parametrize("text", ["from.gpus / from.hosts > 1", "dyn(from.hosts) > 'a'"])
def test_what_fails_on_the_facts_is_unknown(text: str) -> None:
    answer = parse_expression(text, "bool").evaluate({"from.gpus": 8, "from.hosts": 0})

    assert isinstance(answer, Unknown)
    assert answer.reason.startswith("it cannot be worked out (")


def test_what_is_always_true_needs_no_fact() -> None:
    assert ALWAYS.evaluate({}) is True
    assert ALWAYS == parse_expression("true", "bool")
