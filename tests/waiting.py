"""Waiting for what other threads and processes do: look again and again, until it is so or time is over."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LOOK_EVERY_SECONDS = 0.02


def until(found: Callable[[], Found], *, seconds: float = 10.0, why: str = "it never came") -> Found:
    """The first true answer of `found`.

    Raises:
        AssertionError: There was none in time.
    """
    ends_at = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < ends_at, f"{why} within {seconds:g} s"
        time.sleep(LOOK_EVERY_SECONDS)
    return answer
