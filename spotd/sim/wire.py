"""What comes in and goes out: a parsed call, an answer, and the routes between them."""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

JSON = "application/json"
HTML = "text/html; charset=utf-8"


@dataclass
class Call:
    """One request; header names are in lower case."""

    service: str
    method: str
    path: str
    query_text: str
    headers: Mapping[str, str]
    body: bytes
    base: str
    """The server's own URL without a path."""
    request_id: str = field(default_factory=lambda: f"req-{uuid.uuid4()}")
    microversion: str | None = None
    """The version that was negotiated, for the traffic log."""

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The query's pairs in order, unquoted."""
        return parse_qsl(self.query_text, keep_blank_values=True)

    def one(self, name: str) -> str | None:
        """The last value of a query parameter."""
        values = self.many(name)
        return values[-1] if values else None

    def many(self, name: str) -> list[str]:
        """Every value of a query parameter."""
        return [value for key, value in self.query if key == name]

    def json(self) -> Any:
        """The body, parsed.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.body or b"null")

    @property
    def host_url(self) -> str:
        """The URL by which the client called: what `next` links are built from."""
        host = self.headers.get("host")
        return f"http://{host}" if host else self.base


@dataclass
class Answer:
    """One response; `body` is text that is sent as UTF-8."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = JSON


Handler = Callable[[Call, re.Match[str]], Answer]


class Routes:
    """Patterns of whole paths with their handlers, by method."""

    def __init__(self, rows: Iterable[tuple[str, str, Handler]]) -> None:
        self._rows = [(method, re.compile(pattern), handler) for method, pattern, handler in rows]

    def find(self, call: Call) -> tuple[Handler, re.Match[str]] | None:
        """The handler for a call; None for an unknown path or method."""
        for method, pattern, handler in self._rows:
            if method == call.method and (match := pattern.fullmatch(call.path)):
                return handler, match
        return None

    def allowed(self, call: Call) -> list[str]:
        """The methods that the call's path knows."""
        return [method for method, pattern, _ in self._rows if pattern.fullmatch(call.path)]


def dump(value: Any) -> str:
    """JSON with Python's own separators, as the OpenStack services write it."""
    return json.dumps(value)


def compact(value: Any) -> str:
    """JSON without spaces, as NetBox and Keystone's errors have it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
