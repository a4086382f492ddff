"""Every step of a move with everything that can go wrong in it, on the embedded cloud over HTTP."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from clouds_under_test import Watched, settings_of, watching

from spotd.clock import SystemClock
from spotd.clouds.host_calls import HostCalls
from spotd.daemon.interpretation import interpretation_of
from spotd.moves.executor import Executor
from spotd.moves.guarding import Grounds
from spotd.moves.timing import Timing
from spotd.planning.rules import Rules
from spotd.planning.surroundings import Standing
from spotd.sim import CloudSize, EmbeddedCloud
from spotd.sim.faults import FaultKind, fault_on
from spotd.store import open_store
from spotd.store.records import MoveOrder, MovePlace, MoveRecord, MoveState

ORIGIN, DESTINATION, ELSEWHERE = "H100-n3", "H100-n3-spot", "H100-n3-runpod"
TIMING = Timing(
    settle_seconds=0.05,
    proof_gap_seconds=0.05,
    trait_seconds=0.5,
    readback_seconds=0.2,
    quiet_seconds=0.4,
    mirror_seconds=0.1,
    poll_seconds=0.02,
)
STEPS = {
    # Step: the requests that it sends, and how many of them earlier steps send.
    "claim": ("list_servers", 0),
    "fence": ("disable_service", 0),
    "settle": ("read_traits", 0),
    "prove": ("list_allocations", 1),
    "leave": ("remove_host", 0),
    "join": ("add_host", 0),
    "verify": ("read_mirror", 0),
    "release": ("enable_service", 0),
}
FAULTS: dict[str, dict[str, Any]] = {
    "timeout after the effect": {"kind": FaultKind.HANG, "after_effect": True, "times": 1},
    "timeout before the effect": {"kind": FaultKind.HANG, "times": 1},
    "409": {"kind": FaultKind.STATUS, "status": 409, "times": 1},
    "404": {"kind": FaultKind.STATUS, "status": 404, "times": 1},
    "500 before the effect": {"kind": FaultKind.STATUS, "status": 500, "times": 1},
    "500 after the effect": {"kind": FaultKind.STATUS, "status": 500, "after_effect": True, "times": 1},
    "401": {"kind": FaultKind.STATUS, "status": 401},  # once is mended by a new token
    "reset before the effect": {"kind": FaultKind.RESET, "times": 1},
    "reset after the effect": {"kind": FaultKind.RESET, "after_effect": True, "times": 1},
    "another shape": {"kind": FaultKind.WRONG_SHAPE, "times": 1},
    "a late effect": {"kind": FaultKind.HANG, "after_effect": True, "effect_after_seconds": 1.0, "times": 1},
}


class Unobserved:
    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_named: None


@dataclass
class Trial:
    """One host and an executor that may move it."""

    cloud: EmbeddedCloud
    watched: Watched
    host: str
    directory: Any
    leaving: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.store = open_store(f"sqlite:///{self.directory}/journal.sqlite")
        self.lease = self.store.lease("trial", timedelta(minutes=5))
        snapshot = self.watched.collect()
        settings = settings_of(self.cloud)
        grounds = Grounds(
            rules=Rules(),
            snapshot=snapshot,
            interpretation=interpretation_of(settings),
            standing=Standing(),
        )
        self.executor = Executor(
            HostCalls(self.watched.region.session),
            self.store.journal,
            grounds=lambda: grounds,
            timing=TIMING,
            clock=self.clock,
            observer=Unobserved(),
            leaving=self.leaving,
            leads=lambda token: token == self.lease.token,
        )

    @property
    def token(self) -> int:
        token = self.lease.try_acquire()
        assert token is not None
        return token

    def run(self) -> MoveRecord:
        places = {
            role: MovePlace(id=found.id, uuid=found.uuid, name=name, pool=pool)
            for role, name, pool in (("origin", ORIGIN, "ondemand"), ("destination", DESTINATION, "spot"))
            for found in [self.cloud.world.aggregate(name)]
        }
        order = MoveOrder(
            host=self.host,
            gpu_type="H100",
            rule=None,
            asked_by="cli tester",
            reason="a trial",
            drain_deadline=None,
            **places,
        )
        record = self.store.journal.begin(order, token=self.token, now=self.clock.now())
        return self.executor.run(record, token=self.token)

    def settled(self, record: MoveRecord) -> MoveRecord:
        """What came of it in the end, after the cloud was well again for a while."""
        for _ in range(40):
            if not record.is_open:
                break
            self.leaving.wait(0.1)
            record = self.executor.settle(record, token=self.token)
        return record


@pytest.fixture(scope="module")
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=24, servers=0, netbox=False), seed=3) as started:
        yield started


@pytest.fixture(scope="module")
def watched(cloud: EmbeddedCloud) -> Iterator[Watched]:
    # Longer than a busy machine takes for an answer: only the planted fault shall be late.
    patient = {"cloud": "embedded", "request_timeout_seconds": 2.0}
    with watching(cloud, settings=settings_of(cloud, openstack=patient)) as region:
        yield region


@pytest.fixture(params=[None, "az-1"], ids=["leave-first", "join-first"])
def trial(
    request: pytest.FixtureRequest, cloud: EmbeddedCloud, watched: Watched, tmp_path: Any
) -> Iterator[Trial]:
    host = next(
        name
        for name, truth in cloud.operator.fleet().items()
        if truth.aggregates == (ORIGIN,) and truth.status == "enabled" and truth.is_up and truth.is_empty
    )
    for name in (ORIGIN, DESTINATION, ELSEWHERE):
        cloud.world.aggregates.set_metadata(
            cloud.world.aggregate(name).id, {"availability_zone": request.param}, cloud.world.now()
        )
    made = Trial(cloud, watched, host, tmp_path)
    yield made
    cloud.faults.clear()
    made.store.close()
    [pool] = cloud.world.aggregates_of(host)
    if pool != ORIGIN:
        cloud.operator.move(host, pool, ORIGIN)


def hold(trial: Trial, record: MoveRecord) -> None:
    """What is promised at every moment after a move."""
    truth = trial.cloud.operator.truth(trial.host)
    if record.state is MoveState.DONE:
        assert (DESTINATION,) == truth.aggregates
    if not record.is_open:
        assert "enabled" == truth.status
    assert len(truth.aggregates) == 1 or (truth.status == "disabled" and record.is_open)


def hold_at_last(trial: Trial, record: MoveRecord) -> None:
    """What is promised when all is well again and the move was settled."""
    truth = trial.cloud.operator.truth(trial.host)
    assert not record.is_open
    assert "enabled" == truth.status
    assert not truth.trait
    assert truth.agrees
    is_there = record.state is MoveState.DONE or record.resolution.startswith("done")
    assert ((DESTINATION,) if is_there else (ORIGIN,)) == truth.aggregates


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_loses_no_host_and_says_nothing_false(step: str, fault: str, trial: Trial) -> None:
    """With one fault in a step, and after it."""
    operation, skip = STEPS[step]
    planted = trial.cloud.faults.add(fault_on(operation, skip=skip, **FAULTS[fault]))

    record = trial.run()
    hold(trial, record)
    assert planted.met
    trial.cloud.faults.clear()
    if fault == "a late effect":
        trial.leaving.wait(0.3)
    record = trial.settled(record)

    hold_at_last(trial, record)


@pytest.mark.thorough
@pytest.mark.parametrize("operation", ["list_aggregates", "list_services"])
@pytest.mark.parametrize("step", ["fence", "leave", "join", "release"])
def test_believes_no_wrong_read_back(step: str, operation: str, trial: Trial) -> None:
    """The write is done and what is read afterwards is empty; or a 500, and so is what is read."""
    write, _ = STEPS[step]
    trial.cloud.faults.add(
        fault_on(
            write,
            FaultKind.NONE,
            times=1,
            after=lambda: trial.cloud.faults.add(fault_on(operation, FaultKind.EMPTY_PAGE, times=2)),
        )
    )

    record = trial.run()
    hold(trial, record)
    trial.cloud.faults.clear()
    record = trial.settled(record)

    hold_at_last(trial, record)


@pytest.mark.thorough
def test_finds_a_server_that_appears_between_the_two_proofs(trial: Trial) -> None:
    """One look is no proof."""
    landed: list[Any] = []
    trial.cloud.faults.add(
        fault_on(
            "list_allocations",
            FaultKind.NONE,
            skip=1,
            times=1,
            after=lambda: landed.append(trial.cloud.operator.land(trial.host)),
        )
    )

    record = trial.settled(trial.run())

    assert MoveState.UNDONE == record.state
    assert "not empty" in record.sentence
    hold_at_last(trial, record)
    trial.cloud.world.delete_server(landed[0].id)


@pytest.mark.thorough
@pytest.mark.parametrize("step", [step for step in STEPS if step != "claim"])
@pytest.mark.parametrize("to", [DESTINATION, ELSEWHERE])
def test_gives_way_to_an_operator_who_moves_the_host_meanwhile(to: str, step: str, trial: Trial) -> None:
    """In whichever step; the host is in one pool and open afterwards."""
    operation, skip = STEPS[step]

    def operate() -> None:
        with trial.cloud.world.lock:
            for pool in trial.cloud.world.aggregates_of(trial.host):
                trial.cloud.world.remove_host(pool, trial.host)
            trial.cloud.world.add_host(to, trial.host)

    trial.cloud.faults.add(fault_on(operation, FaultKind.NONE, skip=skip, times=1, before=operate))

    record = trial.settled(trial.run())

    truth = trial.cloud.operator.truth(trial.host)
    assert not record.is_open
    assert 1 == len(truth.aggregates)
    assert "enabled" == truth.status
    assert truth.agrees
