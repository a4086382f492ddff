"""Who asked spotd for what, from where, and what became of it: one place for every write."""

import asyncio

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from spotd.logs import mask_text
from spotd.store.errors import StoreError
from spotd.store.records import AuditRecord
from spotd.web.api.attempts import Attempt, Attempts
from spotd.web.api.backing import Backing
from spotd.web.api.envelope import REFUSED, Code, Refusal
from spotd.web.api.throttle import address_of

SAFE = frozenset({"GET", "HEAD"})
NOT_LET_IN = {
    401: Code.UNAUTHORIZED,
    403: Code.FORBIDDEN,
    408: Code.TOO_SLOW,
    413: Code.TOO_LARGE,
    421: Code.WRONG_HOST,
    429: Code.RATE_LIMITED,
}
"""Statuses of a write that was refused for who asked or how; 404 and 405 ask for nothing."""
LONGEST = 500
LONGEST_PATH = 100
LONGEST_METHOD = 32
AUDITED = "spotd.audited"
"""Left in the scope of a write that is written down already."""
STRANGER = "stranger"
"""Whoever showed no credential, or a wrong one."""
OWN_THREADS = 4
"""Entries that wait for the journal at once."""
FAILED = "failed"
DONE = "done"
_SERVER_FAULT = 500

log = structlog.get_logger(__name__)


class Auditor:
    """Writes down what was asked, where there is a journal; a journal that fails costs a log line."""

    def __init__(self, backing: Backing) -> None:
        self._backing = backing
        self._own_threads = CapacityLimiter(OWN_THREADS)
        self._attempts = Attempts(self._sum_up)
        self._writing: set[asyncio.Future[None]] = set()

    async def ended(self, request: Request, outcome: str) -> None:
        """A write that was let in has ended; its route may have left `target` and `detail` in the state."""
        state = request.state
        request.scope[AUDITED] = True
        target = getattr(state, "target", "") or ", ".join(map(str, request.path_params.values()))
        await self._write(
            AuditRecord(
                at=self._backing.now(),
                who=_printable(f"{state.principal.kind} {state.principal.name}"),
                from_where=address_of(request.scope),
                what=f"{request.method} {request.scope['route'].path}",
                target=_plain(str(target)),
                outcome=outcome,
                detail=_plain(str(getattr(state, "detail", ""))),
            )
        )

    async def answered(self, scope: Scope, status: int) -> None:
        """An answer was sent, whoever sent it: where a write was not let in, that is written down too.

        Or counted, where its client knocks again and again.
        """
        if scope["method"] in SAFE or status not in NOT_LET_IN or AUDITED in scope:
            return
        code, sentence = scope.get(REFUSED) or (NOT_LET_IN[status], "")
        principal = scope.get("state", {}).get("principal")
        attempt = Attempt(
            who=STRANGER if principal is None else _printable(f"{principal.kind} {principal.name}"),
            from_where=address_of(scope),
            what=_what(scope),
            code=code,
        )
        if self._attempts.is_first(attempt):
            target = ", ".join(map(str, scope.get("path_params", {}).values()))
            await self._write(self._record(attempt, sentence, target))

    def _sum_up(self, attempt: Attempt, sentence: str) -> None:
        """Writes down how often a client came back."""
        writing = asyncio.ensure_future(self._write(self._record(attempt, sentence)))
        self._writing.add(writing)  # the loop itself keeps no task alive
        writing.add_done_callback(self._writing.discard)

    def _record(self, attempt: Attempt, sentence: str, target: str = "") -> AuditRecord:
        return AuditRecord(
            at=self._backing.now(),
            who=attempt.who,
            from_where=attempt.from_where,
            what=attempt.what,
            target=_plain(target),
            outcome=attempt.code,
            detail=_plain(sentence),
        )

    async def _write(self, record: AuditRecord) -> None:
        # The journal may wait for its disk or its server: not on the loop, and not in others' threads.
        await to_thread.run_sync(self._written, record, limiter=self._own_threads)

    def _written(self, record: AuditRecord) -> None:
        log.info(
            "asked over HTTP",
            who=record.who,
            from_where=record.from_where,
            what=record.what,
            target=record.target,
            outcome=record.outcome,
        )
        if self._backing.audit is None:
            return
        try:
            self._backing.audit(record)
        except StoreError as error:
            log.error("audit not written", reason=str(error), what=record.what)  # noqa: TRY400 - a sentence is enough


def outcome_of(error: Exception) -> str:
    """What became of a write that ended with this error."""
    if isinstance(error, Refusal):
        return error.code.value
    if isinstance(error, HTTPException) and error.status_code < _SERVER_FAULT:
        return Code.INVALID_REQUEST.value
    return Code.INVALID_REQUEST.value if isinstance(error, RequestValidationError) else FAILED


def _what(scope: Scope) -> str:
    """The route's template; where none was looked for yet, the path as it was sent."""
    route = scope.get("route")
    path = _plain(scope["path"])[:LONGEST_PATH] if route is None else route.path
    return f"{scope['method'][:LONGEST_METHOD]} {path}"


def _plain(text: str) -> str:
    """As a terminal and a database may be given it, without what looks like a secret."""
    return _printable(mask_text(text))


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text[:LONGEST])
