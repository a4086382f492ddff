"""No secret leaves, by whichever way it came in; spotd's own sentences stay whole."""

import ast
import base64
import html
import json
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spotd
from spotd.cli import main
from spotd.logs import SecretMask, mask_secret

FERNET = "gAAAAABmZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFy_-x=="
HEX40 = "0123456789abcdef0123456789abcdef01234567"
NBT = "nbt_abcDEF123456.Zx9Zx9Zx9Zx9Zx9Zx9"

# Without *, of which the mask itself is made.
SECRETS = st.text(st.characters(exclude_characters="*"), min_size=8, max_size=40)
KEYS = st.text(st.characters(codec="ascii", categories=["Ll"]), max_size=8)


def nested(secret: str) -> st.SearchStrategy[Any]:
    """Structures with the secret somewhere in them, alone or inside other text."""
    held = st.sampled_from(
        [secret, f"before {secret} behind", secret.encode(errors="replace"), RuntimeError(secret)]
    )
    return st.recursive(
        held | st.integers() | st.none() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4) | st.tuples(inner, held)
        ),
        max_leaves=12,
    )


def strings_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in strings_of(part)]
    if isinstance(value, list):
        return [text for item in value for text in strings_of(item)]
    return [value] if isinstance(value, str) else []


@settings(deadline=None)
@given(st.data())
def test_never_lets_a_registered_secret_out_of_any_structure(data: st.DataObject) -> None:
    secret = data.draw(SECRETS)
    structure = data.draw(nested(secret))

    masked = SecretMask([secret]).value({"event": structure})

    json.dumps(masked)
    assert [text for text in strings_of(masked) if secret in text] == []


@settings(deadline=None)
@given(SECRETS)
def test_finds_a_registered_secret_however_it_is_quoted(secret: str) -> None:
    mask = SecretMask([secret])
    quoted = [
        repr(secret),
        repr(repr(secret)),
        json.dumps(secret),
        json.dumps(json.dumps(secret)),
        repr({"a": [json.dumps(secret, ensure_ascii=False)]}),
        quote(secret, safe="", errors="replace"),
        quote(quote(secret, safe="", errors="replace"), safe=""),
        quote_plus(secret, errors="replace"),
        html.escape(secret),
    ]

    assert [text for text in quoted if "***" not in mask.text(text)] == []


