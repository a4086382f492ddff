"""The layers of the cache: one dogpile.cache region each, with its own lifetime.

A layer asks its creator once for all who wait, serves the stored reading while it is fresh, and keeps
the last good one after a failure until its maximum age is over: then the facts are unknown.
"""

from collections.abc import Callable
from typing import Any, Protocol

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from pydantic import TypeAdapter

from spotd.clock import Clock
from spotd.fleet.readings import Reading
from spotd.fleet.values import Aggregates, Inventory
from spotd.settings.models import CacheSettings

FORMAT = 1
"""Part of every key in a shared backend: a release that stores something else must not read this."""


class CacheRecorder(Protocol):
    """Is told how each request to a layer was answered."""

    def cache_requested(self, layer: str, *, hit: bool) -> None:
        """`hit`: the stored reading was fresh and nobody had to be asked."""
        ...


class CacheLayer:
    """Stores one reading."""

    def __init__(
        self,
        name: str,
        region: Any,
        *,
        key: str,
        lifetime_seconds: float,
        max_age_seconds: float,
        clock: Clock,
        recorder: CacheRecorder,
    ) -> None:
        self.name = name
        self._region = region
        self._key = key
        self._lifetime_seconds = lifetime_seconds
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._recorder = recorder

    def get(self, create: Callable[[], Reading[Any]], *, force: bool = False) -> tuple[Reading[Any], bool]:
        """The fresh reading, and whether it came from the cache; `force` asks in any case.

        Raises:
            Exception: Whatever `create` raises; the last good reading stays.
        """
        created: list[Reading[Any]] = []

        def remembering() -> Reading[Any]:
            created.append(create())
            return created[0]

        lifetime = 0 if force else self._lifetime_seconds
        reading: Reading[Any] = self._region.get_or_create(self._key, remembering, expiration_time=lifetime)
        hit = not created
        self._recorder.cache_requested(self.name, hit=hit)
        return reading, hit

    def put(self, reading: Reading[Any]) -> None:
        """Stores a reading that somebody made without being asked: a warm start, a move's correction."""
        self._region.set(self._key, reading)

    def last_good(self) -> Reading[Any] | None:
        """The last good reading, however old but for the maximum age; None is unknown."""
        stored = self._region.get(self._key, ignore_expiration=True)
        if stored is NO_VALUE:
            return None
        reading: Reading[Any] = stored
        return reading if reading.age_seconds(self._clock.now()) <= self._max_age_seconds else None

    def forget(self) -> None:
        """Drops the stored reading: the next request asks, and until then the facts are unknown."""
        self._region.delete(self._key)

    def age_seconds(self) -> float | None:
        """Age of the stored reading; None where there is none."""
        reading = self.last_good()
        return None if reading is None else reading.age_seconds(self._clock.now())


def make_layer(
    name: str,
    settings: CacheSettings,
    *,
    scope: str,
    lifetime_seconds: float,
    max_age_seconds: float,
    clock: Clock,
    recorder: CacheRecorder,
    stores: type[Aggregates] | type[Inventory] | None = None,
) -> CacheLayer:
    """A layer on the configured backend.

    Args:
        name: The layer's name, as metrics show it.
        settings: Which backend.
        scope: Names the cloud, so that daemons of two regions never share a reading.
        lifetime_seconds: How long a reading is fresh.
        max_age_seconds: How long the last good one is shown.
        clock: Tells ages.
        recorder: Counts requests and hits.
        stores: What a shared backend holds; None: this layer stays in this process.
    """
    if settings.backend == "redis" and stores is not None and settings.redis_url is not None:
        adapter: TypeAdapter[Any] = TypeAdapter(Reading[stores])  # type: ignore[valid-type]
        region = make_region(serializer=adapter.dump_json, deserializer=adapter.validate_json)
        region.configure(
            "dogpile.cache.redis",
            arguments={
                "url": settings.redis_url.get_secret_value(),
                "distributed_lock": True,
                "lock_timeout": 120,
                "thread_local_lock": False,
                "redis_expiration_time": int(max_age_seconds) + 1,
                "connection_kwargs": {"socket_connect_timeout": 2.0, "socket_timeout": 5.0},
            },
        )
    else:
        region = make_region()
        region.configure("dogpile.cache.memory")
    return CacheLayer(
        name,
        region,
        key=f"spotd:{FORMAT}:{scope}:{name}",
        lifetime_seconds=lifetime_seconds,
        max_age_seconds=max_age_seconds,
        clock=clock,
        recorder=recorder,
    )
