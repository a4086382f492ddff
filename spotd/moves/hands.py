"""The three writes of a move, each sent once and then read back: only what was read counts as done."""

import threading
from collections.abc import Callable

from spotd.clock import Clock
from spotd.clouds.errors import CloudError
from spotd.fleet.values import ComputeService
from spotd.moves.cloud import HostCloud
from spotd.moves.outcomes import Interrupted, StepFailed, Unsettled
from spotd.moves.sight import Sight
from spotd.moves.timing import Timing
from spotd.store.errors import LeaseLost
from spotd.store.records import MovePlace

LONGEST_REASON = 255
"""Characters that Nova takes as a reason."""
OWNER_TAG = "spotd:"


def reason_of(move_id: str, destination: str) -> str:
    """The disabled reason that makes a compute service this move's own."""
    return f"{OWNER_TAG}{move_id} moving to {destination}"[:LONGEST_REASON]


class Hands:
    """Writes on one host."""

    def __init__(
        self,
        cloud: HostCloud,
        host: str,
        sight: Sight,
        *,
        reason: str,
        timing: Timing,
        clock: Clock,
        leaving: threading.Event,
        leads: Callable[[], bool],
        sleep: Callable[[float], None],
    ) -> None:
        """`leads`: whether the lease is surely held at this very moment; asks nobody."""
        self._cloud = cloud
        self._host = host
        self._sight = sight
        self._timing = timing
        self._clock = clock
        self._leaving = leaving
        self._leads = leads
        self._sleep = sleep
        self.reason = reason

    def owns(self, service: ComputeService) -> bool:
        """Whether this move disabled the service."""
        return service.status == "disabled" and service.disabled_reason == self.reason

    def close(self, service: ComputeService) -> str:
        """Disables the service in this move's name."""
        return self._write(
            "disable the compute service",
            lambda: self._cloud.disable_service(service.id, self.reason),
            lambda: self.owns(self._sight.service()),
        )

    def open(self, service: ComputeService) -> str:
        """Enables the service; to be called for one that `owns` says is this move's."""
        return self._write(
            "enable the compute service",
            lambda: self._cloud.enable_service(service.id),
            lambda: not self.owns(self._sight.service()),
        )

    def join(self, place: MovePlace) -> str:
        """Puts the host into an aggregate."""
        return self._write(
            f"add to {place.name}",
            lambda: self._cloud.add_host(place.id, self._host),
            lambda: place.id in self._sight.memberships(),
        )

    def leave(self, place: MovePlace) -> str:
        """Takes the host out of an aggregate."""
        return self._write(
            f"remove from {place.name}",
            lambda: self._cloud.remove_host(place.id, self._host),
            lambda: place.id not in self._sight.memberships(),
        )

    def wait(self, seconds: float) -> None:
        """Waits, unless the process is leaving.

        Raises:
            Interrupted: It is.
        """
        if self._leaving.wait(seconds):
            raise Interrupted("spotd is stopping")

    def _write(self, what: str, send: Callable[[], None], is_so: Callable[[], bool]) -> str:
        """Sends once; what then is read decides.

        Raises:
            StepFailed: It is not so.
            Unsettled: It cannot be read, or is not so yet and nobody answered the request.
            LeaseLost: The process slept since the journal was written, or the journal's file went, and
                another may act by now.
        """
        self._require_lease(what)
        failure: CloudError | None = None
        try:
            send()
        except CloudError as error:
            failure = error
        is_unsure = failure is not None and failure.may_have_happened
        if self._read_back(what, is_so, patiently=is_unsure):
            return what if failure is None else f"{what}: {failure}; read back as done"
        why = "answered well and is not so" if failure is None else str(failure)
        if failure is not None and failure.may_yet_happen:
            raise Unsettled(f"could not {what}: {why}; it may still take effect")
        raise StepFailed(f"could not {what}: {why}", is_final=failure is not None and failure.is_refusal)

    def _require_lease(self, what: str) -> None:
        if not self._leads():
            raise LeaseLost(f"the lease lapsed, or the journal went, before spotd could {what}")

    def _read_back(self, what: str, is_so: Callable[[], bool], *, patiently: bool) -> bool:
        """Whether it is so; a write of unknown outcome may still take effect, so its "no" is asked again."""
        give_up_at = self._clock.monotonic() + self._timing.readback_seconds
        while True:
            unreadable: CloudError | None = None
            try:
                if is_so():
                    return True
            except CloudError as error:
                unreadable = error
            # A process that leaves has closed its connections, or is about to: the next start settles it.
            is_lost = unreadable is not None and self._leaving.is_set()
            is_late = is_lost or self._clock.monotonic() >= give_up_at
            if unreadable is None and (is_late or not patiently):
                return False
            if is_late:
                raise Unsettled(f"cannot tell whether {what} took effect: {unreadable}")
            # Not cut short when the process leaves: what was sent has to be known before.
            self._sleep(self._timing.poll_seconds)
