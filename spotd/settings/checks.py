"""What a single value must be, each as a sentence that completes "KEY: VALUE …"."""

import re
from collections.abc import Iterable
from datetime import datetime
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

AGGREGATE_GROUPS = ("gpu_type", "variant", "contract")
HIGHEST_PORT = 65535
LISTEN_ADDRESS_HELP = "must be HOST:PORT with a port of 0 to 65535, such as 127.0.0.1:8080 or [::1]:8080"

JOURNAL_URL_HELP = (
    "must be a database URL such as sqlite:////var/lib/spotd/journal.sqlite (four slashes) "
    "or postgresql://spotd@db.example.com/spotd"
)


def refused(sentence: str, *keys: str) -> PydanticCustomError:
    """Values that are fine alone but not together; `keys` are those to look at, most telling first."""
    # The sentence goes in as a fact, so that braces in it are not places for pydantic to fill.
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence, "keys": keys})


def is_pattern(text: str) -> str:
    """Accept what compiles as a regular expression."""
    try:
        re.compile(text)
    except (re.error, OverflowError) as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    except RecursionError:
        raise ValueError("is not a regular expression: it is nested too deeply") from None
    return text


def has_aggregate_groups(pattern: str) -> str:
    """Accept only the groups that spotd takes over from an aggregate's name."""
    for group in re.compile(pattern).groupindex:
        if group not in AGGREGATE_GROUPS:
            raise ValueError(f"has an unknown group {group!r}; choices: {', '.join(AGGREGATE_GROUPS)}")
    return pattern


def has_gpus_group(pattern: str) -> str:
    """Accept a pattern that tells the number of GPUs."""
    if "gpus" not in re.compile(pattern).groupindex:
        raise ValueError(r"needs a group for the number of GPUs, such as (?P<gpus>\d+)")
    return pattern


def is_listen_address(text: str) -> str:
    """Accept HOST:PORT; an IPv6 host stands in brackets, an empty host listens on all addresses."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > HIGHEST_PORT:
        raise ValueError(LISTEN_ADDRESS_HELP)
    if host.startswith("[") and host.endswith("]"):
        try:
            IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError(LISTEN_ADDRESS_HELP) from None
    elif not re.fullmatch(r"[\w.-]{0,253}", host) or (host and not is_host_name(host)):
        raise ValueError(LISTEN_ADDRESS_HELP)
    return text


def is_base_url(text: str) -> str:
    """Accept an http(s) URL that names a host and holds no credentials, query or fragment."""
    try:
        url = urlsplit(text)
        _ = url.port  # reading it checks it
    except ValueError:
        raise ValueError("is not a URL, such as https://netbox.example.com") from None
    if url.scheme not in ("http", "https") or not url.hostname or re.search(r"\s", text):
        raise ValueError(
            "is not a URL with http:// or https:// and a host, such as https://netbox.example.com"
        )
    if "@" in url.netloc:
        raise ValueError("must not hold credentials: they belong in token_file")
    if not is_host_name(url.hostname):
        raise ValueError("has a host that is no name: its parts are of 1 to 63 characters")
    if url.query or url.fragment:
        raise ValueError("must end before '?' and '#'")
    return text


def is_name(text: str) -> str:
    """Accept text that names something."""
    if not text.strip():
        raise ValueError("is empty: give it a value or leave it out")
    return text


def is_host_name(name: str) -> bool:
    """Whether it can be looked up: every library fails at another in its own way, and late."""
    try:
        return name.isprintable() and bool(name.encode("idna"))
    except UnicodeError:
        return False


def is_one_word(secret: SecretStr) -> SecretStr:
    """Accept a secret that can stand in a header or a URL as it is."""
    text = secret.get_secret_value()
    if not text:
        raise ValueError("is empty")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(
            "must be one word of printable ASCII characters, without 'Token' or 'Bearer' before it"
        )
    return secret


def is_token_hash(secret: SecretStr) -> SecretStr:
    """Accept what `spotd token create` prints as a hash."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", secret.get_secret_value()):
        raise ValueError("must be what 'spotd token create' prints as hash: sha256: and 64 hex digits")
    return secret


def has_zone(moment: datetime) -> datetime:
    """Accept a time that says its zone."""
    if moment.tzinfo is None:
        raise ValueError("needs a zone, such as 2030-01-31T12:00:00Z")
    return moment


def _not_a_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "must be a number")
    return value


NOT_A_BOOLEAN = BeforeValidator(_not_a_boolean)
"""YAML reads `on` and `yes` as true, and true would count as 1."""


def first_duplicate(names: Iterable[str]) -> str | None:
    """The first name that comes a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
