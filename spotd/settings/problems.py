"""What is wrong with a configuration, one line for each problem, never with a secret in it."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_VALUE = 80
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")
_SECRET_KEY = re.compile(r"passw|passphrase|token|secret|credential|api_?key|redis_url", re.IGNORECASE)
_PLAIN_KEY = re.compile(r"_(file|path|seconds|name)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where: a line of the file, an environment variable, or a key."""

    where: str
    """The file as it was named, or the environment variable."""
    message: str
    line: int | None = None
    """Counted from 1; None where the problem is the file as a whole, or a variable."""
    column: int | None = None
    """Counted from 1; only where YAML itself cannot be read."""
    key: str | None = None
    """Dotted, such as cache.backend; None where `where` says it."""

    def __str__(self) -> str:
        """The one line that is shown."""
        place = ":".join(str(part) for part in (self.where, self.line, self.column) if part is not None)
        return ": ".join(part for part in (place, self.key, self.message) if part is not None)


class ConfigurationError(Exception):
    """The configuration is refused; its text is one line for each problem, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_in_reading_order))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _in_reading_order(problem: Problem) -> tuple[bool, int, str, str]:
    return problem.line is None, problem.line or 0, problem.where, str(problem)


def looks_secret(key: str) -> bool:
    """Whether a value under such a key is never shown."""
    return bool(_SECRET_KEY.search(key)) and not _PLAIN_KEY.search(key)


def shown(value: object) -> str:
    """A value as it may stand in a message: quoted, without a URL's credentials, cut to 80 characters."""
    match value:
        case dict():
            return "a group of keys"
        case list() | tuple():
            return "a list"
        case bool():
            return "true" if value else "false"
        case None:
            return "no value"
        case _:
            text = value if isinstance(value, str) else str(value)
    text = _without_credentials(text)
    return repr(cut(text)) if isinstance(value, str) else cut(text)


def _without_credentials(text: str) -> str:
    """The text without all that may be a user and a password, which may themselves hold a / or a #."""
    before, at, after = text.rpartition("@")
    if not at or ":" not in before:
        return text
    scheme = _SCHEME.match(before)
    return f"{scheme[0] if scheme else ''}***@{after}"


def cut(text: str) -> str:
    """The text, or as much of it as a line has room for."""
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A hint at the nearest choice, with its leading separator; empty where none is near."""
    near = difflib.get_close_matches(name, list(choices), n=1)
    return f"; did you mean {near[0]}?" if near else ""
