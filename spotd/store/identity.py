"""Which journal this is, and how far it was seen to go: so another, or an older copy, is noticed."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, insert, select, update

from spotd.store.errors import JournalLost
from spotd.store.tables import memories

NAME = "identity"
"""Its memory in the journal: a table of its own would ask more rights of the role than a release before."""
_ROW = memories.c.name == NAME


@dataclass(frozen=True, slots=True)
class Mark:
    """What one journal is told from others by, and an older copy of it from itself."""

    id: str
    renewals: int
    """Grows with every renewal of the lease, whoever holds it."""
    token: int
    """The lease's, which grows too."""


class Identity:
    """The journal that this process opened, as it was seen last; safe for several threads."""

    def __init__(self, lost: Callable[[str], JournalLost]) -> None:
        """`lost` makes the error that names the database."""
        self._lost = lost
        self._lock = threading.Lock()
        self._seen: Mark | None = None

    def learn(self, connection: Connection, token: int) -> None:
        """At the opening: whatever is there is the journal; it gets an id where it has none."""
        mark = _read(connection, token)
        if mark is None:
            mark = Mark(uuid4().hex, 0, token)
            if (
                connection.execute(update(memories).where(_ROW).values(document=_document(mark))).rowcount
                == 0
            ):
                connection.execute(insert(memories).values(name=NAME, document=_document(mark)))
        self._seen = mark

    def require(self, connection: Connection, token: int) -> Mark:
        """What the journal says of itself, under the lock of its lease's row.

        Raises:
            JournalLost: It is another one, or an older copy: what was written since is not in it.
        """
        seen, found = self._seen, _read(connection, token)
        if seen is None:
            raise self._lost("was not opened")
        if found is None or found.id != seen.id:
            raise self._lost("another journal was put in its place while spotd had it open")
        if found.token < seen.token or found.renewals < seen.renewals:
            told = f"term {found.token}, renewal {found.renewals}; seen before: {seen.token}, {seen.renewals}"
            raise self._lost(f"an older copy was put in its place while spotd had it open ({told})")
        return found

    def count(self, connection: Connection, mark: Mark, token: int) -> Mark:
        """Writes down one renewal more; to be told to `saw` when that is on the disk."""
        counted = Mark(mark.id, mark.renewals + 1, token)
        connection.execute(update(memories).where(_ROW).values(document=_document(counted)))
        return counted

    def saw(self, mark: Mark) -> None:
        """From now on nothing older is this journal."""
        with self._lock:
            seen = self._seen
            if seen is None or (mark.token, mark.renewals) > (seen.token, seen.renewals):
                self._seen = mark


def _document(mark: Mark) -> dict[str, Any]:
    return {"id": mark.id, "renewals": mark.renewals}


def _read(connection: Connection, token: int) -> Mark | None:
    document = connection.execute(select(memories.c.document).where(_ROW)).scalar_one_or_none()
    match document:
        case {"id": str(id_), "renewals": int(renewals)}:
            return Mark(id_, renewals, token)
    return None
