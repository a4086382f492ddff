"""A URL with a password is read by every library as it is read here, or refused without being shown."""

import traceback
from urllib.parse import quote, unquote

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import make_url

from spotd.settings.urls import is_journal_url, is_redis_url

SECRETS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
RAW = st.text(st.sampled_from("ab12#?@%/:[]&=+,;'\"\\"), min_size=1, max_size=12)


def is_refused(check: object, url: str) -> bool:
    try:
        check(SecretStr(url))  # type: ignore[operator]
    except ValueError as error:
        told = "".join(traceback.format_exception(error))
        assert "hunter2" not in told
        return True
    return False


@given(SECRETS)
def test_any_password_can_be_escaped(password: str) -> None:
    escaped = quote(password, safe="")

    assert not is_refused(is_journal_url, f"postgresql://ada:{escaped}@db:5432/spotd?sslmode=require")
    assert not is_refused(is_redis_url, f"redis://ada:{escaped}@cache:6379/1?socket_timeout=5")


@given(RAW)
def test_a_password_that_is_taken_as_it_is_reaches_the_database_whole(password: str) -> None:
    url = f"postgresql://ada:{password}@db/spotd"
    if is_refused(is_journal_url, url):
        return

    read = make_url(url)

    assert (read.username, read.password, read.host) == ("ada", unquote(password), "db")


@given(RAW)
def test_a_password_that_is_taken_as_it_is_reaches_redis_whole(password: str) -> None:
    url = f"redis://ada:{password}@cache/1"
    if is_refused(is_redis_url, url):
        return

    read = redis.ConnectionPool.from_url(url).connection_kwargs

    assert (read["username"], read["password"], read["host"], read["db"]) == (
        "ada",
        unquote(password),
        "cache",
        1,
    )


BAD_JOURNALS = {
    "two-ats": "postgresql://ada:hunter2@secret@db/spotd",
    "port-or-password": "postgresql://db:5432/spotd?user=hunter2@secret",
    "port": "postgresql://ada:hunter2@db:port/spotd",
    "large-port": "postgresql://ada@db:99999/spotd",
    "long-label": f"postgresql://ada:hunter2@{'a' * 64}/spotd",
    "space": "postgresql://ada:hunter 2@db/spotd",
    "newline": "postgresql://ada:hunter2\n@db/spotd",
    "open-escape": "postgresql://ada:hunter2%zz@db/spotd",
    "unicode": "postgresql://ada:hunter2\N{SNOWMAN}@db/spotd",
    "other-database": "mysql://ada:hunter2@db/spotd",
    "other-driver": "postgresql+psycopg2://ada:hunter2@db/spotd",
    "sqlite-query": "sqlite:////var/lib/what?journal.sqlite",
    "sqlite-fragment": "sqlite:////var/lib/#1",
    "sqlite-nothing": "sqlite:///",
    "sqlite-nul": "sqlite:////var/lib/a%00b",
}


@pytest.mark.parametrize("url", BAD_JOURNALS.values(), ids=list(BAD_JOURNALS))
def test_a_url_that_is_no_journals_is_refused(url: str) -> None:
    assert is_refused(is_journal_url, url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////var/lib/spotd/journal.sqlite",
        "sqlite:///journal.sqlite",
        "sqlite:////var/lib/what%3F",
        "postgresql://spotd@db.example.com/spotd",
        "postgresql:///spotd?host=/run/postgresql",
        "postgresql://[::1]:5432/spotd",
        "postgresql+psycopg://db/spotd",
        "postgresql://ada:pa/ss#w?rd[x]:@db/spotd",
    ],
)
def test_a_journals_url_is_taken(url: str) -> None:
    assert not is_refused(is_journal_url, url)


BAD_REDIS = {
    "number-sign": "redis://:hunter2#secret@cache/0",
    "question-mark": "redis://:hunter2?secret@cache/0",
    "slash": "redis://:hunter2/secret@cache/0",
    "bracket": "redis://:hunter2[secret@cache/0",
    "empty-fragment": "redis://:hunter2@cache/0#",
    "port": "redis://:hunter2@cache:port/0",
    "large-port": "redis://:hunter2@cache:99999/0",
    "database": "redis://:hunter2@cache/hunter2",
    "scheme": "http://:hunter2@cache/0",
    "no-host": "redis://:hunter2@/0",
    "long-label": f"redis://:hunter2@{'a' * 64}/0",
    "no-socket": "unix://",
    "open-escape": "redis://:hunter2%zz@cache/0",
}


@pytest.mark.parametrize("url", BAD_REDIS.values(), ids=list(BAD_REDIS))
def test_a_url_that_is_not_redis_is_refused(url: str) -> None:
    assert is_refused(is_redis_url, url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "redis://r",
        "rediss://ada:hunter%232@cache:6380?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=1",
        "unix://ada:hunter2@/run/redis.sock",
        "redis://[::1]:6379/0",
    ],
)
def test_a_url_of_redis_is_taken(url: str) -> None:
    assert not is_refused(is_redis_url, url)
