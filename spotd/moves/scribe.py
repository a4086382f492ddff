"""Writes one move into the journal, under the lease: each step before it is done and after."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from spotd.clock import Clock
from spotd.clouds.errors import CloudError
from spotd.moves.outcomes import MoveRefused, StepFailed, Unsettled
from spotd.store.errors import LeaseLost, StoreError
from spotd.store.journal import Journal
from spotd.store.records import EndedOutcome, EndState, MoveRecord, MoveState, StepPhase

log = structlog.get_logger(__name__)


class MoveObserver(Protocol):
    """Is told of steps and ends; the metrics and the event stream implement it."""

    def move_stepped(self, record: MoveRecord, step: str, phase: str, outcome: str, seconds: float) -> None:
        """A step ended."""
        ...

    def move_ended(self, record: MoveRecord) -> None:
        """A move ended, in whatever state."""
        ...


class Note:
    """What a step has to say for the journal."""

    def __init__(self) -> None:
        self.text = ""


class Scribe:
    """The journal of one move; every method raises `LeaseLost` or `StoreError`: then stop."""

    def __init__(
        self, journal: Journal, record: MoveRecord, *, token: int, clock: Clock, observer: MoveObserver
    ) -> None:
        self.record = record
        self._journal = journal
        self.token = token
        self._clock = clock
        self._observer = observer

    @contextmanager
    def step(self, name: str, phase: StepPhase = "do", detail: str = "") -> Iterator[Note]:
        """One step: `began` is in the journal before the block runs, its outcome after it."""
        number = self._journal.step_began(
            self.record.id, name, phase, token=self.token, now=self._clock.now(), detail=detail
        )
        note, started = Note(), self._clock.monotonic()
        note.text = detail
        try:
            yield note
        except (LeaseLost, StoreError):
            raise
        except (Unsettled, CloudError) as error:
            self._end(number, name, phase, "unknown", str(error), started)
            raise
        except (StepFailed, MoveRefused) as error:
            self._end(number, name, phase, "failed", str(error), started)
            raise
        self._end(number, name, phase, "done", note.text, started)

    def fenced(self, service_id: str) -> None:
        """The compute service is disabled by this move."""
        self._journal.fenced(self.record.id, service_id, token=self.token, now=self._clock.now())

    def finish(self, state: EndState, sentence: str, code: str | None = None) -> MoveRecord:
        """The move is over; a stranded one is resolved by any end but another failure."""
        now = self._clock.now()
        if self.record.state is MoveState.STRANDED:
            if state is MoveState.STRANDED:
                log.error("still stranded", host=self.record.order.host, reason=sentence)
                return self.record
            said = f"{state}: {sentence}"
            record = self._journal.resolve_stranded(self.record.id, said, token=self.token, now=now)
            log.info("stranded host put right", host=record.order.host, move_id=record.id, how=said)
            self.record = record
            return record
        record = self._journal.finish(self.record.id, state, sentence, token=self.token, now=now, code=code)
        self.record = record
        order = record.order
        # Giving way to somebody is no fault, and has a code.
        has_failed = state is MoveState.UNDONE and code is None
        say = log.error if state is MoveState.STRANDED else log.warning if has_failed else log.info
        say(
            "move ended",
            state=str(state),
            host=order.host,
            origin=order.origin.name,
            destination=order.destination.name,
            rule=order.rule,
            move_id=record.id,
            reason=sentence,
        )
        self._observer.move_ended(record)
        return record

    def _end(  # noqa: PLR0917 - the step's own facts, told in one place
        self, number: int, name: str, phase: StepPhase, outcome: EndedOutcome, detail: str, started: float
    ) -> None:
        self._journal.step_ended(
            self.record.id,
            number,
            outcome,
            token=self.token,
            now=self._clock.now(),
            detail=detail[:1000],
        )
        seconds = self._clock.monotonic() - started
        self._observer.move_stepped(self.record, name, phase, outcome, seconds)
