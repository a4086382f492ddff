"""What a journal's URL says: which database, where, and what of it is a secret."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from spotd.logs.masking import looks_secret
from spotd.store.errors import StoreError

EXAMPLES = "such as sqlite:////var/lib/spotd/journal.sqlite or postgresql://spotd@db.example.com/spotd"


def parsed(url: str) -> URL:
    """The URL with the driver that spotd uses.

    Raises:
        StoreError: It is not one of a database that can be a journal.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The cause would quote the URL, and with it a password.
        raise StoreError(f"the journal's URL is not a database URL, {EXAMPLES}") from None
    backend = parsed.get_backend_name()
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return parsed.set(drivername="sqlite")
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreError(f"a journal cannot be kept in {backend!r}: use SQLite or PostgreSQL, {EXAMPLES}")


def file_of(url: URL) -> Path | None:
    """The file that SQLite opens; None in memory."""
    name = url.database
    if not name or name == ":memory:":
        return None
    return Path(unquote(urlsplit(name).path)) if name.startswith("file:") else Path(name)


def where_of(url: URL) -> str:
    """Names the file or the server, without credentials."""
    if url.get_backend_name() == "sqlite":
        file = file_of(url)
        return f"journal {file}" if file is not None else "journal in memory"
    port = f":{url.port}" if url.port else ""
    return f"journal postgresql://{url.host or url.query.get('host', '')}{port}/{url.database or ''}"


def secrets_of(url: URL) -> tuple[str, ...]:
    """What of the URL is never shown."""
    found = [str(url.password)] if url.password else []
    for key, value in url.query.items():
        if looks_secret(key):
            found += [value] if isinstance(value, str) else list(value)
    return tuple(secret for secret in found if secret)
