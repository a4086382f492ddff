"""The journal: moves and all that goes with them."""

from spotd.store.chronicle import Chronicle
from spotd.store.moves import MoveJournal


class Journal(MoveJournal, Chronicle):
    """One book in one database; safe for several threads."""
