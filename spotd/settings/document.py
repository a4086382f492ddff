"""A YAML text as plain values, each with the line its key stands on.

Stricter than YAML where YAML surprises: a key comes once, nothing is an alias, no tag makes objects.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from spotd.settings.files import FileTooLarge, read_regular
from spotd.settings.problems import Problem, cut

Place = tuple[str | int, ...]
"""Where a value stands: keys, and positions in lists."""

LARGEST_FILE_BYTES = 256 * 1024
DEEPEST_NESTING = 20
TAGS_HELP = "tags (!…) are not supported; text that begins with ! needs quotes"
NO_CHARACTER = "text with \\0, or with half of a surrogate pair, cannot be used"
_CORE = "tag:yaml.org,2002:"
_SCALARS = {f"{_CORE}{name}" for name in ("null", "bool", "int", "float", "str")}
_KEPT_AS_TEXT = {f"{_CORE}timestamp", f"{_CORE}value"}
_NUMBERS = {f"{_CORE}int", f"{_CORE}float"}
_SURPRISING_NUMBER = re.compile(r":|^[-+]?0[0-9]")
"""YAML 1.1 reads 1:30 as 90 and 010 as 8; here they stay text."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds; `values` is None where it cannot be read at all."""

    values: dict[str, Any] | None
    lines: Mapping[Place, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    is_world_readable: bool = False
    """Whether everyone on the machine may read the file."""


def read_document(path: Path) -> Document:
    """The file's values, or what keeps it from being read."""
    try:
        found = read_regular(path, most_bytes=LARGEST_FILE_BYTES)
    except OSError as error:
        return _unreadable(Problem(where=str(path), message=f"cannot be read: {why(error)}"))
    except FileTooLarge:
        message = f"is larger than {LARGEST_FILE_BYTES // 1024} KiB"
        return _unreadable(Problem(where=str(path), message=message))
    try:
        text = found.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = found.content.count(b"\n", 0, error.start) + 1
        return _unreadable(Problem(where=str(path), line=line, message="is not UTF-8"))
    return replace(parse_document(text, str(path)), is_world_readable=found.is_world_readable)


def parse_document(text: str, where: str) -> Document:
    """The text's values with the lines of their keys."""
    try:
        problem = _refused_event(text, where)
        if problem is not None:
            return _unreadable(problem)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        return _unreadable(_syntax_problem(error, text, where))
    if node is None:
        return Document({})
    if not isinstance(node, yaml.MappingNode) or node.tag != f"{_CORE}map":
        return _unreadable(
            Problem(
                where=where,
                line=_line(node),
                message="must hold keys with values at the top, such as 'cache:'",
            )
        )
    walk = _Walk(where)
    values = walk.mapping(node, ())
    return Document(values, walk.lines, tuple(walk.problems))


def is_text(text: str) -> bool:
    """Whether no path, database or connection stumbles over it: YAML's escapes write what is no character."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def why(error: OSError) -> str:
    """The system's reason in lower case, without the path that the line already names."""
    return (error.strerror or type(error).__name__).lower()


def _unreadable(problem: Problem) -> Document:
    return Document(None, problems=(problem,))


def _refused_event(text: str, where: str) -> Problem | None:
    """The first thing that must not be composed: it could grow without bound, or would be lost."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if getattr(event, "anchor", None) is not None:
            # Not named: a secret that begins with & or * and is not quoted would be shown.
            message = "anchors and aliases are not supported; text that begins with & or * needs quotes"
            return Problem(where=where, line=line, message=message)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST_NESTING:
            return Problem(where=where, line=line, message=f"is nested deeper than {DEEPEST_NESTING} levels")
    return None


def _syntax_problem(error: yaml.YAMLError, text: str, where: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        # YAML quotes the names of tags, which may be a secret that begins with ! and is not quoted.
        reason = re.sub(r"'!.+'", "'!…'", error.problem or "unknown reason").removeprefix("but ")
        if mark is not None:
            line, column = mark.line + 1, mark.column + 1
            return Problem(where=where, line=line, column=column, message=f"is not valid YAML: {reason}")
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(where=where, line=line, message="is not valid YAML: holds a control character")
    return Problem(where=where, message="is not valid YAML")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Walk:
    """One pass over the nodes: values, lines of keys, and what is refused."""

    def __init__(self, where: str) -> None:
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self._where = where
        self._constructor = yaml.constructor.SafeConstructor()

    def mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, "a key must be one word, not a list or a group")
                continue
            # As written: `no:` and `3090:` are the texts they look like, not False and a number.
            key = str(key_node.value)
            here = (*place, key)
            if not is_text(key):
                self._refuse(key_node, NO_CHARACTER)
                continue
            if here in self.lines:
                self._refuse(key_node, f"duplicate key {cut(key)!r} (first on line {self.lines[here]})")
                continue
            self.lines[here] = _line(key_node)
            values[key] = self._value(value_node, here)
        return values

    def _value(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
            return self.mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
            return [self._item(item, (*place, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._refuse(node, TAGS_HELP)
        return None

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag in _KEPT_AS_TEXT or (node.tag in _NUMBERS and _SURPRISING_NUMBER.search(node.value)):
            return str(node.value)
        if node.tag not in _SCALARS:
            self._refuse(node, TAGS_HELP)
            return None
        if not is_text(node.value):
            self._refuse(node, NO_CHARACTER)
            return None
        try:
            return self._constructor.construct_object(node)
        except (ValueError, yaml.YAMLError):
            self._refuse(node, "a number that YAML cannot read; put it in quotes if it is text")
            return None

    def _item(self, node: yaml.Node, place: Place) -> Any:
        self.lines[place] = _line(node)
        return self._value(node, place)

    def _refuse(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(where=self._where, line=_line(node), message=message))
