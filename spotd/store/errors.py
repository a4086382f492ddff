"""What the store can answer instead of a value: the database failed, or it works and says no."""


class StoreError(Exception):
    """The database failed; one sentence that names the file or server, without credentials."""


class StoreUnusable(StoreError):  # noqa: N818 - as its base says it
    """No place for a journal: its URL, its driver or its encoding must be changed, waiting heals nothing."""


class JournalLost(StoreError):  # noqa: N818 - as LeaseLost
    """What is open is not the journal any more: whoever led does so no longer, and sends nothing more."""


class StoreRefusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """The database works, and what was asked may not be written; nothing of it is."""


class LeaseLost(StoreRefusal):
    """The lease has another token, lapsed or was given up: whoever wrote must stop acting at once."""


class HostClaimed(StoreRefusal):
    """Another move holds the host: it runs, or it stranded the host and nobody resolved that."""


class KeyReused(StoreRefusal):
    """The idempotency key was used for another order."""


class WrongState(StoreRefusal):
    """The move is not in a state that allows it, or there is no such move."""