@settings(deadline=None)
@given(SECRETS, st.text(max_size=9), st.text(max_size=9), st.sampled_from(["utf-8", "latin-1"]))
def test_finds_a_registered_secret_in_base64(secret: str, user: str, behind: str, encoding: str) -> None:
    mask = SecretMask([secret])
    whole = f"{user}:{secret}{behind}".encode(encoding, errors="replace")

    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        kept = mask.text(encode(whole).decode()).partition("***")
        rest = base64.urlsafe_b64decode(kept[0][: len(kept[0]) // 4 * 4].translate(str.maketrans("+/", "-_")))

        assert kept[1] == "***"
        assert len(rest) <= len(f"{user}:".encode(encoding, errors="replace"))


@given(
    st.lists(st.text(st.characters(categories=["L", "N"]), min_size=4, max_size=9), min_size=2, max_size=4)
)
def test_finds_a_registered_secret_whose_white_space_was_changed(words: list[str]) -> None:
    mask = SecretMask(["\t ".join(words)])

    assert mask.text(f"<{' '.join(words)}>") == mask.text("<" + "\n".join(words) + ">") == "<***>"


@settings(deadline=None)  # an expression for forty odd characters takes long to compile
@given(SECRETS)
def test_never_lets_a_registered_secret_out_of_a_traceback(secret: str) -> None:
    error = RuntimeError({"sent": [secret]})
    error.__cause__ = ValueError(secret)
    error.add_note(f"with {secret}")

    group = ExceptionGroup(f"both {secret}", [error])
    told = SecretMask([secret]).text("".join(traceback.format_exception(group)))

    assert secret not in told
    assert repr(secret)[1:-1] not in told


@pytest.mark.parametrize("secret", ["lab", "the", "host", "n"])
def test_a_short_secret_takes_no_word_out_of_a_sentence(secret: str) -> None:
    mask = SecretMask([secret])

    assert mask.text(f"cloud {secret!r} is not in the file") == f"cloud {secret!r} is not in the file"
    assert mask.text(f"password={secret} x") == "password=*** x"
    assert mask.value({"password": secret, "pairs": [("token", secret)]}) == {
        "password": "***",
        "pairs": [["token", "***"]],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the secrets of NetBox", "the secrets of NetBox"),
        ("no_secret and secretly", "no_secret and secretly"),
        ("it sent 'secret'.", "it sent '***'."),
        (r"one\nsecret\ntwo", r"one\n***\ntwo"),
        ("q=%20secret&", "q=%20***&"),
    ],
)
def test_a_secret_of_few_letters_is_hidden_where_it_is_a_word(text: str, expected: str) -> None:
    assert SecretMask(["secret"]).text(text) == expected


def own_sentences() -> Iterator[str]:
    """Every text in spotd's own code, with a word where a value goes; but for scripts of pages."""
    for path in sorted(Path(spotd.__file__).parent.rglob("*.py")):
        if path.parent.name == "sim" or path.name in ("masking.py", "docs.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "it" for part in node.values)
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def commands(command: click.Command, *path: str) -> Iterator[str]:
    """The help of a command and of those below it."""
    yield command.get_help(click.Context(command, info_name=" ".join(path)))
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *path, name)


def test_spotds_own_sentences_and_help_are_left_whole() -> None:
    mask = SecretMask(["lab", "the", "to"])

    assert [text for text in (*own_sentences(), *commands(main, "spotd")) if mask.text(text) != text] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"sent Bearer {NBT} to n", "sent Bearer *** to n"),
        (f"Token {HEX40} refused", "Token *** refused"),
        ("got Basic dXNlcjpwYXNz", "got Basic ***"),
        (f"key {NBT} is version 2", "key nbt_*** is version 2"),
        (f"scoped {FERNET} expired", "scoped gAAAA*** expired"),
        (f"token was {HEX40}.", "token was ***."),
        ("GET https://admin:pa:ss@n/api", "GET https://***@n/api"),
        ("redis://:hunter2@r:6379/0", "redis://***@r:6379/0"),
        ("https://ghp_abcdef@github.com/x", "https://***@github.com/x"),
        ("redis://:hun/ter2@r", "redis://***@r"),
        ("-H 'X-Auth-Token: hunter2'", "-H 'X-Auth-Token: ***'"),
        ("{'X-Auth-Token': b'hunter2'}", "{'X-Auth-Token': b'***'}"),
        ("Authorization: Token hunter2", "Authorization: ***"),
        ("Authorization: Bearer hunter2", "Authorization: ***"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: ***"),
        ("('Authorization', 'Bearer hunter2')", "('Authorization', '***')"),
        ("Authorization: Bearer TOKENS", "Authorization: ***"),
        ("password=PASSWORD1", "password=***"),
        ("postgresql://USER:PASSWORDS@h", "postgresql://***@h"),
        ("postgresql://spotd@db.example.com.evil/", "postgresql://***@db.example.com.evil/"),
        ('{"Authorization": "Digest hunter2"}', '{"Authorization": "*** hunter2"}'),
        ("Set-Cookie: a=hunter2; b=hunter3", "Set-Cookie: ***"),
        ("{'password': 'hunter2', 'user': 'u'}", "{'password': '***', 'user': 'u'}"),
        ('"{\\"password\\": \\"hunter2\\"}"', '"{\\"password\\": \\"***\\"}"'),
        ("Auth(username='u', password='hunter2')", "Auth(username='u', password='***')"),
        ("GET /x?api_key=hunter2&a=b", "GET /x?api_key=***&a=b"),
        ("application_credential_secret=hunter2", "application_credential_secret=***"),
    ],
)
def test_masks_what_looks_secret(text: str, expected: str) -> None:
    assert SecretMask().text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "token expired yesterday",
        "netbox.token: the value is empty",
        "spotd.yml:3: netbox: token and token_file are both set: keep one",
        "netbox.token_file: /run/credentials/token can be read",
        "server 6f1c2c1e-2f5d-4b53-9d3c-0f4f5d3b7a11 on gpu-h100-01",
        "request req-6f1c2c1e2f5d4b539d3c0f4f5d3b7a11 took 1.2 s",
        "http://[::1]:8080/metrics",
        "set netbox.token_file, or token by the environment as SPOTD_NETBOX__TOKEN=VALUE",
        "password: is required",
        "postgresql://USER:PASSWORD@HOST/NAME",
        "curl -H 'Authorization: Bearer TOKEN' https://spotd.example.com/api/v1/hosts",
        "TLS, basic authentication, headers",
        "Vary: Accept, Cookie, Authorization, Origin",
    ],
)
def test_leaves_ordinary_text_alone(text: str) -> None:
    assert SecretMask().text(text) == text


