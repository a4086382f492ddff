"""Refused writes: which are written down, so that whoever knocks without end cannot fill the journal.

Of each client the first one is, and when a while is over, how many more there were. Of many clients at once
only some are told apart. So strangers make at most `2 * (CLIENTS + 1)` entries in `WHILE_SECONDS`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

WHILE_SECONDS = 300.0
CLIENTS = 8
KINDS = 5
"""So many kinds of requests are named in the sum; all are counted."""
KINDS_KEPT = 32
"""So many of one client are told apart: it is the client who chooses what to ask for."""
SEVERAL = "several"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A write that was refused before its route saw it; nothing of the credential."""

    who: str
    from_where: str
    what: str
    code: str


@dataclass(slots=True)
class _Client:
    who: str
    from_where: str
    more: Counter[tuple[str, str]] = field(default_factory=Counter)
    others: int = 0
    """Requests of kinds that are not told apart any more."""

    def count(self, kind: tuple[str, str]) -> None:
        if kind in self.more or len(self.more) < KINDS_KEPT:
            self.more[kind] += 1
        else:
            self.others += 1


class Attempts:
    """Counts on the event loop; `told` is given the sum of each client that came back."""

    def __init__(self, told: Callable[[Attempt, str], None]) -> None:
        self._told = told
        self._clients: dict[tuple[str, str], _Client] = {}

    def is_first(self, attempt: Attempt) -> bool:
        """Whether to write this one down; else it is counted."""
        key = (attempt.who, attempt.from_where)
        if key not in self._clients and len(self._clients) >= CLIENTS:
            key = (SEVERAL, SEVERAL)
        client = self._clients.get(key)
        if client is not None:
            client.count((attempt.what, attempt.code))
            return False
        self._clients[key] = _Client(*key)
        asyncio.get_running_loop().call_later(WHILE_SECONDS, self._over, key)
        return True

    def _over(self, key: tuple[str, str]) -> None:
        client = self._clients.pop(key)
        if client.more:
            (what, code), _ = client.more.most_common(1)[0]
            self._told(
                Attempt(who=client.who, from_where=client.from_where, what=what, code=code), _sum(client)
            )


def _sum(client: _Client) -> str:
    more = client.more
    named = [f"{count} x {what} {code}" for (what, code), count in more.most_common(KINDS)]
    rest = len(more) - len(named)
    others = [f"{'at least ' if client.others else ''}{rest} other kinds"] if rest > 0 else []
    sentence = f"{more.total() + client.others} more within {WHILE_SECONDS:.0f} s"
    return f"{sentence}: {', '.join(named + others)}"
