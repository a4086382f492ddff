"""The layers of the cache: one dogpile.cache region each, with its own lifetime.

A layer asks its creator once for all who wait, serves the stored reading while it is fresh, and keeps
the last good one after a failure until its maximum age is over: then the facts are unknown.
"""

import functools
from collections.abc import Callable
from typing import Any

import structlog
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE, CantDeserializeException
from pydantic import TypeAdapter, ValidationError

from spotd.agents.recorder import CacheRecorder
from spotd.agents.stored import is_credible
from spotd.clock import Clock
from spotd.fleet.readings import Reading
from spotd.fleet.values import Aggregates, Inventory
from spotd.settings.models import CacheSettings

FORMAT = 1
"""Part of every key in a shared backend: a release that stores something else must not read this."""

log = structlog.get_logger(__name__)


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
        self.lifetime_seconds = lifetime_seconds
        self.max_age_seconds = max_age_seconds
        self._clock = clock
        self._recorder = recorder
        # What this process read or was given last: shown while a shared backend is out of reach.
        self._kept: Reading[Any] | None = None
        self._is_backend_failing = False

    def get(self, create: Callable[[], Reading[Any]], *, force: bool = False) -> tuple[Reading[Any], bool]:
        """The fresh reading, and whether it came from the cache; `force` asks in any case.

        Raises:
            Exception: Whatever `create` raises; the last good reading stays.
        """
        created: list[Reading[Any]] = []
        failures: list[Exception] = []

        def remembering() -> Reading[Any]:
            try:
                reading = create()
            except Exception as error:
                failures.append(error)
                raise
            created.append(reading)
            return reading

        lifetime = 0 if force else self.lifetime_seconds
        try:
            found: Reading[Any] = self._region.get_or_create(self._key, remembering, expiration_time=lifetime)
        except Exception as error:
            if failures:
                raise
            self._backend_failed(error)
            found = created[0] if created else self._without_backend(remembering, lifetime)
        else:
            self._backend_answered()
        self._kept = found
        hit = not created
        self._recorder.cache_requested(self.name, hit=hit)
        return found, hit

    def keep(self, reading: Reading[Any]) -> None:
        """Takes a reading from before a restart: shown until a newer one comes, never counted as fresh."""
        self._kept = reading

    def put(self, reading: Reading[Any]) -> None:
        """Stores a reading that somebody made without being asked, such as a move's correction."""
        self._kept = reading
        try:
            self._region.set(self._key, reading)
        except Exception as error:  # noqa: BLE001 - any backend's own error; the reading is kept here
            self._backend_failed(error)

    def last_good(self) -> Reading[Any] | None:
        """The last good reading, however old but for the maximum age; None is unknown."""
        reading = self._kept or self._stored()
        if reading is None:
            return None
        return reading if reading.age_seconds(self._clock.now()) <= self.max_age_seconds else None

    def forget(self) -> None:
        """Drops the stored reading: the next request asks, and until then the facts are unknown."""
        self._kept = None
        try:
            self._region.delete(self._key)
        except Exception as error:  # noqa: BLE001 - any backend's own error
            self._backend_failed(error)

    def _stored(self) -> Reading[Any] | None:
        """What the backend holds, from before this process's first request."""
        try:
            stored = self._region.get(self._key, ignore_expiration=True)
        except Exception as error:  # noqa: BLE001 - any backend's own error
            self._backend_failed(error)
            return None
        return None if stored is NO_VALUE else stored

    def _without_backend(self, create: Callable[[], Reading[Any]], lifetime: float) -> Reading[Any]:
        """The reading kept in this process while it is fresh, else a new one."""
        kept = self._kept
        if kept is not None and kept.age_seconds(self._clock.now()) < lifetime:
            return kept
        return create()

    def _backend_failed(self, error: Exception) -> None:
        if not self._is_backend_failing:
            log.warning("cache backend failed, going on alone", layer=self.name, error=type(error).__name__)
        self._is_backend_failing = True

    def _backend_answered(self) -> None:
        if self._is_backend_failing:
            log.info("cache backend answers again", layer=self.name)
        self._is_backend_failing = False

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
    stores: type[Aggregates | Inventory] | None = None,
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
        region = make_region(
            serializer=adapter.dump_json, deserializer=functools.partial(_deserialized, adapter, clock)
        )
        region.configure(
            "dogpile.cache.redis",
            arguments={
                "url": settings.redis_url.get_secret_value(),
                "distributed_lock": True,
                "lock_timeout": 120,
                # Where the holder of the lock hangs and nothing is stored yet, ask without it.
                "lock_blocking_timeout": 30,
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


def _deserialized(adapter: TypeAdapter[Any], clock: Clock, stored: bytes) -> Any:
    """A stored reading; one of another shape, or of a time that cannot be, counts as absent."""
    try:
        reading = adapter.validate_json(stored)
    except ValidationError as error:
        raise CantDeserializeException from error
    if not is_credible(reading.read_at, clock.now()):
        raise CantDeserializeException
    return reading
