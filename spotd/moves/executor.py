"""Carries out one move, or settles one that a crash or an outage left open."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from spotd.clock import Clock
from spotd.clouds.errors import CloudError
from spotd.fleet.values import ComputeService
from spotd.moves.cloud import HostCloud
from spotd.moves.desk import Desk, lay_out
from spotd.moves.guarding import Grounds, GroundsNow, live_refusal, window_refusal
from spotd.moves.outcomes import GaveWay, MoveRefused, StepFailed, Unsettled
from spotd.moves.scribe import MoveObserver, Scribe
from spotd.moves.sight import is_in
from spotd.moves.timing import Timing
from spotd.moves.waits import Waits
from spotd.planning.refusals import Code, Refusal
from spotd.store.journal import Journal
from spotd.store.records import MoveOrder, MoveRecord, MoveState, StepRecord

WRITES = frozenset({"fence", "leave", "join", "release"})
"""Steps that write to the cloud."""

log = structlog.get_logger(__name__)


class Executor:
    """Runs moves under one lease token; safe to use from several threads, one for each move.

    `LeaseLost` and `StoreError` come out of every method: whoever cannot write the journal stops acting at
    once and leaves the move open, which the next leader settles.
    """

    def __init__(
        self,
        cloud: HostCloud,
        journal: Journal,
        *,
        grounds: GroundsNow,
        timing: Timing,
        clock: Clock,
        observer: MoveObserver,
        leaving: threading.Event,
        leads: Callable[[int], bool],
        moved: Callable[[MoveOrder], None] = lambda _order: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`leads`: whether the lease with this token is surely held now; asks nobody.

        `moved` is told of each host that is in its destination; `leaving` is set at a stop.
        """
        self._cloud = cloud
        self._journal = journal
        self._grounds = grounds
        self._timing = timing
        self._clock = clock
        self._observer = observer
        self._leaving = leaving
        self._moved = moved
        self._waits = Waits(timing, clock)
        self._lay_out = partial(
            lay_out, cloud=cloud, timing=timing, clock=clock, leaving=leaving, leads=leads, sleep=sleep
        )

    def run(self, record: MoveRecord, *, token: int) -> MoveRecord:
        """Carries out a move that was begun; the record as it ended, or still `running` where it is open.

        Raises:
            LeaseLost: Somebody else leads.
            StoreError: The journal cannot be written.
        """
        scribe = self._scribe(record, token)
        try:
            desk, service = self._claim(scribe)
        except MoveRefused as error:
            return scribe.finish(MoveState.REFUSED, error.refusal.sentence, error.refusal.code)
        except CloudError as error:
            return scribe.finish(MoveState.REFUSED, str(error), Code.READING_MISSING)
        try:
            desk.forward.fence(service)
            if record.order.drain_deadline is not None:
                desk.forward.drain(record.order.drain_deadline)
                self._ask_again(desk)
            desk.forward.settle()
            desk.forward.prove()
            desk.forward.change_pool()
            desk.forward.verify()
        except GaveWay as error:
            return self._take_back(desk, str(error), error.code)
        except (StepFailed, CloudError, Unsettled) as error:
            return self._take_back(desk, str(error))
        return self._release(desk)

    def settle(self, record: MoveRecord, *, token: int) -> MoveRecord:
        """Brings an open or stranded move to its end: forward where the destination is joined, else back.

        Raises:
            LeaseLost: Somebody else leads.
            StoreError: The journal cannot be written.
        """
        # Whoever asks may have read it a while ago, before another daemon took it further.
        record = self._journal.move(record.id) or record
        return self._settle_open(record, token) if record.is_open else record

    def _settle_open(self, record: MoveRecord, token: int) -> MoveRecord:
        scribe = self._scribe(record, token)
        if not record.steps or all(step.step == "claim" for step in record.steps):
            return scribe.finish(MoveState.UNDONE, "it was interrupted before anything was written")
        try:
            aggregates = self._cloud.aggregates()
            desk = self._lay_out(scribe, self._grounds_or_raise(), aggregates)
            members = desk.sight.memberships_in(aggregates)
        except (CloudError, StepFailed, Unsettled) as error:
            return self._open(scribe, str(error))
        is_going_back = any(step.phase == "undo" for step in record.steps)
        joined = any(step.step == "join" and step.phase == "do" for step in record.steps)
        if is_going_back or not joined or not is_in(record.order.destination, members):
            return self._take_back(desk, _interruption(record))
        try:
            desk.forward.leave_origin_if_there()
            desk.forward.verify()
        except (StepFailed, CloudError, Unsettled) as error:
            if isinstance(error, StepFailed) and error.is_final:
                return self._take_back(desk, str(error))
            return self._open(scribe, str(error))
        return self._release(desk)

    def _claim(self, scribe: Scribe) -> tuple[Desk, ComputeService]:
        """Looks at the host live and asks every guard again; nothing is written to the cloud yet."""
        order = scribe.record.order
        with scribe.step("claim", detail="live view and guards"):
            grounds = self._grounds()
            if grounds is None:
                raise MoveRefused(Refusal(Code.READING_MISSING, "there is no snapshot to decide on"))
            aggregates = self._cloud.aggregates()
            desk = self._lay_out(scribe, grounds, aggregates)
            service, occupants = desk.sight.service(), desk.sight.occupants()
            refusal = live_refusal(
                order,
                grounds,
                aggregates=aggregates,
                service=service,
                occupants=occupants,
                now=self._clock.now(),
            )
            if refusal is None:
                refusal = _another(order, {found.id: found.uuid for found in aggregates})
            if refusal is not None:
                raise MoveRefused(refusal)
            return desk, service

    def _ask_again(self, desk: Desk) -> None:
        """A drain lasts hours, in which freezes, rules and the world change."""
        order, grounds, now = desk.record.order, self._grounds(), self._clock.now()
        if grounds is None:
            raise GaveWay("there is no snapshot to decide on", code=Code.READING_MISSING)
        service = desk.sight.service()
        if desk.hands.owns(service):
            service = replace(service, status="enabled", disabled_reason=None)
        refusal = window_refusal(order, grounds, now) or live_refusal(
            order,
            grounds,
            aggregates=desk.sight.aggregates(),
            service=service,
            occupants=desk.sight.occupants(),
            now=now,
        )
        if refusal is not None:
            raise GaveWay(refusal.sentence, code=refusal.code)

    def _take_back(self, desk: Desk, why: str, code: str | None = None) -> MoveRecord:
        """Undoes what was done; what cannot be undone now stays open, what was refused is stranded."""
        steps = self._steps_of(desk.record)
        try:
            late = self._may_yet_land(desk)
            desk.back.home(was_in_destination="join" in steps, was_touched=bool(steps & {"leave", "join"}))
            if late is not None:
                return self._wait_for_quiet(desk, late, why)
            desk.back.release()
        except StepFailed as error:
            if error.is_final:
                return self._strand(desk, f"{why}; taking back failed: {error}")
            return self._open(desk.scribe, f"{why}; {error}")
        except (CloudError, Unsettled) as error:
            return self._open(desk.scribe, f"{why}; {error}")
        return desk.scribe.finish(MoveState.UNDONE, why, code)

    def _release(self, desk: Desk) -> MoveRecord:
        """The last step; the host is where it should be, so that failing here takes nothing back."""
        order = desk.record.order
        self._moved(order)
        try:
            if (late := self._may_yet_land(desk)) is not None:
                return self._wait_for_quiet(desk, late, f"in {order.destination.name}")
            said = desk.forward.release()
        except StepFailed as error:
            if error.is_final:
                return self._strand(desk, f"it is in {order.destination.name} and stays disabled: {error}")
            return self._open(desk.scribe, str(error))
        except (CloudError, Unsettled) as error:
            return self._open(desk.scribe, str(error))
        return desk.scribe.finish(MoveState.DONE, f"in {order.destination.name}; {said}")

    def _may_yet_land(self, desk: Desk) -> StepRecord | None:
        """A late write: nobody answered it, or a daemon died in it, so that Nova may be at it still.

        One in which a daemon died and whose effect is to be seen is over.
        """
        known = self._journal.move(desk.record.id) or desk.record
        unanswered = (
            step
            for step in reversed(known.steps)
            if step.step in WRITES
            and step.outcome in ("began", "unknown")
            and not self._waits.is_quiet(step)
            and not (step.outcome == "began" and desk.shows(step))
        )
        return next(unanswered, None)

    def _wait_for_quiet(self, desk: Desk, step: StepRecord, why: str) -> MoveRecord:
        """Leaves the host closed until nothing more can come; then it is looked at again."""
        record = desk.record
        self._waits.could_look(record.id)
        log.warning(
            "move stays open until nothing of it can take effect any more",
            host=record.order.host,
            move_id=record.id,
            step=step.step,
            reason=why,
        )
        return record

    def _open(self, scribe: Scribe, why: str) -> MoveRecord:
        """Leaves the move to the next cycle, for as long as patience lasts."""
        record = scribe.record
        waited = self._waits.shut_out_seconds(record.id)
        if waited > self._timing.patience_seconds:
            return scribe.finish(MoveState.STRANDED, f"not settled after {waited:.0f} s: {why}")
        log.warning("move stays open", host=record.order.host, move_id=record.id, reason=why)
        return record

    def _strand(self, desk: Desk, why: str) -> MoveRecord:
        return desk.scribe.finish(MoveState.STRANDED, why)

    def _steps_of(self, record: MoveRecord) -> set[str]:
        """The forward steps that were begun, as the journal has them now."""
        known = self._journal.move(record.id)
        return {step.step for step in (known or record).steps if step.phase == "do"}

    def _scribe(self, record: MoveRecord, token: int) -> Scribe:
        return Scribe(self._journal, record, token=token, clock=self._clock, observer=self._observer)

    def _grounds_or_raise(self) -> Grounds:
        grounds = self._grounds()
        if grounds is None:
            raise StepFailed("there is no snapshot to look on from", is_final=False)
        return grounds


def _another(order: MoveOrder, uuids: dict[int, str | None]) -> Refusal | None:
    """An aggregate that was deleted and made anew under the same id is another one."""
    for place in (order.origin, order.destination):
        if place.id not in uuids or uuids[place.id] != place.uuid:
            return Refusal(Code.NO_DESTINATION, f"{place.name} is gone, or another aggregate has its id")
    return None


def _interruption(record: MoveRecord) -> str:
    last = record.steps[-1]
    how = {"began": "interrupted in", "unknown": "left open in"}.get(last.outcome, "interrupted after")
    return f"{how} step {last.step}" + (f": {last.detail}" if last.outcome != "began" and last.detail else "")
