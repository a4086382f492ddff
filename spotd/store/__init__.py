"""What survives a restart: the journal of moves, steps and decisions, freezes, audit, and the leader's lease.

The only room that knows SQLAlchemy: SQLite where one daemon acts, PostgreSQL where several share. It keeps
and guards what it is given; what a record means is for rules and moves to say.
"""

from spotd.store.errors import (
    HostClaimed,
    JournalLost,
    KeyReused,
    LeaseLost,
    StoreError,
    StoreRefusal,
    WrongState,
)
from spotd.store.journal import Journal
from spotd.store.lease import Lease
from spotd.store.store import Store, open_store

__all__ = [
    "HostClaimed",
    "Journal",
    "JournalLost",
    "KeyReused",
    "Lease",
    "LeaseLost",
    "Store",
    "StoreError",
    "StoreRefusal",
    "WrongState",
    "open_store",
]
