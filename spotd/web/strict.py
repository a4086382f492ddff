"""HTTP/1.1 without leniency: a request that two readers could read differently is none.

A proxy before spotd may read where a request ends in another way than h11 does, which follows the rule to be
liberal. What is left over then is a second request, which nobody has looked at (RFC 9112, 11.2).
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import h11

LARGEST_HEAD_BYTES = 16 * 1024
"""Twice the largest token that is taken, and room for the rest."""
MOST_FIELDS = 100
LONGEST_METHOD = 32
_LONGEST_LENGTH = 18
"""Digits of a Content-Length; what is longer does not fit into 64 bits."""
_END = b"\r\n\r\n"
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")
_LONE_ENDING = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[\x21-\x7e]+")
_SINGLE = (b"host", b"content-length", b"transfer-encoding", b"authorization", b"x-auth-token")
"""Of these two would be two answers to one question."""


class StrictConnection(h11.Connection):
    """h11's connection of a server, which hands over a request only where there is one reading of it."""

    def __init__(self, refuse: Callable[[str], None]) -> None:
        """`refuse` is told once what is wrong, in words of this module; nothing is read after that."""
        super().__init__(h11.SERVER, LARGEST_HEAD_BYTES)
        self._refuse = refuse
        self._is_refused = False

    def next_event(self) -> Any:
        """As h11's; what h11 raises is told instead, and no further event comes."""
        if self._is_refused:
            return h11.NEED_DATA
        fault = fault_in(self.trailing_data[0]) if self.their_state is h11.IDLE else None
        if fault is None:
            try:
                return _in_origin_form(super().next_event())
            except h11.RemoteProtocolError as error:
                fault = "the head is too long" if _is_too_long(error) else "this is not HTTP/1.1"
        self._is_refused = True
        self._refuse(fault)
        return h11.NEED_DATA


def fault_in(received: bytes) -> str | None:
    """What is wrong with the head that these bytes are or begin with; None where nothing is, so far."""
    end = received.find(_END, 0, LARGEST_HEAD_BYTES + len(_END))
    if end < 0:
        # A CR at the very end may be half of a line's end.
        return _bytes_fault(received[: LARGEST_HEAD_BYTES + len(_END) + 1].removesuffix(b"\r"))
    head = received[:end]
    return _bytes_fault(head) or _parts_fault(head)


def _bytes_fault(head: bytes) -> str | None:
    """What can be seen before the head has come as a whole."""
    if len(head) > LARGEST_HEAD_BYTES:
        return "the head is too long"
    if _LONE_ENDING.search(head):
        return "a line ends in something other than CR LF"
    if head.count(b"\r\n") > MOST_FIELDS:
        return f"there are more than {MOST_FIELDS} header fields"
    return "there is a control character in the head" if _CONTROL.search(head) else None


def _parts_fault(head: bytes) -> str | None:
    request_line, *lines = head.split(b"\r\n")
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            return "a header field is not NAME: VALUE on one line"
        fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
    return _line_fault(request_line, fields) or _fields_fault(request_line, fields)


def _line_fault(line: bytes, fields: dict[bytes, list[bytes]]) -> str | None:
    parts = line.split(b" ")
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):  # noqa: PLR2004
        return "the first line is not METHOD TARGET VERSION"
    method, target, version = parts
    if version not in _VERSIONS:
        return "this server speaks HTTP/1.1"
    if len(method) > LONGEST_METHOD:
        return f"the method is longer than {LONGEST_METHOD} letters"
    return None if (method, target) == (b"OPTIONS", b"*") else _target_fault(target, fields)


def _target_fault(target: bytes, fields: dict[bytes, list[bytes]]) -> str | None:
    if target.startswith(b"/"):
        return None
    authority = _absolute(target)[0]
    if authority is None:
        return "the target is neither a path nor the URL of one"
    if fields.get(b"host", [authority])[0].lower() != authority.lower():
        return "the target and the Host field name different hosts"
    return None


def _fields_fault(line: bytes, fields: dict[bytes, list[bytes]]) -> str | None:
    for name in _SINGLE:
        if len(fields.get(name, ())) > 1:
            return f"there is more than one {name.decode().title()} field"
    is_old = line.endswith(b"HTTP/1.0")
    if b"host" not in fields and not is_old:
        return "there is no Host field"
    lengths, codings = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if lengths and codings:
        return "there are both Content-Length and Transfer-Encoding"
    if codings and (is_old or codings[0].lower() != b"chunked"):
        return "Transfer-Encoding is not chunked alone"
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) <= _LONGEST_LENGTH):
        return "Content-Length is not a number"
    return None


def _absolute(target: bytes) -> tuple[bytes | None, bytes]:
    """The authority of a target that is a URL, and its path; None where it is no such URL."""
    try:
        url = urlsplit(target.decode("ascii"))
    except ValueError:
        return None, b""
    if url.scheme not in {"http", "https"} or not url.netloc or "@" in url.netloc:
        return None, b""
    rest = target.partition(b"://")[2][len(url.netloc) :]
    return url.netloc.encode(), rest if rest.startswith(b"/") else b"/" + rest


def _in_origin_form(event: Any) -> Any:
    """A request for a URL of this server as the request for its path."""
    if not isinstance(event, h11.Request) or event.target.startswith((b"/", b"*")):
        return event
    return h11.Request(
        method=event.method,
        target=_absolute(event.target)[1],
        headers=list(event.headers),
        http_version=event.http_version,
    )


def _is_too_long(error: h11.RemoteProtocolError) -> bool:
    return error.error_status_hint == 431  # noqa: PLR2004 - h11's own hint
