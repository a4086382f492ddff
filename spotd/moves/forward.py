"""The way forward: fence, drain, settle, prove, leave and join, verify, release."""

from datetime import timedelta

from spotd.clock import Clock
from spotd.fleet.values import Aggregate, ComputeService
from spotd.moves.hands import Hands
from spotd.moves.outcomes import StepFailed
from spotd.moves.scribe import Scribe
from spotd.moves.sight import Sight
from spotd.moves.timing import Timing
from spotd.store.records import MoveOrder, MovePlace

PROOFS = 2


class Forward:
    """The steps of one move; each raises `StepFailed`, `Unsettled` or `CloudError` if not done."""

    def __init__(
        self,
        order: MoveOrder,
        *,
        sight: Sight,
        hands: Hands,
        scribe: Scribe,
        timing: Timing,
        clock: Clock,
        pool_ids: frozenset[int],
    ) -> None:
        """`pool_ids`: every aggregate that stands for a pool; the host may be in no other of them."""
        self._order = order
        self._sight = sight
        self._hands = hands
        self._scribe = scribe
        self._timing = timing
        self._clock = clock
        self._pool_ids = pool_ids

    def fence(self, service: ComputeService) -> None:
        """Closes the host to the scheduler and waits until Placement shows it."""
        with self._scribe.step("fence", detail=f"disable service {service.id}") as note:
            now = self._sight.service()
            if now.id != service.id or now.status != "enabled":
                why = now.disabled_reason or "no reason given"
                raise StepFailed(f"somebody else disabled the compute service meanwhile: {why}")
            note.text = self._hands.close(now)
            self._scribe.fenced(service.id)
            self._wait_for_trait()

    def _wait_for_trait(self) -> None:
        give_up_at = self._clock.monotonic() + self._timing.trait_seconds
        while not self._sight.is_closed_to_the_scheduler():
            if self._clock.monotonic() >= give_up_at:
                seconds = f"{self._timing.trait_seconds:.0f} s"
                raise StepFailed(f"Placement does not show the host as disabled after {seconds}")
            self._hands.wait(self._timing.poll_seconds)

    def drain(self, deadline: timedelta) -> None:
        """Waits until the servers have left by themselves."""
        with self._scribe.step("drain", detail=f"at most {deadline}"):
            give_up_at = self._clock.monotonic() + deadline.total_seconds()
            while occupants := self._sight.occupants():
                self._require_fence()
                if self._clock.monotonic() >= give_up_at:
                    raise StepFailed(f"not empty when its time was over: {occupants.in_words()}")
                self._hands.wait(self._timing.drain_poll_seconds)

    def settle(self) -> None:
        """Waits for requests that were on their way when the host was closed."""
        with self._scribe.step("settle", detail=f"{self._timing.settle_seconds:.0f} s"):
            self._hands.wait(self._timing.settle_seconds)

    def prove(self) -> None:
        """Proves the host empty, some seconds apart, on Nova and on the whole provider tree."""
        for number in range(1, PROOFS + 1):
            if number > 1:
                self._hands.wait(self._timing.proof_gap_seconds)
            with self._scribe.step("prove", detail=f"proof {number} of {PROOFS}"):
                self._require_fence()
                self._require_membership(self._order.origin)
                if occupants := self._sight.occupants():
                    raise StepFailed(f"not empty: {occupants.in_words()}")

    def change_pool(self) -> None:
        """Leaves the origin and joins the destination; one availability zone for both turns the order round.

        Between two aggregates of one zone the host would otherwise fall out of it for a moment.
        """
        aggregates = {found.id: found for found in self._sight.aggregates()}
        if self._is_one_zone(aggregates):
            self._join()
            self._leave((self._order.origin, self._order.destination))
        else:
            self._leave((self._order.origin,))
            self._join()

    def _is_one_zone(self, aggregates: dict[int, Aggregate]) -> bool:
        origin, destination = (
            aggregates.get(place.id) for place in (self._order.origin, self._order.destination)
        )
        if origin is None or destination is None:
            raise StepFailed("origin or destination is gone")
        return origin.availability_zone is not None and (
            origin.availability_zone == destination.availability_zone
        )

    def _leave(self, expected: tuple[MovePlace, ...]) -> None:
        with self._scribe.step("leave", detail=self._order.origin.name) as note:
            self._require_fence()
            self._require_membership(*expected)
            note.text = self._hands.leave(self._order.origin)

    def _join(self) -> None:
        with self._scribe.step("join", detail=self._order.destination.name) as note:
            self._require_fence()
            members = self._sight.memberships()
            is_first = self._order.origin.id in members
            self._require_membership(*((self._order.origin,) if is_first else ()))
            note.text = self._hands.join(self._order.destination)

    def leave_origin_if_there(self) -> None:
        """For a move that a crash left between join and leave."""
        if self._order.origin.id in self._sight.memberships():
            with self._scribe.step("leave", detail=self._order.origin.name) as note:
                note.text = self._hands.leave(self._order.origin)

    def verify(self) -> None:
        """Reads where the host is now, in Nova and in Placement's mirror, and that nobody landed."""
        with self._scribe.step("verify") as note:
            self._require_membership(self._order.destination)
            if not self._mirror_agrees():
                note.text = "Placement's mirror was wrong and is repaired"
                self._repair()
            if occupants := self._sight.occupants():
                raise StepFailed(f"somebody landed during the move: {occupants.in_words()}")

    def _mirror_agrees(self) -> bool:
        wanted, left = self._order.destination.uuid, self._order.origin.uuid
        give_up_at = self._clock.monotonic() + self._timing.mirror_seconds
        while True:
            mirror = self._sight.mirror()
            if (wanted is None or wanted in mirror) and (left is None or left not in mirror):
                return True
            if self._clock.monotonic() >= give_up_at:
                return False
            self._hands.wait(self._timing.poll_seconds)

    def _repair(self) -> None:
        """Nova writes the mirror only when a host comes or goes, and skips it where its own list is right."""
        self._hands.leave(self._order.destination)
        self._hands.join(self._order.destination)
        if not self._mirror_agrees():
            raise StepFailed("Placement's mirror of the aggregates stays wrong", is_final=False)

    def release(self) -> str:
        """Opens the host again, unless somebody else has taken the compute service in hand; says which."""
        with self._scribe.step("release") as note:
            service = self._sight.service()
            if service.status == "enabled":
                note.text = "enabled already"
            elif not self._hands.owns(service):
                note.text = f"left disabled, which is not ours: {service.disabled_reason or 'no reason'}"
            else:
                note.text = self._hands.open(service)
        return note.text

    def _require_fence(self) -> None:
        service = self._sight.service()
        if not self._hands.owns(service):
            says = service.disabled_reason if service.status == "disabled" else "enabled"
            raise StepFailed(f"the compute service is no longer closed by this move: {says}")

    def _require_membership(self, *expected: MovePlace) -> None:
        """The host is in these pools and no other."""
        found = {id_: aggregate.name for id_, aggregate in self._sight.memberships().items()}
        pools = {id_ for id_ in found if id_ in self._pool_ids}
        if pools != {place.id for place in expected}:
            where = ", ".join(found[id_] for id_ in sorted(pools)) or "no pool"
            raise StepFailed(f"somebody moved the host: it is in {where}")
