"""A layer asks once for all, shows the last good reading until it is too old, and outlives its backend."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import CantDeserializeException
from freezegun import freeze_time
from pydantic import TypeAdapter
from standing import START, Clock, Recorder
from structlog.testing import capture_logs

from spotd.agents.cache import CacheLayer, _deserialized
from spotd.fleet.readings import Reading
from spotd.fleet.values import Aggregates, Inventory


class LostError(Exception):
    """A backend's own error."""


class LostBackend:
    """A region whose server is gone."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_: Any, **__: Any) -> None:
            raise LostError

        return fail


class LosesWrites:
    """A region that reads nothing, lets the reading be made and then fails to store it."""

    def get_or_create(self, key: str, creator: Callable[[], Any], **_: Any) -> Any:
        creator()
        raise LostError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make(clock: Clock, recorder: Recorder) -> Callable[..., CacheLayer]:
    def build(region: Any = None) -> CacheLayer:
        return CacheLayer(
            "netbox",
            region or make_region().configure("dogpile.cache.memory"),
            key="k",
            lifetime_seconds=60.0,
            max_age_seconds=300.0,
            clock=clock,
            recorder=recorder,
        )

    return build


def reading(value: object, clock: Clock) -> Reading[Any]:
    return Reading(value=value, read_at=clock.now())


def failing() -> Reading[Any]:
    raise RuntimeError


def test_a_fresh_reading_is_a_hit_and_an_old_one_a_miss(
    make: Callable[..., CacheLayer], clock: Clock, recorder: Recorder
) -> None:
    """Counted by layer."""
    layer = make()
    with freeze_time(START) as frozen:
        layer.get(lambda: reading("a", clock))
        frozen.tick(59)
        second, was_hit = layer.get(lambda: reading("b", clock))
        frozen.tick(2)
        third, _ = layer.get(lambda: reading("c", clock))

    assert (second.value, was_hit, third.value) == ("a", True, "c")
    assert recorder.told == [("miss", "netbox"), ("hit", "netbox"), ("miss", "netbox")]


def test_force_asks_although_the_reading_is_fresh(make: Callable[..., CacheLayer], clock: Clock) -> None:
    """What an operator's refresh needs."""
    layer = make()
    with freeze_time(START) as frozen:
        layer.get(lambda: reading("a", clock))
        frozen.tick(0.001)

        found, was_hit = layer.get(lambda: reading("b", clock), force=True)

    assert (found.value, was_hit) == ("b", False)


def test_many_threads_that_find_nothing_ask_once(make: Callable[..., CacheLayer], clock: Clock) -> None:
    """All get the one answer."""
    layer = make()
    calls: list[int] = []
    found: list[object] = []
    entered, release = threading.Event(), threading.Event()

    def create() -> Reading[Any]:
        calls.append(1)
        entered.set()
        release.wait(5)
        return reading("a", clock)

    threads = [threading.Thread(target=lambda: found.append(layer.get(create)[0].value)) for _ in range(16)]
    for thread in threads:
        thread.start()
    entered.wait(5)
    release.set()
    for thread in threads:
        thread.join(5)

    assert len(calls) == 1
    assert found == ["a"] * 16


def test_a_failure_is_raised_and_leaves_the_last_good_reading(
    make: Callable[..., CacheLayer], clock: Clock
) -> None:
    """Its age grows meanwhile."""
    layer = make()
    layer.get(lambda: reading("a", clock))
    clock.move(200)

    with pytest.raises(RuntimeError):
        layer.get(failing, force=True)

    assert layer.last_good() is not None
    assert layer.age_seconds() == 200


@pytest.mark.parametrize(("age", "is_known"), [(300, True), (301, False)])
def test_past_the_maximum_age_the_facts_are_unknown(
    make: Callable[..., CacheLayer], clock: Clock, *, age: float, is_known: bool
) -> None:
    """None, never an old value without its age."""
    layer = make()
    layer.put(reading("a", clock))

    clock.move(age)

    assert is_known == (layer.last_good() is not None)
    assert is_known == (layer.age_seconds() is not None)


def test_a_wall_clock_set_back_makes_no_negative_age(make: Callable[..., CacheLayer], clock: Clock) -> None:
    """The age is zero until the clock catches up."""
    layer = make()
    layer.put(reading("a", clock))

    clock.time -= timedelta(hours=1)

    assert layer.age_seconds() == 0


def test_a_reading_from_before_a_restart_is_shown_and_never_fresh(
    make: Callable[..., CacheLayer], clock: Clock
) -> None:
    """The first request asks."""
    layer = make()
    layer.keep(reading("before", clock))

    shown = layer.last_good()
    found, was_hit = layer.get(lambda: reading("after", clock))

    assert shown is not None
    assert (shown.value, found.value, was_hit) == ("before", "after", False)


