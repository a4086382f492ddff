"""Whose password is right: checked by bcrypt, which is slow by intent, and remembered.

Whoever guesses makes nobody else wait: each client has its turn, and one whose passwords are wrong again and
again is refused for the rest of the minute. What was right is remembered by a keyed hash, and costs nothing.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping

import bcrypt
from anyio import CapacityLimiter, to_thread
from cachetools import LRUCache

from spotd.web.api.envelope import Code, Refusal
from spotd.web.api.throttle import Kind, Throttle
from spotd.web.turns import Crowded, Turns

LONGEST_PASSWORD_BYTES = 72
"""bcrypt looks no further."""
MOST_WAITING = 64
MOST_OF_ONE = 8
"""Different passwords of one client; those that are the same wait for one check."""
CROWDED_SECONDS = 5
USUAL_COST = 13
"""Up to here a wrong password counts once; each step beyond doubles the time, and the count."""
_NOBODYS = "$HsDJoUDkEVz2nN9xJvTvQ.6HbS2WqyVzRzqxBvU9ylvUlXIcIo5YS"
"""Salt and hash of no password."""
_DEFAULT_COST = 10


class Passwords:
    """Tells whether a password is its user's; lives on the event loop."""

    def __init__(self, throttle: Throttle, outcomes_kept: int) -> None:
        """`throttle` counts failures; of right and of wrong passwords so many are remembered."""
        self._throttle = throttle
        self._key = secrets.token_bytes(32)
        # Apart, so that whoever guesses pushes out no right one: its user would then wait for a check again.
        self._right: LRUCache[bytes, bool] = LRUCache(outcomes_kept)
        self._wrong: LRUCache[bytes, bool] = LRUCache(outcomes_kept)
        self._under_way: dict[tuple[bytes, str], asyncio.Future[bool]] = {}
        self._turns = Turns(1, most_waiting=MOST_WAITING, most_of_one=MOST_OF_ONE)  # one processor, not all
        self._thread = CapacityLimiter(1)

    async def are_right(self, users: Mapping[str, str], name: str, password: bytes, address: str) -> bool:
        """Whether this is the password of this user, who asks from this address.

        Raises:
            Refusal: Too many wrong ones came from there, or too many wait.
        """
        hashed = users.get(name) or nobodys(users)
        key = hashlib.blake2b(b"\0".join((hashed.encode(), password)), key=self._key, digest_size=32).digest()
        good = self._known(key)
        if good is None:
            # Of unknown names there are as many as a stranger likes: they count as one.
            client = f"{address} {name if name in users else ''}"
            good = await self._check_of(key, hashed, password, client)
        return good and name in users

    def _known(self, key: bytes) -> bool | None:
        right = self._right.get(key)
        return self._wrong.get(key) if right is None else right

    async def _check_of(self, key: bytes, hashed: str, password: bytes, client: str) -> bool:
        """One check for all connections of a client that show the same: a browser opens several at once."""
        check = self._under_way.get((key, client))
        if check is None:
            check = asyncio.ensure_future(self._checked(key, hashed, password, client))
            self._under_way[key, client] = check
            check.add_done_callback(lambda _: self._under_way.pop((key, client)))
        return await asyncio.shield(check)

    async def _checked(self, key: bytes, hashed: str, password: bytes, client: str) -> bool:
        self._throttle.check(Kind.FAILED_LOGIN, client)
        try:
            async with self._turns.turn(client):
                self._throttle.check(Kind.FAILED_LOGIN, client)
                good = await to_thread.run_sync(_is_right, password, hashed, limiter=self._thread)
                (self._right if good else self._wrong)[key] = good
                if not good:
                    self._throttle.charge(Kind.FAILED_LOGIN, client, weight_of(hashed))
                return good
        except Crowded:
            raise Refusal(
                Code.RATE_LIMITED,
                "Too many passwords wait for their check.",
                headers={"Retry-After": str(CROWDED_SECONDS)},
            ) from None


def cost_of(hashed: str) -> int:
    """The cost that a bcrypt hash names: each step doubles the time of a check."""
    return int(hashed.split("$")[2])


def weight_of(hashed: str) -> int:
    """As how many wrong passwords a wrong one counts."""
    return 1 << max(0, cost_of(hashed) - USUAL_COST)


def nobodys(users: Mapping[str, str]) -> str:
    """A hash for names that are nobody's, as costly as the costliest: the time must not tell who exists."""
    cost = max(map(cost_of, users.values()), default=_DEFAULT_COST)
    return f"$2b${cost:02}{_NOBODYS}"


def _is_right(password: bytes, hashed: str) -> bool:
    try:
        return bcrypt.checkpw(password[:LONGEST_PASSWORD_BYTES], hashed.encode())
    except ValueError:
        return False
