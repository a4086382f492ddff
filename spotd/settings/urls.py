"""What a URL that may hold a password must be: one that every library reads alike.

A parser's own words quote what it stumbled over, which may be a part of the password: they are never shown.
"""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

from pydantic import SecretStr

from spotd.settings.checks import HIGHEST_PORT, JOURNAL_URL_HELP, is_host_name

SQLITE = "sqlite:///"
ESCAPES = (
    "write these characters of a user, a password or a path as %23 for #, %2F for /, %3A for :, %3F for ?, "
    "%40 for @, %5B for [, %5D for ], %25 for %"
)
_POSTGRESQL = ("postgresql", "postgresql+psycopg")
_REDIS = ("redis", "rediss", "unix")
_LIKE_A_PORT = re.compile(r"[^:/?]*:?[0-9]*[/?].*", re.DOTALL)


def is_journal_url(secret: SecretStr) -> SecretStr:
    """Accept the URL of a database that a journal can be kept in; it may hold a password."""
    text = _one_line(secret)
    scheme, colon, rest = text.partition("://")
    if not colon or scheme not in ("sqlite", *_POSTGRESQL):
        raise ValueError(JOURNAL_URL_HELP)
    if scheme == "sqlite":
        if not rest.startswith("/") or len(rest.strip("/")) == 0:
            raise ValueError(f"names no file: {JOURNAL_URL_HELP}")
        if re.search(r"[?#]", rest):
            raise ValueError(
                "has a ? or # in its path, which is read as its end: write %3F for ? and %23 for #"
            )
        if b"\0" in unquote_to_bytes(rest):
            raise ValueError("names no file: a path has no %00")
        return secret
    user, at, place = rest.partition("@")
    # Read otherwise, a part of the password would be the server's name.
    if not at:
        place = rest
    elif "@" in place or _LIKE_A_PORT.fullmatch(user):
        raise ValueError(f"can be read in two ways: {ESCAPES}")
    host, port = _host_and_port(re.split(r"[/?]", place)[0])
    if host and not is_host_name(host):
        raise ValueError(f"names no host: {ESCAPES}")
    if port is None:
        raise ValueError(f"has a port that is no number of 1 to 65535; else {ESCAPES}")
    return secret


def is_redis_url(secret: SecretStr) -> SecretStr:
    """Accept a URL of Redis; it may hold a password."""
    text = _one_line(secret)
    try:
        url = urlsplit(text)
        port_is_good = url.port is None or url.port > 0
    except ValueError:
        raise ValueError(f"cannot be read: {ESCAPES}") from None
    if url.scheme not in _REDIS:
        raise ValueError("must begin with redis://, rediss:// or unix://, such as redis://localhost:6379/0")
    if "#" in text or "@" in url.path + url.query or not port_is_good:
        raise ValueError(f"cannot be read: {ESCAPES}")
    if url.scheme == "unix":
        if not url.path.strip("/"):
            raise ValueError("names no socket: such as unix:///run/redis/redis.sock?db=0")
    elif not url.hostname or not is_host_name(url.hostname):
        raise ValueError(f"names no host: {ESCAPES}")
    elif not re.fullmatch(r"/?[0-9]{0,9}", url.path):
        # Redis would be asked for database 0.
        raise ValueError("must end with the number of a database, such as redis://localhost:6379/0")
    if "password" in dict(parse_qsl(url.query)) and "@" in url.netloc:
        raise ValueError("has two passwords: keep one")
    return secret


def sqlite_url(path: Path) -> str:
    """The URL of this very file, whatever bytes its name has."""
    return SQLITE + quote(os.fsencode(path))


def sqlite_path(url: str) -> Path | None:
    """The file that a URL names; None where it is another database's, or in memory."""
    rest = url.removeprefix(SQLITE)
    if rest == url or rest in ("", ":memory:"):
        return None
    return Path(os.fsdecode(unquote_to_bytes(rest)))


def _one_line(secret: SecretStr) -> str:
    text = secret.get_secret_value()
    if not text:
        raise ValueError("is empty")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(
            "must be printable ASCII without spaces: write other characters as %-escapes of UTF-8"
        )
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError("has a % that begins no escape: write %25 for it")
    return text


def _host_and_port(text: str) -> tuple[str, int | None]:
    """The port is 0 where none is named, and None where it is no port."""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.%]+)\](?::(.*))?", text)
    host, port = (
        (bracketed[1], bracketed[2] or "") if bracketed else (text.partition(":")[0], text.partition(":")[2])
    )
    if bracketed:
        host = ""  # an address is no name
    if not port:
        return host, 0
    return host, int(port) if re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= HIGHEST_PORT else None
