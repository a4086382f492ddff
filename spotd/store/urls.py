"""What a journal's URL says: which database, where, and what of it is a secret."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from spotd.logs.masking import looks_secret
from spotd.settings.urls import sqlite_path
from spotd.store.errors import StoreUnusable

EXAMPLES = "such as sqlite:////var/lib/spotd/journal.sqlite or postgresql://spotd@db.example.com/spotd"


def parsed(url: str) -> URL:
    """The URL with the driver that spotd uses.

    Raises:
        StoreUnusable: It is not one of a database that can be a journal.
    """
    if url.startswith("sqlite:"):
        # Not as SQLAlchemy reads it, for which a ? ends the path and, by release, an escape is none.
        path = sqlite_path(url)
        return URL.create("sqlite", database=None if path is None else str(path))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The cause would quote the URL, and with it a password.
        raise StoreUnusable(f"the journal's URL is not a database URL, {EXAMPLES}") from None
    backend = parsed.get_backend_name()
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreUnusable(f"a journal cannot be kept in {backend!r}: use SQLite or PostgreSQL, {EXAMPLES}")


def file_of(url: URL) -> Path | None:
    """The file that SQLite opens; None in memory."""
    return Path(url.database) if url.database and url.database != ":memory:" else None


def on_one_line(path: Path) -> str:
    """The path with what is no character, or would begin a line, as an escape."""
    text = str(path)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def where_of(url: URL) -> str:
    """Names the file or the server, without credentials."""
    if url.get_backend_name() == "sqlite":
        file = file_of(url)
        return f"journal {on_one_line(file)}" if file is not None else "journal in memory"
    port = f":{url.port}" if url.port else ""
    return f"journal postgresql://{url.host or url.query.get('host', '')}{port}/{url.database or ''}"


def secrets_of(url: URL) -> tuple[str, ...]:
    """What of the URL is never shown."""
    found = [str(url.password)] if url.password else []
    for key, value in url.query.items():
        if looks_secret(key):
            found += [value] if isinstance(value, str) else list(value)
    return tuple(secret for secret in found if secret)
