"""Opening: what is made and what is refused, in one line that names the place and shows no secret."""

import os
import sqlite3
import threading
import traceback
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders import NOW, order
from postgresql import PASSWORD, PostgreSql

from spotd.clock import SystemClock
from spotd.settings import journal_url
from spotd.settings.journal import JournalSettings
from spotd.settings.urls import sqlite_url
from spotd.store import StoreError, open_store
from spotd.store.database import Database
from spotd.store.errors import StoreUnusable
from spotd.store.schema import VERSION, _refuse_old_server


def refusal(url: str, *, create: bool = True) -> str:
    with pytest.raises(StoreError) as caught:
        open_store(url, create=create)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def file_url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_what_was_written_is_there_at_the_next_opening(shared_url: str) -> None:
    with open_store(shared_url) as store:
        record = store.journal.ask(order(), now=NOW)

    with open_store(shared_url, create=False) as store:
        assert store.journal.moves() == (record,)


def test_a_file_is_written_ahead_and_fully_synced(tmp_path: Path) -> None:
    with open_store(file_url(tmp_path / "j")) as store, store._database.read() as connection:
        told = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000} == told


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=["000", "022", "777"])
def test_every_file_of_a_journal_is_its_owners_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with open_store(file_url(tmp_path / "journal.sqlite")) as store:
            store.journal.ask(order(), now=NOW)
            modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        os.umask(before)

    assert dict.fromkeys(("journal.sqlite", "journal.sqlite-shm", "journal.sqlite-wal"), 0o600) == modes


def test_a_journal_for_a_group_stays_the_groups(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.touch()
    path.chmod(0o660)
    with open_store(file_url(path)) as store:
        store.journal.ask(order(), now=NOW)
        modes = {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}

    assert {0o660} == modes


def test_a_link_may_lead_to_where_no_journal_is_yet(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").symlink_to("elsewhere")

    open_store(file_url(tmp_path / "journal.sqlite")).close()

    assert 0o600 == (tmp_path / "elsewhere").stat().st_mode & 0o777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("is_there", [False, True], ids=["new", "there"])
def test_what_root_opens_stays_its_directorys_owners(is_there: bool, tmp_path: Path) -> None:
    """As a command of root's does beside a daemon that runs as another user."""
    directory, owner = tmp_path / "state", 61_184
    directory.mkdir(mode=0o700)
    os.chown(directory, owner, owner)
    path = directory / "journal.sqlite"
    if is_there:
        path.touch()
        os.chown(path, owner, owner)

    with open_store(file_url(path)) as store:
        store.journal.ask(order(), now=NOW)
        owners = {file.name: (file.stat().st_uid, file.stat().st_gid) for file in directory.iterdir()}

    names = ("journal.sqlite", "journal.sqlite-shm", "journal.sqlite-wal")
    assert dict.fromkeys(names, (owner, owner)) == owners


def test_a_write_waits_its_turn_from_the_beginning(tmp_path: Path) -> None:
    with open_store(file_url(tmp_path / "j")) as store, store._database.write():
        other = sqlite3.connect(tmp_path / "j", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("SELECT * FROM moves").fetchall()  # reading goes on
        other.close()


def test_opening_waits_for_another_that_makes_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "j"
    other = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, other.execute, ["ROLLBACK"])
    release.start()

    open_store(file_url(path)).close()

    release.join()
    other.close()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"this is no database, whatever its name says" * 100, "file is not a database"),
        (b"SQLite format 3\x00" + b"\xff" * 5000, "file is not a database"),
    ],
    ids=["text", "header-only"],
)
def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)

    assert f"journal {path}: {why}" == refusal(file_url(path))
    assert content == path.read_bytes()


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with open_store(file_url(path)) as store:
        for place in range(200):
            store.journal.ask(order(f"gpu-{place}"), now=NOW)
    whole = bytearray(path.read_bytes())
    for page in range(4096, len(whole), 4096):  # all but the first page, which holds the header
        whole[page : page + 200] = b"\xa5" * 200
    path.write_bytes(whole)

    assert refusal(file_url(path)).startswith(f"journal {path}: ")


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no" / "journal.sqlite"

    assert f"journal {path}: there is no directory {path.parent}" == refusal(file_url(path))


