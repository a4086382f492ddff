"""The version of the tables: made at the first opening, and refused where a newer spotd made them."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, inspect, select

from spotd.store.database import Database
from spotd.store.tables import LEADER, leases, metadata, schema_version

VERSION = 1
OLDEST_POSTGRESQL = 10
"""The oldest that psycopg speaks to; what spotd itself asks for came with 9.6 at the latest."""
_LOCK = 0x5350_4F54  # any number that no other program takes: "SPOT"


def prepare(database: Database, *, create: bool = True) -> None:
    """Make the tables where there are none, and make sure that they are as this release knows them.

    Raises:
        StoreError: The database cannot be read or written, is damaged, or not of this spotd.
    """
    if not create and database.file is not None and not database.file.exists():
        raise database.failure("there is no such file")
    database.make_file()
    with database.write() as connection:
        if database.is_sqlite:
            _refuse_damage(database, connection)
        else:
            _refuse_old_server(database, connection.dialect.server_version_info or ())
            # Two daemons that start at once must not both make tables.
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        _make_tables(database, connection, create=create)
        token = connection.execute(select(leases.c.token).where(leases.c.name == LEADER)).scalar_one()
        database.identity.learn(connection, token)
        # While the transaction keeps the file open.
        database.hold()


def _make_tables(database: Database, connection: Connection, *, create: bool) -> None:
    found = set(inspect(connection).get_table_names())
    if schema_version.name in found:
        _refuse_others(database, connection)
        return
    if strange := found & set(metadata.tables):
        raise database.failure(f"has a table {min(strange)!r} that is not spotd's: give it its own database")
    if not create:
        raise database.failure("holds no journal")
    metadata.create_all(connection, checkfirst=False)
    connection.execute(insert(schema_version).values(version=VERSION))
    connection.execute(insert(leases).values(name=LEADER, token=0))


def _refuse_old_server(database: Database, version: Sequence[int | str]) -> None:
    major = version[0] if version else None
    if isinstance(major, int) and major < OLDEST_POSTGRESQL:
        oldest, told = OLDEST_POSTGRESQL, ".".join(map(str, version))
        raise database.failure(f"spotd needs PostgreSQL {oldest} or newer; this is {told}")


def _refuse_damage(database: Database, connection: Connection) -> None:
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        why = " ".join(str(found).split())
        raise database.failure(f"is damaged ({why}): move it away, or put back a copy")


def _refuse_others(database: Database, connection: Connection) -> None:
    version = connection.execute(select(schema_version.c.version)).scalar_one()
    if version > VERSION:
        raise database.failure(
            f"was written by a newer spotd (layout {version}, this one knows {VERSION}): install that one"
        )
