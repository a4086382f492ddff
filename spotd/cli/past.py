"""What the journal knows that a single look at the clouds does not: moves of late, and a freeze."""

import os
from dataclasses import dataclass, field
from datetime import datetime

from spotd.clock import SystemClock
from spotd.daemon.freezing import Freezing
from spotd.daemon.orders import recent, seen_live
from spotd.daemon.rebalance import look_back
from spotd.planning.rules import Rules
from spotd.planning.surroundings import RecentMove, Standing
from spotd.settings import Settings, journal_url, state_directory
from spotd.settings.urls import sqlite_path
from spotd.store import Store, StoreError, open_store
from spotd.store.records import MoveRecord

MOVES_OF_A_HOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What planning is told beside the snapshot."""

    recent_moves: tuple[RecentMove, ...] = ()
    standing: Standing = field(default_factory=Standing)
    moves_of_host: tuple[MoveRecord, ...] = ()
    """The newest of the host that is asked about, the newest first."""
    failure: str | None = None
    """Why nothing is known of the past though there is a journal."""


def past_of(settings: Settings, rules: Rules, now: datetime, *, host: str | None = None) -> Past:
    """The past as the configured journal has it; empty where there is none, or none yet."""
    url = journal_url(settings.journal, state_directory(settings, os.environ))
    file = None if url is None else sqlite_path(url)
    if url is None or (file is not None and not file.exists()):
        return Past()
    try:
        with open_store(url, create=False) as store:
            return _read(store, settings, rules, now, host)
    except StoreError as error:
        return Past(failure=str(error))


def _read(store: Store, settings: Settings, rules: Rules, now: datetime, host: str | None) -> Past:
    freeze = Freezing(
        store.journal,
        SystemClock(),
        file=settings.rules.freeze_file,
        after_failures=settings.moves.freeze_after_failures,
    ).current()
    records = store.journal.recent_moves(now - look_back(rules))
    return Past(
        recent_moves=recent(records),
        standing=Standing(
            frozen=None if freeze is None else f"{freeze.reason} ({freeze.by})",
            seen_live=seen_live(records, now),
        ),
        moves_of_host=() if host is None else store.journal.moves(MOVES_OF_A_HOST, host=host),
    )
