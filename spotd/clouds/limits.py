"""How much of another program's words is taken in: bytes, values, rows, pages and time, each with its bound.

Measured on the embedded cloud, 2,000 hosts with 8 GPU providers each and 16,000 servers: all resource
providers are 14.7 MB with 450,000 values, allocation candidates 6.3 MB (12 MB with the hundred traits of a
real host), a page of 1,000 servers 1.8 MB (3 MB with tags and addresses), a page of 1,000 devices 1.6 MB,
all compute services 0.5 MB, a token with its catalog 2.4 kB. What is larger than these bounds is no answer
but a fault, and one failed reading.
"""

import json
import math
import re
import time
from collections.abc import Hashable
from typing import Any

from spotd.clouds.errors import CloudError, Failure, malformed

MEBIBYTE = 2**20

DOCUMENT_BYTES = 4 * MEBIBYTE
"""One document, unpacked: a token with a catalog of 20 regions is 0.6 MB, an aggregate of 2,000 hosts 60 kB.

Every error page is held to it too, whatever was asked for.
"""
LIST_BYTES = 64 * MEBIBYTE
"""A list or a page of one, unpacked: four times the longest that 2,000 hosts make."""
HEAD_BYTES = 8 * MEBIBYTE
"""What may come besides the body: http.client takes 100 header lines of 64 KiB."""
COOKIE_BYTES = 8192
"""All cookies of a session together: most servers refuse a longer line."""

MOST_VALUES = 2_000_000
"""Values in one document: the smallest cost 100 times more as objects than as text."""
MOST_TOKEN_VALUES = 200_000
"""Of those in a token or a list of versions; a catalog of 20 regions has 30,000."""
MOST_DIGITS = 20
"""Of a whole number: 2^64 has 20, and what is longer than some hundred fits no float."""

MOST_PAGES = 10_000
"""Of one list: with the 50 rows a page of a tight Nova, half a million."""
MOST_ROWS = 500_000
"""Of one list in all its pages: fifty times the servers of 2,000 hosts, as many as an hour lets Nova tell."""
LIST_SECONDS = 3600.0
"""Longest time for all pages of one list: Nova needs 5 ms and more for a server."""
MOST_PROVIDERS_OF_A_TREE = 1000
"""Each is asked about by itself; a host with 8 GPUs and NUMA nodes has about 20."""

_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def document_of(content: bytes, most_values: int = MOST_VALUES) -> Any:
    """The JSON document, all of whose texts and numbers can be written down again.

    Raises:
        ValueError: It is none, is nested too deeply, or has too many values, a number without end or half a
            character; the text says which, and nothing of the content.
    """
    if content.count(b",") + content.count(b"[") + content.count(b"{") > most_values:
        raise ValueError(f"JSON of more than {most_values} values")
    try:
        text = content.decode("utf-8-sig")
        document = _DECODER.decode(text)
        if _HALF_A_PAIR.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    except _NumberError:
        raise ValueError("JSON with a number that is none, or too large") from None
    except ValueError:
        raise ValueError("not valid JSON") from None
    return document


class _NumberError(ValueError):
    pass


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise _NumberError
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _NumberError
    return number


def _no_number(_name: str) -> float:
    raise _NumberError


_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_finite, parse_constant=_no_number)


class Paging:
    """Counts the pages of one list and refuses those that go in circles, or on for ever."""

    def __init__(self, what: str, first: Hashable = None) -> None:
        """`first` is what the first page is asked for by."""
        self._what = what
        self._asked = {first}
        self._rows = 0
        self._ends_at = time.monotonic() + LIST_SECONDS

    def took(self, rows: int, following: Hashable | None) -> None:
        """A page of so many rows came; `following` is what the next is to be asked for by, None at the end.

        Raises:
            CloudError: `MALFORMED` where that page was asked for already, or the list has no end; `TIMEOUT`
                where it takes too long.
        """
        self._rows += rows
        if self._rows > MOST_ROWS:
            raise malformed(f"{self._what} has more than {MOST_ROWS} rows")
        if following is None:
            return
        if following in self._asked or not rows:
            raise malformed(f"{self._what}: the pages go in circles")
        if len(self._asked) >= MOST_PAGES:
            raise malformed(f"{self._what} has more than {MOST_PAGES} pages")
        if time.monotonic() > self._ends_at:
            raise CloudError(Failure.TIMEOUT, f"{self._what}: no end of the pages in {LIST_SECONDS:.0f} s")
        self._asked.add(following)
