"""The requests that spotd sent, sent again without spotd: the least time that a cloud lets anyone have.

What was sent is written down on the wire. To send it again, each chain of pages keeps its order, since
no client can know a page's marker before the page before it came; everything else goes out at once.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import HTTPAdapter

Sent = requests.PreparedRequest


@contextmanager
def written_down() -> Iterator[list[Sent]]:
    """Every request that this process sends inside the block."""
    sent: list[Sent] = []
    send = HTTPAdapter.send

    def writing(adapter: HTTPAdapter, request: Sent, *args: Any, **keywords: Any) -> requests.Response:
        sent.append(request)
        return send(adapter, request, *args, **keywords)

    HTTPAdapter.send = writing  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        HTTPAdapter.send = send  # type: ignore[method-assign]


def chains_of(sent: list[Sent]) -> list[list[Sent]]:
    """The requests in the order in which they must be sent, one list for each that can start at once."""
    chains: dict[tuple[str, ...], list[Sent]] = {}
    for request in sent:
        url = urlsplit(request.url or "")
        query = parse_qs(url.query)
        # A page belongs to the chain of the list whose filters it repeats.
        filters = {name for name in query if name not in ("marker", "limit", "offset", "start")}
        values = [f"{name}={query[name]}" for name in sorted(filters)]
        chains.setdefault((url.netloc, url.path, *values), []).append(request)
    return list(chains.values())


class RawClient:
    """Sends requests in parallel and reads nothing but bytes; keeps its connections."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(16)

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session

    def _send(self, chain: list[Sent]) -> None:
        for request in chain:
            answer = self._session().send(request.copy(), timeout=300, stream=True)
            answer.raise_for_status()
            while answer.raw.read(65536, decode_content=False):
                pass

    def send(self, sent: list[Sent]) -> float:
        """Seconds until the last byte; logging in, where it was written down, goes first."""
        started = time.perf_counter()
        self._send([request for request in sent if is_keystone(request)])
        rest = [request for request in sent if not is_keystone(request)]
        list(self._pool.map(self._send, chains_of(rest)))
        return time.perf_counter() - started

    def close(self) -> None:
        self._pool.shutdown()


def is_keystone(request: Sent) -> bool:
    path = urlsplit(request.url or "").path.rstrip("/")
    return path.endswith(("/v3", "/auth/tokens"))
