"""Keeps secrets out of what is written: by the key they stand under, by their look, and by their value."""

import json
import math
import re
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
SHORTEST_KNOWN = 6
"""A shorter registered value is not looked for: it would be found in half of all words, and a mask in place
of a common word tells the value. Under a key that says so it is hidden all the same."""
SHORTEST_ANYWHERE = 8
"""From this length on a value is hidden inside longer words too; a shorter one as a word of its own."""
DEEPEST_NESTING = 8

_TELLING_LENGTH = 16
_PAIR = 2
_SECRET_KEY = re.compile(
    r"passw|passphrase|token|secret|authorization|cookie|credential|api[-_]?key|private[-_]?key|session[-_]?id",
    re.IGNORECASE,
)
# About a secret, not the secret.
_PLAIN_KEY = re.compile(r"_(file|path|directory|seconds|count|total)$", re.IGNORECASE)
_TOKEN_KEY = re.compile(r"token$|api[-_]?key$", re.IGNORECASE)
_NAMED = "(?:password|passwd|passphrase|token|secret|api[-_]?key|private[-_]?key|credential)s?"
_QUOTES = r"[\\\"']"
# Between a name and its value, as headers, mappings and pairs are printed; bytes have a b before the quotes.
_MEANS = rf"(?:{_QUOTES}{{0,4}}\s?[:=]|{_QUOTES}{{1,4}},)\s?(?:b(?={_QUOTES}))?{_QUOTES}{{0,4}}"
# What spotd's own help has in place of a value: hidden, it would say nothing.
_EXAMPLE = r"(?:TOKEN|PASSWORD|SECRET|VALUE|FILE|…|\.\.\.)(?![\w…/+=~-]|\.[\w.])"
_OWN_URL = r"USER(?::PASSWORD)?@|spotd@db\.example\.com/"
_OWN_WORDS = r"(?:authentication|authorization|credentials?|tokens?|passwords?)\b|realm="
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"(?i)((?:set-)?cookie{_MEANS})[^\r\n\"'\\]+"), rf"\1{HIDDEN}"),
    # Headers as libraries write them: `X-Auth-Token: …`, `'Authorization': 'Token …'`.
    (
        re.compile(
            rf"((?i:(?:x-(?:auth|subject|service)-token|(?:proxy-)?authorization|x-api-key){_MEANS}))"
            rf"(?!(?:(?i:bearer|token|basic)\s+)?{_EXAMPLE})(?:(?i:bearer|token|basic)\s+)?[^\s\"'\\,]+"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(rf"(?i)\b(bearer|basic)\s+(?!{_OWN_WORDS})(?=[^\s]{{8}})[A-Za-z0-9._~+/=-]+"),
        rf"\1 {HIDDEN}",
    ),
    # Prose speaks of tokens too, so here the word behind must hold a digit.
    (re.compile(r"(?i)\b(token)\s+(?=[^\s\d]{0,64}\d)[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\bsptd_[A-Za-z0-9_-]{20,}"), f"sptd_{HIDDEN}"),
    (re.compile(r"\bnbt_[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)?"), f"nbt_{HIDDEN}"),
    (re.compile(r"\bgAAAA[A-Za-z0-9_-]{10,}={0,2}"), f"gAAAA{HIDDEN}"),
    (re.compile(rf"(?<=://)(?!{_OWN_URL})(?:[^\s/]*@|[^\s/@:]*:[^\s@]{{1,256}}@)"), f"{HIDDEN}@"),
    (re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{40}(?![0-9A-Za-z])"), HIDDEN),
    # `"password": "…"` of printed mappings, and `token=…` of query strings and arguments.
    (re.compile(rf"(?i)({_NAMED}[\\\"']{{1,4}}\s?:\s?b?[\\\"']{{1,4}})[^\"'\\]+"), rf"\1{HIDDEN}"),
    (
        re.compile(rf"((?i:{_NAMED}=[\\\"']{{0,4}}))(?!{_EXAMPLE})[^\s\"'\\&,;)}}]+"),
        rf"\1{HIDDEN}",
    ),
)


def mask_secret(value: str) -> str:
    """As much of a secret as tells which one it is: nothing of a short one."""
    return f"{value[:4]}…{value[-2:]}" if len(value) >= _TELLING_LENGTH else HIDDEN


def looks_secret(key: str) -> bool:
    """Whether what stands under such a key is hidden, whatever it is."""
    return bool(_SECRET_KEY.search(key)) and not _PLAIN_KEY.search(key)


class SecretMask:
    """What must not be written: looks and keys that are always secret, and the values it has been told."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._patterns: dict[str, str] = {}
        self._known: re.Pattern[str] | None = None
        for value in values:
            self.register(value)

    def register(self, value: str) -> None:
        """Hide this value wherever it stands from now on, however it is quoted or escaped."""
        if len(value) < SHORTEST_KNOWN or not value.strip("*"):
            return
        with self._lock:
            self._patterns[value] = _written(value)
            longest_first = sorted(self._patterns, key=len, reverse=True)
            self._known = re.compile("|".join(self._patterns[known] for known in longest_first))

    def text(self, text: str) -> str:
        """The text without secrets."""
        known = self._known
        if known is not None:
            text = known.sub(HIDDEN, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def overlaps(self, text: str) -> bool:
        """Whether a part of a registered value, long enough to be told from chance, stands in the text."""
        with self._lock:
            known = tuple(self._patterns)
        return any(
            secret[start : start + SHORTEST_KNOWN] in text
            for secret in known
            for start in range(len(secret) - SHORTEST_KNOWN + 1)
        )

    def value(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """The value as plain JSON data without secrets; an object becomes its masked text."""
        if value is None or isinstance(value, bool):
            return value
        if looks_secret(key):
            return self._telling(value, key)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int | float):
            return self._number(value)
        return self._contained(value, key, depth)

    def _contained(self, value: Any, key: str, depth: int) -> Any:
        if isinstance(value, Mapping) and depth < DEEPEST_NESTING:
            return {
                self.text(str(name)): self.value(inner, str(name), depth + 1) for name, inner in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset) and depth < DEEPEST_NESTING:
            # Headers also come as pairs of name and value.
            if isinstance(value, tuple) and len(value) == _PAIR and isinstance(value[0], str):
                return [self.text(value[0]), self.value(value[1], value[0], depth + 1)]
            return [self.value(item, key, depth + 1) for item in value]
        return self.text(_text_of(value))

    def _telling(self, value: Any, key: str) -> str:
        """Which token it is may be seen; of a password nothing."""
        return self.text(mask_secret(value)) if isinstance(value, str) and _TOKEN_KEY.search(key) else HIDDEN

    def _number(self, value: float) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # JSON has no word for it
        known = self._known
        return HIDDEN if known is not None and known.search(repr(value)) else value


# One for the process, as the log is one for the process: a secret that one part knows, no part may write.
PROCESS_MASK = SecretMask()


def register_secret(value: str) -> None:
    """Keep this value out of everything that this process logs from now on."""
    PROCESS_MASK.register(value)


def mask_text(text: str) -> str:
    """The text without the secrets that this process knows, for what is shown outside the log."""
    return PROCESS_MASK.text(text)


def shows_a_secret(error: BaseException) -> bool:
    """Whether the text of an exception, or of one behind it, quotes a secret or a part of one."""
    shown: BaseException | None = error
    seen: set[int] = set()
    while shown is not None and id(shown) not in seen:
        seen.add(id(shown))
        if PROCESS_MASK.overlaps(_text_of(shown)):
            return True
        shown = shown.__cause__ or shown.__context__
    return False


def _text_of(value: Any) -> str:
    """What a person would call the object; a broken `__repr__` must not cost the event."""
    try:
        return repr(value) if isinstance(value, BaseException) else str(value)
    except Exception:  # noqa: BLE001 - whatever an object's own code raises, the event is written
        return f"<unprintable {type(value).__name__}>"


def _written(secret: str) -> str:
    """An expression for the secret however it is quoted, escaped or encoded."""
    # Sentences are made one line, so that any white space may stand for any other.
    parts = map(_part, _RUNS.findall(secret))
    plain = "".join(parts)
    if len(secret) < SHORTEST_ANYWHERE:
        return rf"(?:(?<!\w)|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{{2}})){plain}(?!\w)"
    return "|".join([plain, *_in_base64(secret)])


_RUNS = re.compile(r"\s+|\\+|.", re.DOTALL)
# One expression for a run: one for each of its backslashes could share out those of the text in endless ways.
_BACKSLASHES = r"(?:\\|%(?:25)*5[Cc])+"
_SPACE = r"(?:\s|\+|%(?:25)*[0-9A-Fa-f]{2}|\\+(?:[nrtfv]|[xu][0-9A-Fa-f]{2,4}))+"


def _part(part: str) -> str:
    if part.isspace():
        return _SPACE
    return _BACKSLASHES if part.startswith("\\") else _escaped(part)


def _in_base64(secret: str) -> Iterator[str]:
    """The secret inside longer text in base64, such as `user:password` of basic authentication.

    Three bytes become four letters, so that it depends on what stands before which letters are the secret's
    alone; one letter before and those behind hold some bits of it.
    """
    for data in {secret.encode(encoding, errors="replace") for encoding in ("utf-8", "latin-1")}:
        for before in range(3):
            letters = b64encode(b"\0" * before + data).decode().rstrip("=")
            # The letters that hold bits of other bytes as well: at the front, and where it ends in between.
            own = letters[-(-before * 4 // 3) : (before + len(data)) * 4 // 3]
            either = re.escape(own).replace(r"\+", "[+-]").replace("/", "[/_]")
            yield rf"[A-Za-z0-9+/_-]?{either}[A-Za-z0-9+/_-]*={{0,2}}"


def _escaped(character: str) -> str:
    """An expression for the character and for what repr, JSON, HTML and URLs make of it, at any depth."""
    if character.isascii() and character.isalnum():
        return character
    writings = {
        json.dumps(character)[1:-1],
        json.dumps(character, ensure_ascii=False)[1:-1],
        repr(character)[1:-1],
        ascii(character)[1:-1],
        repr(character.encode(errors="surrogatepass"))[2:-1],
    }
    # Each further quoting doubles the backslashes, and encodes the percent sign. No text may fit two
    # of them: a search for n such characters would try 2^n ways.
    plain = rf"\\*{re.escape(character)}"
    writings = {writing for writing in writings if writing.lstrip("\\") != character}
    expressions = {r"\\+".join(map(_any_case, re.split(r"\\+", writing))) for writing in writings}
    expressions.add(r"%(?:25)*".join(map(_any_case, quote(character, safe="", errors="replace").split("%"))))
    expressions |= {re.escape(escape(character)), plain}
    expressions -= {"", re.escape(character)}
    return f"(?:{'|'.join(sorted(expressions, key=len, reverse=True))})"


def _any_case(digits: str) -> str:
    """Hexadecimal digits as either case writes them."""
    found = re.escape(digits)
    return found if digits.upper() == digits.lower() else f"(?i:{found})"
