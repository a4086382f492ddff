"""What an expression may cost: counted on its syntax tree when it is read, so that no cycle can be burned.

Facts are numbers, never lists. The macros (`all`, `exists`, `exists_one`, `filter`, `map`) therefore go over
lists of numbers that are written out, and what they bind is a number: nothing can grow from round to round,
and the cost is the sum over all nodes, each as often as the macros around it have it evaluated.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_STEPS = 5_000
"""Node evaluations of one expression, about half a millisecond: a hundred times what a rule can need."""
DEEPEST_TREE = 120
"""Levels of a tree; the library stops at 32 levels of the text, of which a macro makes three."""
_OPERATORS = frozenset(
    {
        "_+_",
        "_-_",
        "_*_",
        "_/_",
        "_%_",
        "-_",
        "!_",
        "_&&_",
        "_||_",
        "_?_:_",
        "_==_",
        "_!=_",
        "_<_",
        "_<=_",
        "_>_",
        "_>=_",
        "_[_]",
        "@in",
        "@not_strictly_false",
    }
)
FUNCTIONS = frozenset(
    {
        "bool",
        "bytes",
        "contains",
        "double",
        "duration",
        "dyn",
        "endsWith",
        "int",
        "size",
        "startsWith",
        "string",
        "timestamp",
        "type",
        "uint",
    }
)
"""Those whose cost is no more than that of reading their operands; a regular expression's is not."""

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_NUMBERS = frozenset({1, 2, 3, 4})
"""`Type.PrimitiveType`: BOOL, INT64, UINT64 and DOUBLE."""

Message = dict[int, list[int | bytes]]


class CostError(ValueError):
    """The expression is not taken; its text completes "KEY: …"."""


def steps_of(serialized: bytes) -> int:
    """How many nodes one evaluation visits at most.

    Args:
        serialized: A `google.protobuf.Any` that holds a `cel.expr.CheckedExpr`, as `serialize()` gives it.
            Source: https://github.com/google/cel-spec, `proto/cel/expr/checked.proto` and `syntax.proto`.

    Raises:
        CostError: It visits more than `MOST_STEPS`, or holds what cannot be counted.
    """
    checked = _inner(_message(serialized), 2)
    types = {_number(entry, 1): _inner(entry, 2) for entry in _all(checked, 3)}
    counter = _Counter(types)
    counter.count(_inner(checked, 4), rounds=1, depth=0)
    return counter.steps


@dataclass(slots=True)
class _Counter:
    """Walks a tree; `rounds` is how often the macros around a node have it evaluated."""

    types: dict[int, Message]
    steps: int = field(default=0)

    def count(self, node: Message, *, rounds: int, depth: int) -> None:
        if depth > DEEPEST_TREE:
            raise CostError(f"is nested deeper than {DEEPEST_TREE} levels")
        self.steps += rounds
        if self.steps > MOST_STEPS:
            raise CostError(
                f"costs too much: more than {MOST_STEPS:,} steps for one answer; "
                "macros within macros multiply what is in them"
            )
        for inner, times in self._inside(node):
            self.count(inner, rounds=rounds * times, depth=depth + 1)

    def _inside(self, node: Message) -> Iterator[tuple[Message, int]]:
        """The nodes within, each with how often it is evaluated for one evaluation of this one."""
        kind = next(iter(node.keys() - {_ID}), None)
        if kind in (_CONST, _IDENT):
            return
        if kind not in (_SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION):
            raise CostError("holds something that is not for rules")
        body = _inner(node, kind)
        if kind == _SELECT:
            yield _inner(body, 1), 1
        elif kind == _CALL:
            yield from self._called(body)
        elif kind == _LIST:
            yield from ((element, 1) for element in _all(body, 1))
        elif kind == _STRUCT:
            yield from self._entries(body)
        else:
            yield from self._repeated(body)

    def _called(self, call: Message) -> Iterator[tuple[Message, int]]:
        name = _text(call, 2)
        if name not in _OPERATORS and name not in FUNCTIONS:
            offered = ", ".join(sorted(FUNCTIONS))
            raise CostError(f"{name}() is not for rules: facts are numbers (functions: {offered})")
        yield from ((operand, 1) for operand in (*_all(call, 1), *_all(call, 3)))

    def _entries(self, struct: Message) -> Iterator[tuple[Message, int]]:
        if _text(struct, 1):
            raise CostError(f"{_text(struct, 1)} is not for rules: facts are numbers")
        for entry in _all(struct, 2):
            yield from ((part, 1) for part in (*_all(entry, 3), *_all(entry, 4)))

    def _repeated(self, macro: Message) -> Iterator[tuple[Message, int]]:
        over = _inner(macro, 2)
        elements = self.types.get(_number(over, _ID), {})
        of = _inner(_inner(elements, _LIST_TYPE), 1)
        if _LIST not in over or _number(of, _PRIMITIVE) not in _NUMBERS:
            raise CostError("a macro goes over a list of numbers that is written out, such as [1, 2, 3]")
        rounds = len(list(_all(_inner(over, _LIST), 1)))
        yield from ((part, 1) for part in (over, *_all(macro, 4), *_all(macro, 7)))
        yield from ((part, rounds) for part in (*_all(macro, 5), *_all(macro, 6)))


# Fields of `cel.expr.Type` and of `cel.expr.Expr`.
_PRIMITIVE, _LIST_TYPE = 3, 6
_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 2, 3, 4, 5, 6, 7, 8, 9


def _message(data: bytes) -> Message:
    """The fields of a message by their numbers. Source: https://protobuf.dev/programming-guides/encoding/."""
    found: Message = {}
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        value: int | bytes
        if wire == _VARINT:
            value, place = _varint(data, place)
        else:
            if wire == _DELIMITED:
                length, place = _varint(data, place)
            elif wire in (_FIXED32, _FIXED64):
                length = 4 if wire == _FIXED32 else 8
            else:
                raise CostError("holds something that cannot be counted")
            value, place = data[place : place + length], place + length
        found.setdefault(number, []).append(value)
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, place


def _all(message: Message, number: int) -> Iterator[Message]:
    return (_message(value) for value in message.get(number, ()) if isinstance(value, bytes))


def _inner(message: Message, number: int) -> Message:
    return next(_all(message, number), {})


def _number(message: Message, number: int) -> int:
    value = message.get(number, [0])[-1]
    return value if isinstance(value, int) else 0


def _text(message: Message, number: int) -> str:
    value = message.get(number, [b""])[-1]
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