def test_a_forgotten_reading_is_unknown_and_asked_for(make: Callable[..., CacheLayer], clock: Clock) -> None:
    """After a change that the cache cannot follow."""
    layer = make()
    layer.put(reading("a", clock))

    layer.forget()

    assert layer.last_good() is None
    assert layer.get(lambda: reading("b", clock))[0].value == "b"


def test_a_backend_that_is_gone_costs_one_warning_and_no_reading(
    make: Callable[..., CacheLayer], clock: Clock
) -> None:
    """The process goes on alone: fresh for its lifetime, then asked for again."""
    layer = make(LostBackend())
    with capture_logs() as logs:
        layer.put(reading("put", clock))
        first, _ = layer.get(lambda: reading("a", clock))
        clock.move(61)
        second, _ = layer.get(lambda: reading("b", clock))
        third, was_hit = layer.get(lambda: reading("c", clock))
        layer.forget()
        after = layer.last_good()

    assert [first.value, second.value, third.value] == ["put", "b", "b"]
    assert was_hit
    assert after is None
    assert [line["event"] for line in logs] == ["cache backend failed, going on alone"]


def test_a_backend_that_fails_while_storing_does_not_make_the_agent_ask_twice(
    make: Callable[..., CacheLayer], clock: Clock
) -> None:
    """The reading that was made is the answer."""
    layer = make(LosesWrites())
    calls: list[int] = []

    def create() -> Reading[Any]:
        calls.append(1)
        return reading("a", clock)

    found, was_hit = layer.get(create)

    assert (found.value, was_hit, len(calls)) == ("a", False, 1)


def test_an_agents_failure_is_not_taken_for_the_backends(make: Callable[..., CacheLayer]) -> None:
    """With the backend gone too."""
    with pytest.raises(RuntimeError):
        make(LostBackend()).get(failing)


def test_force_asks_also_while_the_wall_clock_was_set_back(
    make: Callable[..., CacheLayer], clock: Clock
) -> None:
    """By the wall clock nothing that was stored before it was set back ever expires."""
    layer = make()
    with freeze_time(START) as frozen:
        layer.get(lambda: reading("before", clock))
        frozen.tick(-3600)
        found, was_hit = layer.get(lambda: reading("after", clock), force=True)
        again, _ = layer.get(failing)

    assert (found.value, was_hit, again.value) == ("after", False, "after")


@pytest.mark.parametrize(("lead", "asks"), [(59, False), (61, True), (86_400 * 365, True)])
def test_a_reading_of_the_future_is_no_reading(
    lead: int, asks: bool, make: Callable[..., CacheLayer], clock: Clock
) -> None:
    """Its age would be none until our clock gets there; another daemon's may be a little ahead."""
    region = make_region().configure("dogpile.cache.memory")
    layer = make(region)
    ahead = Reading(value="theirs", read_at=clock.now() + timedelta(seconds=lead))
    with freeze_time(START):
        region.set("k", ahead)
        shown = layer.last_good()
        found, _ = layer.get(lambda: reading("ours", clock))

    assert (None if asks else "theirs") == (None if shown is None else shown.value)
    assert ("ours" if asks else "theirs") == found.value
    kept = layer.last_good()
    assert kept is not None
    assert kept.value == found.value


@pytest.mark.parametrize(
    "stored",
    [b"{}", b"[]", b"nonsense", b'{"value": {"devices": {}}, "read_at": "2030-01-01T12:00:00"}', b"\xff"],
)
def test_what_somebody_else_stored_in_another_shape_counts_as_absent(stored: bytes, clock: Clock) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Reading[Inventory])

    with pytest.raises(CantDeserializeException):
        _deserialized(adapter, clock, stored)


@pytest.mark.parametrize(
    "read_at",
    ["2030-01-01T12:01:01Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2030-01-01T11:00:00"],
)
def test_a_shared_reading_of_a_time_that_cannot_be_is_asked_for_again(read_at: str, clock: Clock) -> None:
    """Of the future it would be fresh until then; without a zone it has no age."""
    adapter: TypeAdapter[Any] = TypeAdapter(Reading[Aggregates])
    good = adapter.dump_json(Reading(value=Aggregates(aggregates=()), read_at=START + timedelta(seconds=59)))

    assert _deserialized(adapter, clock, good).read_at == START + timedelta(seconds=59)
    with pytest.raises(CantDeserializeException):
        _deserialized(adapter, clock, b'{"value": {"aggregates": []}, "read_at": "%s"}' % read_at.encode())
