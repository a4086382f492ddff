"""Faults to order: which requests go wrong, and how."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from spotd.sim.wire import Call

ANY = "*"
_AGGREGATE = r"/os-aggregates/\d+/action$"
_SERVICE = r"/os-services/[^/?]+$"
_PROVIDER = r"/resource_providers/[^/?]+"
OPERATIONS: Mapping[str, Mapping[str, Any]] = {
    "add_host": {"service": "nova", "method": "POST", "path": _AGGREGATE, "sent": '"add_host"'},
    "remove_host": {"service": "nova", "method": "POST", "path": _AGGREGATE, "sent": '"remove_host"'},
    "disable_service": {"service": "nova", "method": "PUT", "path": _SERVICE, "sent": '"disabled"'},
    "enable_service": {"service": "nova", "method": "PUT", "path": _SERVICE, "sent": '"enabled"'},
    "list_aggregates": {"service": "nova", "method": "GET", "path": r"/os-aggregates$"},
    "list_services": {"service": "nova", "method": "GET", "path": r"/os-services(\?|$)"},
    "list_servers": {"service": "nova", "method": "GET", "path": r"/servers(/detail)?(\?|$)"},
    "list_migrations": {"service": "nova", "method": "GET", "path": r"/os-migrations"},
    "list_providers": {"service": "placement", "method": "GET", "path": r"/resource_providers(\?|$)"},
    "list_allocations": {"service": "placement", "method": "GET", "path": _PROVIDER + "/allocations$"},
    "read_mirror": {"service": "placement", "method": "GET", "path": _PROVIDER + "/aggregates$"},
    "read_traits": {"service": "placement", "method": "GET", "path": _PROVIDER + "/traits$"},
    "log_in": {"service": "keystone", "method": "POST", "path": r"/auth/tokens$"},
}
"""The requests of an operation by its name, for `fault_on`."""


class FaultKind(StrEnum):
    """The ways in which a request can go wrong."""

    LATENCY = "latency"
    """The answer comes `seconds` later."""
    STATUS = "status"
    """`status` with `headers` and `body`, or the service's own error and headers when `body` is None."""
    HTML = "html"
    """A proxy's HTML page with `status`."""
    TRUNCATED = "truncated"
    """Half of the body, with the whole Content-Length, then the connection closes."""
    RESET = "reset"
    """The connection is reset without an answer."""
    HANG = "hang"
    """No answer until the faults are cleared or the cloud stops."""
    DRIP = "drip"
    """The body comes one byte each `seconds`."""
    EMPTY_PAGE = "empty_page"
    """200 with an empty list and no next link."""
    PAGE_LOOP = "page_loop"
    """The next link points to the page itself."""
    NEW_PAGES = "new_pages"
    """Each page has rows that no page had, and a link to the next: there is no last one."""
    LONG = "long"
    """A body that does not tell its length, with blanks after it, `body_bytes` in all."""
    PACKED = "packed"
    """The same packed, so that a thousandth of it is sent."""
    WRONG_SHAPE = "wrong_shape"
    """JSON of another type, or with the key `missing` left out of every item."""
    REWRITTEN = "rewritten"
    """The service's own JSON as `rewrite` turns it into: a proxy, or a clock, that lies."""
    NONE = "none"
    """The request is answered as ever: for `before` and `after`."""


_WITHOUT_EFFECT = (FaultKind.STATUS, FaultKind.HTML, FaultKind.RESET, FaultKind.HANG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: the requests it meets and what it does to them."""

    kind: FaultKind | str
    service: str = ANY
    """`keystone`, `nova`, `placement`, `netbox` or `*`."""
    method: str = ANY
    path: str = ""
    """A regular expression that must be found in the path with its query."""
    sent: str = ""
    """A regular expression that must be found in the request's body."""
    skip: int = 0
    """How many such requests it lets pass first."""
    times: int | None = None
    """How many requests it meets; None is all."""
    rate: float = 1.0
    """The share of them that it meets, by the seeded generator."""
    seconds: float = 1.0
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    body_bytes: int = 2**27
    missing: str | None = None
    rewrite: Callable[[Any], Any] = field(default=lambda document: document)
    """Given the document of the answer, returns the one that is sent; the kind REWRITTEN uses it."""
    after_effect: bool | None = None
    """Whether the request takes effect before its answer is lost; None: unless the kind leaves no answer."""
    effect_after_seconds: float = 0.0
    """How long the request waits before it takes effect: its client may have given up by then."""
    before: Callable[[], object] | None = None
    """Called when the request has come and nothing has been done; runs in the server's thread."""
    after: Callable[[], object] | None = None
    """Called when the effect is there, if it is to be, and nothing has been answered."""

    def __post_init__(self) -> None:
        FaultKind(self.kind)
        re.compile(self.path)
        re.compile(self.sent)

    @property
    def takes_effect(self) -> bool:
        """Whether the service serves the request."""
        if self.after_effect is None:
            return FaultKind(self.kind) not in _WITHOUT_EFFECT
        return self.after_effect

    def meets(self, call: Call) -> bool:
        """Whether a request is one of those meant."""
        target = f"{call.path}?{call.query_text}" if call.query_text else call.path
        return (
            self.service in (ANY, call.service)
            and self.method in (ANY, call.method)
            and re.search(self.path, target) is not None
            and re.search(self.sent, call.body.decode(errors="replace")) is not None
        )


def fault_on(operation: str, kind: FaultKind | str, **more: Any) -> Fault:
    """A fault on the requests of one of the `OPERATIONS`."""
    return Fault(kind=kind, **OPERATIONS[operation], **more)


@dataclass(slots=True)
class FaultHandle:
    """A fault that was planted; `met` counts the requests it hit, `passed` those it let pass first."""

    fault: Fault
    passed: int = 0
    met: int = 0
    removed: bool = False

    @property
    def is_spent(self) -> bool:
        """Whether it will hit nothing more."""
        return self.removed or (self.fault.times is not None and self.met >= self.fault.times)

    def remove(self) -> None:
        """Take the fault out; a request that hangs on it goes on hanging until `clear`."""
        self.removed = True


class Faults:
    """The planted faults, first planted first served; one fault hits a request at most."""

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._handles: list[FaultHandle] = []
        self._rng = Random(f"{seed}/faults")
        self.released = threading.Event()
        """Set when requests that hang shall end."""
        self.latency: dict[str, float] = {}
        """Seconds added to every request of a service; `*` is every service."""

    def add(self, fault: Fault) -> FaultHandle:
        """Plant a fault."""
        handle = FaultHandle(fault)
        with self._lock:
            self._handles.append(handle)
        return handle

    def clear(self) -> None:
        """Take all faults and latencies out and let go of the requests that hang."""
        with self._lock:
            self._handles.clear()
            self.latency.clear()
            self.released.set()
            self.released = threading.Event()

    def pick(self, call: Call) -> Fault | None:
        """The fault that hits this request, if any; it is counted."""
        with self._lock:
            for handle in self._handles:
                if handle.is_spent or not handle.fault.meets(call):
                    continue
                if handle.fault.rate < 1.0 and self._rng.random() >= handle.fault.rate:
                    continue
                if handle.passed < handle.fault.skip:
                    handle.passed += 1
                    continue
                handle.met += 1
                return handle.fault
        return None

    def delay(self, service: str) -> float:
        """The latency set for a service, in seconds."""
        return self.latency.get(service, self.latency.get(ANY, 0.0))