def test_a_directory_is_no_journal(tmp_path: Path) -> None:
    assert f"journal {tmp_path}: is a directory" == refusal(file_url(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file, whatever its mode")
def test_a_file_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    open_store(file_url(path)).close()
    path.chmod(0o400)

    assert refusal(file_url(path)).startswith(f"journal {path}: ")


def test_nothing_is_made_where_nothing_shall_be_made(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    assert f"journal {path}: there is no such file" == refusal(file_url(path), create=False)

    path.touch()
    assert f"journal {path}: holds no journal" == refusal(file_url(path), create=False)


def test_a_newer_layout_is_refused(shared_url: str) -> None:
    with open_store(shared_url) as store, store._database.write() as connection:
        connection.exec_driver_sql(f"UPDATE spotd_schema SET version = {VERSION + 1}")

    assert f": was written by a newer spotd (layout {VERSION + 1}, this one knows {VERSION})" in refusal(
        shared_url
    )


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE moves (chess TEXT)")
    other.close()

    assert f"journal {path}: has a table 'moves' that is not spotd's: give it its own database" == refusal(
        file_url(path)
    )


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ada:hunter2-secret@db/spotd",
        "postgresql+psycopg2://ada:hunter2-secret@db/spotd",
        "postgresql://ada:hunter2-secret@db:not-a-port/spotd",
        "hunter2-secret",
    ],
)
def test_a_url_that_is_of_no_use_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(StoreError, match=r"such as sqlite:////") as caught:
        open_store(url)

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_does_not_answer_is_named_without_credentials() -> None:
    secrets = ["hunter2-secret", "hunter3-secret"]
    url = "postgresql://ada:{}@127.0.0.1:1/spotd?sslpassword={}".format(*secrets)
    with pytest.raises(StoreError) as caught:
        open_store(url)

    shown = "".join(traceback.format_exception(caught.value))
    assert str(caught.value).startswith("journal postgresql://127.0.0.1:1/spotd: connection failed")
    assert [secret for secret in secrets if secret in shown] == []


def test_a_wrong_password_is_not_shown(postgresql: PostgreSql) -> None:
    postgresql.sql(f"DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
    url = f"postgresql://guarded:hunter2-secret@127.0.0.1:{postgresql.port}/postgres"

    sentence = refusal(url)

    assert sentence.startswith(f"journal postgresql://127.0.0.1:{postgresql.port}/postgres: ")
    assert "password authentication failed" in sentence
    assert "hunter2" not in sentence


def test_a_role_without_rights_is_told(postgresql: PostgreSql) -> None:
    postgresql.sql(f"DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
    url = f"postgresql://guarded:{PASSWORD}@127.0.0.1:{postgresql.port}/postgres"

    sentence = refusal(url)

    assert "permission denied for schema public" in sentence
    assert PASSWORD not in sentence


def test_a_server_that_comes_back_is_used_again(postgresql: PostgreSql) -> None:
    with open_store(postgresql.create_database("outage")) as store:
        record = store.journal.ask(order(), now=NOW)
        postgresql.stop()
        try:
            with pytest.raises(StoreError, match=r"^journal postgresql://127.0.0.1:\d+/outage: "):
                store.journal.moves()
        finally:
            postgresql.start()

        assert store.journal.moves() == (record,)


ODD_NAMES = {
    "question-mark": b"what?",
    "number-sign": b"#1",
    "percent": b"100%41",
    "space": b"my state",
    "newline": b"a\nb",
    "not-utf-8": b"caf\xe9",
    "unicode": "\N{SNOWMAN}".encode(),
    "query": b"a?mode=memory&uri=true",
    "colon": b":memory:",
    "at": b"user:word@host",
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=list(ODD_NAMES))
def test_a_directory_of_any_name_holds_its_own_journal(tmp_path: Path, name: bytes) -> None:
    directory = tmp_path / os.fsdecode(name)
    directory.mkdir()
    url = journal_url(JournalSettings(), directory)
    assert url is not None
    assert url.isascii()

    with open_store(url) as store:
        assert store.where.isprintable()

    assert (directory / "journal.sqlite").is_file()
    assert [path for path in tmp_path.iterdir() if path != directory] == []


@given(st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name)))
def test_the_url_of_a_file_names_that_file(name: bytes) -> None:
    path = Path("/var") / os.fsdecode(name)

    database = Database(sqlite_url(path), SystemClock())
    database.close()

    assert database.file == path


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_character_is_refused(
    postgresql: PostgreSql, encoding: str
) -> None:
    name = encoding.lower()
    postgresql.sql(f"DROP DATABASE IF EXISTS {name}")
    postgresql.sql(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    url = postgresql.create_database(uuid4().hex).rpartition("/")[0]

    with pytest.raises(StoreUnusable) as caught:
        open_store(f"{url}/{name}")

    assert f"/{name}: keeps texts in {encoding}, which cannot hold every character: " in str(caught.value)
    assert "ENCODING 'UTF8'" in str(caught.value)


def test_texts_of_any_characters_are_kept(shared_url: str) -> None:
    """PostgreSQL refuses NUL, and neither takes half of a surrogate pair."""
    odd = "a\0b \ud800 \N{SNOWMAN} \U0001f600 \x1b"
    with open_store(shared_url) as store:
        store.journal.freeze(odd, odd, now=NOW, until=None)
        store.journal.save_memory("odd", {"text": odd})

        held = store.journal.current_freeze(NOW)

        assert held is not None
        assert store.journal.memory("odd") == {"text": odd}
        assert held.reason == held.by == "a\\x00b \\ud800 \N{SNOWMAN} \U0001f600 \x1b"


def test_the_encoding_of_the_environment_changes_no_text(
    postgresql: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")

    with open_store(postgresql.create_database(uuid4().hex)) as store:
        store.journal.freeze("\N{SNOWMAN}", "ada", now=NOW, until=None)
        held = store.journal.current_freeze(NOW)

    assert held is not None
    assert held.reason == "\N{SNOWMAN}"


@pytest.mark.parametrize("query", ["nonsense=hunter2-secret", "hunter2-secret=1", "plugin=hunter2-secret"])
def test_an_option_that_libpq_does_not_know_is_refused_at_once(query: str) -> None:
    with pytest.raises(StoreUnusable) as caught:
        Database(f"postgresql://ada@127.0.0.1:1/spotd?{query}", SystemClock())

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("version", "told"), [((9, 6, 24), "9.6.24"), ((8, 4), "8.4")])
def test_an_older_postgresql_is_refused(version: tuple[int, ...], told: str) -> None:
    database = Database(f"postgresql://spotd:{PASSWORD}@db.example.com/spotd", SystemClock())

    with pytest.raises(StoreError) as caught:
        _refuse_old_server(database, version)

    assert (
        str(caught.value)
        == f"journal postgresql://db.example.com/spotd: spotd needs PostgreSQL 10 or newer; this is {told}"
    )


@pytest.mark.parametrize("version", [(10,), (10, 23), (15, 18), (18, 0), ()])
def test_a_newer_postgresql_is_not_refused(version: tuple[int, ...]) -> None:
    database = Database("postgresql://spotd@db.example.com/spotd", SystemClock())

    _refuse_old_server(database, version)
