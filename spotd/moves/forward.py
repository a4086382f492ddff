"""The way forward: fence, drain, settle, prove, leave and join, verify, release."""

from datetime import timedelta

from spotd.clock import Clock
from spotd.fleet.values import ComputeService
from spotd.moves.hands import Hands
from spotd.moves.mirror import Mirror
from spotd.moves.outcomes import GaveWay, StepFailed
from spotd.moves.scribe import Scribe
from spotd.moves.sight import Sight, in_one_zone, is_in
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
        self._mirror = Mirror(
            sight=sight, hands=hands, scribe=scribe, timing=timing, clock=clock, pool_ids=pool_ids, phase="do"
        )

    def fence(self, service: ComputeService) -> None:
        """Closes the host to the scheduler; nobody else may have closed it since `service` was seen."""
        now = self._sight.service()
        if now.id != service.id or now.status != "enabled":
            why = now.disabled_reason or "no reason given"
            raise StepFailed(f"somebody else disabled the compute service meanwhile: {why}")
        with self._scribe.step("fence", detail=f"disable service {service.id}") as note:
            note.text = self._hands.close(now)
        self._scribe.fenced(service.id)

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
            self._wait_for_trait()
            give_up_at = self._clock.monotonic() + deadline.total_seconds()
            while occupants := self._sight.occupants():
                self._require_fence()
                if self._clock.monotonic() >= give_up_at:
                    raise GaveWay(f"not empty when its time was over: {occupants.in_words()}")
                self._hands.wait(self._timing.drain_poll_seconds)

    def settle(self) -> None:
        """Waits until Placement shows the host as closed, then for requests that were on their way."""
        with self._scribe.step("settle", detail=f"{self._timing.settle_seconds:.0f} s"):
            self._wait_for_trait()
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
                    raise GaveWay(f"not empty: {occupants.in_words()}")

    def change_pool(self) -> None:
        """Leaves the origin and joins the destination; one availability zone for both turns the order round.

        Between two aggregates of one zone the host would otherwise fall out of it for a moment.
        """
        origin, destination = self._order.origin, self._order.destination
        aggregates = self._sight.aggregates()
        there = {found.id: found for found in aggregates}
        if not (is_in(origin, there) and is_in(destination, there)):
            raise StepFailed("origin or destination is gone, or was made anew")
        if in_one_zone(aggregates, origin.id, destination.id):
            self._join((origin,))
            self._leave((origin, destination))
        else:
            self._leave((origin,))
            self._join(())

    # What is looked at before a write is looked at before its step begins: a step in the journal means that
    # the write may have been sent. The fence is looked at last, then the journal asks for the lease.

    def _leave(self, expected: tuple[MovePlace, ...]) -> None:
        self._require_membership(*expected)
        self._require_fence()
        with self._scribe.step("leave", detail=self._order.origin.name) as note:
            note.text = self._hands.leave(self._order.origin)

    def _join(self, expected: tuple[MovePlace, ...]) -> None:
        self._require_membership(*expected)
        self._require_fence()
        with self._scribe.step("join", detail=self._order.destination.name) as note:
            note.text = self._hands.join(self._order.destination)

    def leave_origin_if_there(self) -> None:
        """For a move that a crash left between join and leave; nobody vouches for the time since."""
        if is_in(self._order.origin, self._sight.memberships()):
            if occupants := self._sight.occupants():
                raise GaveWay(f"not empty: {occupants.in_words()}")
            self._leave((self._order.origin, self._order.destination))

    def verify(self) -> None:
        """Reads where the host is now, in Nova and in Placement's mirror, and that nobody landed."""
        order = self._order
        with self._scribe.step("verify") as note:
            self._require_membership(order.destination)
            agrees = self._mirror.agrees(order.destination, order.origin)
            if not agrees:
                note.text = "Placement's mirror is wrong and will be repaired"
            self._require_nobody_landed()
        if agrees:
            return
        self._mirror.repair(order.destination, order.origin)
        with self._scribe.step("verify"):
            self._require_membership(order.destination)
            self._mirror.require(order.destination, order.origin)
            self._require_nobody_landed()

    def _require_nobody_landed(self) -> None:
        """Behind our fence only requests for the origin land; without it, those for the destination."""
        occupants = self._sight.occupants()
        if occupants and self._hands.owns(self._sight.service()):
            raise StepFailed(f"somebody landed during the move: {occupants.in_words()}")

    def release(self) -> str:
        """Opens the host again, unless somebody else has taken the compute service in hand; says which."""
        service = self._sight.service()
        with self._scribe.step("release") as note:
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
        members = self._sight.memberships()
        pools = members.keys() & self._pool_ids
        if len(pools) != len(expected) or not all(is_in(place, members) for place in expected):
            where = ", ".join(members[id_].name for id_ in sorted(pools)) or "no pool"
            raise StepFailed(f"somebody moved the host: it is in {where}")