def test_masks_by_key_at_any_depth() -> None:
    event = {
        "headers": {"X-Auth-Token": "hunter2", "Accept": "json"},
        "auth": [{"user": {"password": "a long password of many words", "name": "u"}}],
        "pairs": [("Authorization", "hunter2"), ("Accept", "json")],
        "credentials": {"user": "u"},
        "api_key": "abcdefghijklmnopqrst",
        "token": None,
        "has_token": True,
        "pin_secret": 1234,
        "token_file": "/etc/spotd/token",
        "token_age_seconds": 5,
    }

    assert SecretMask().value(event) == {
        "headers": {"X-Auth-Token": "***", "Accept": "json"},
        "auth": [{"user": {"password": "***", "name": "u"}}],
        "pairs": [["Authorization", "***"], ["Accept", "json"]],
        "credentials": "***",
        "api_key": "abcd…st",
        "token": None,
        "has_token": True,
        "pin_secret": "***",
        "token_file": "/etc/spotd/token",
        "token_age_seconds": 5,
    }


def test_masks_a_registered_number() -> None:
    assert SecretMask(["12345678"]).value({"a": 12345678, "b": 123.5}) == {"a": "***", "b": 123.5}


def test_makes_plain_data_of_objects() -> None:
    event = {
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "path": Path("/etc"),
        "error": KeyError("x"),
        "set": {1},
        "nan": float("nan"),
    }

    assert SecretMask().value(event) == {
        "at": "2026-01-01 00:00:00+00:00",
        "path": "/etc",
        "error": "KeyError('x')",
        "set": [1],
        "nan": "nan",
    }


def test_survives_objects_that_cannot_be_printed() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert SecretMask().value(Broken()) == "<unprintable Broken>"


def test_survives_structures_that_hold_themselves() -> None:
    endless: dict[str, Any] = {"password": "hunter2"}
    endless["self"] = endless

    assert "hunter2" not in json.dumps(SecretMask().value(endless))


def test_ignores_values_too_short_or_already_hidden() -> None:
    mask = SecretMask(["", "abc", "**********"])

    assert mask.text("abc **********") == "abc **********"


def test_masks_the_longer_of_two_secrets_first() -> None:
    assert SecretMask(["hunter2", "hunter2hunter3"]).text("hunter2hunter3!") == "***!"


@pytest.mark.parametrize(
    ("secret", "expected"), [("", "***"), ("a" * 15, "***"), ("abcdefghijklmnop", "abcd…op")]
)
def test_shows_only_of_long_keys_which_one_it_is(secret: str, expected: str) -> None:
    assert mask_secret(secret) == expected


@pytest.mark.parametrize(
    "text",
    ["a" * 100_000, "a-" * 50_000, "://a:" * 20_000, "token " * 20_000, '"' * 100_000, "token" * 20_000],
)
def test_takes_linear_time_on_hostile_text(text: str) -> None:
    mask = SecretMask(["hunter2-hunter2"])
    begin = time.perf_counter()

    mask.text(text)

    assert time.perf_counter() - begin < 2
