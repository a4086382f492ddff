"""Who asked spotd for what, from where, and what became of it: one place for every write."""

import structlog
from fastapi import Request

from spotd.store.errors import StoreError
from spotd.store.records import AuditRecord
from spotd.web.api.backing import Backing
from spotd.web.api.throttle import address_of

LONGEST = 500

log = structlog.get_logger(__name__)


class Auditor:
    """Writes down what was asked, where there is a journal; a journal that fails costs a log line."""

    def __init__(self, backing: Backing) -> None:
        self._backing = backing

    def ended(self, request: Request, outcome: str) -> None:
        """A write that was let in has ended; its route may have left `target` and `detail` in the state."""
        state = request.state
        record = AuditRecord(
            at=self._backing.now(),
            who=f"{state.principal.kind} {state.principal.name}",
            from_where=address_of(request),
            what=f"{request.method} {request.scope['route'].path}",
            target=str(getattr(state, "target", "") or ", ".join(map(str, request.path_params.values())))[
                :LONGEST
            ],
            outcome=outcome,
            detail=str(getattr(state, "detail", ""))[:LONGEST],
        )
        log.info(
            "asked over HTTP", who=record.who, what=record.what, target=record.target, outcome=record.outcome
        )
        if self._backing.audit is None:
            return
        try:
            self._backing.audit(record)
        except StoreError as error:
            log.error("audit not written", reason=str(error), what=record.what)  # noqa: TRY400 - a sentence is enough
