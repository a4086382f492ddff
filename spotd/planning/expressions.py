"""CEL expressions over the facts: typed when they are read, unknown where a fact is unknown."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from spotd.planning.cost import CostError, steps_of
from spotd.planning.facts import FACTS, FactType, FactValue
from spotd.settings.problems import did_you_mean

LONGEST_EXPRESSION = 2000
_FINDING = re.compile(r"ERROR: <input>:-?\d+:-?\d+: (.*)")
_TOO_DEEP = re.compile(r"recursion (?:limit exceeded. limit: |depth of )(\d+)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD = re.compile(r"no matching overload for '_?([^'_]+)_?' applied to '(\([^']*\))'")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)?")
_AROUND_DOT = re.compile(r"\s*\.\s*")
_TYPES: Mapping[FactType, str] = {"int": "INT", "double": "DOUBLE", "bool": "BOOL"}
_WANTED = {"bool": "true or false", "int": "a whole number"}


class ExpressionError(ValueError):
    """The expression is refused; its text holds one line for each finding."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer of an expression that mentions a fact nobody knows, or that fails on the facts."""

    reason: str
    is_failure: bool = False
    """Whether the expression failed on facts that are all known, such as a division by zero."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that passed the type check."""

    text: str
    mentions: frozenset[str]
    """The facts that it names."""
    program: Any = field(repr=False, compare=False)
    steps: int = field(default=1, compare=False)
    """What one answer costs at most, as `cost` counts it."""

    def evaluate(self, facts: Mapping[str, FactValue]) -> bool | int | Unknown:
        """The value over these facts; facts that are unknown are absent, and one is enough for Unknown.

        CEL alone would answer `unknown || true` with true; an operator reads less into a plain "unknown".
        Whatever the library throws is this expression's own failure, and raised to nobody.
        """
        missing = sorted(name for name in self.mentions if name not in facts)
        if missing:
            return Unknown(f"{', '.join(missing)} unknown")
        try:
            answer = self.program.eval(data=facts).value()
        except Exception as error:  # noqa: BLE001 - the edge of a rule: what is thrown here would end the cycle
            return _failure(str(error) or type(error).__name__)
        return answer if isinstance(answer, bool | int) else _failure(str(answer))


class _True:
    """A program that needs no CEL."""

    def eval(self, data: Mapping[str, FactValue]) -> Self:  # noqa: ARG002 - whatever the facts
        return self

    def value(self) -> bool:
        return True


ALWAYS = Expression("true", frozenset(), _True())
"""True whatever the facts."""


def parse_expression(text: str, wanted: FactType) -> Expression:
    """The expression, checked against the facts and the type it must give.

    Raises:
        ExpressionError: With every unknown name and type error.
    """
    if len(text) > LONGEST_EXPRESSION:
        raise ExpressionError(f"is longer than {LONGEST_EXPRESSION} characters")
    program = _compiled(text)
    given = program.return_type().name()
    if given != _TYPES[wanted]:
        raise ExpressionError(f"must give {_WANTED[wanted]}, not {given.lower()}")
    try:
        steps = steps_of(program.serialize())
    except CostError as error:
        raise ExpressionError(str(error)) from None
    words = _WORD.findall(_AROUND_DOT.sub(".", text))
    return Expression(text, frozenset(word for word in words if word in FACTS), program, steps)


def _compiled(text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ExpressionError("holds half a surrogate pair, which is no text") from None
    try:
        return _environment().compile(text)
    except RuntimeError as error:
        # The library has one exception for all; its text has a line for each finding.
        found = _FINDING.findall(str(error)) or [str(error).splitlines()[0]]
    raise ExpressionError("\n".join(dict.fromkeys(map(_in_words, found))))


def _failure(told: str) -> Unknown:
    reason = told.partition(": ")[2] or told
    return Unknown(f"it cannot be worked out ({(reason.splitlines() or [''])[0]})", is_failure=True)


@functools.cache
def _environment() -> Any:
    # 6 MB that a daemon without rules need not hold.
    from cel_expr_python import cel  # noqa: PLC0415

    types = {"int": cel.Type.INT, "double": cel.Type.DOUBLE, "bool": cel.Type.BOOL}
    return cel.NewEnv(variables={name: types[fact.type] for name, fact in FACTS.items()})


def _in_words(finding: str) -> str:
    if (deep := _TOO_DEEP.search(finding)) is not None:
        return f"is nested deeper than {deep[1]} levels; brackets and long sums count"
    if (undeclared := _UNDECLARED.search(finding)) is not None:
        name = undeclared[1]
        return f"unknown name {name!r}{did_you_mean(name, FACTS)} (facts: {', '.join(FACTS)})"
    if (overload := _OVERLOAD.search(finding)) is not None:
        operator, operands = overload.groups()
        hint = "; write 1.0 for a double, and double(…) around a whole number" if "double" in operands else ""
        return f"{operator!r} does not fit {operands}{hint}"
    return finding.partition(" expecting ")[0]
