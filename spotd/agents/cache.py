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
from spotd.agents.stored import AHEAD, is_credible
from spotd.clock import Clock
from spotd.clouds.errors import CloudError, Failure
from spotd.fleet.readings import Reading
from spotd.fleet.values import Aggregates, Inventory
from spotd.settings.models import CacheSettings

OLDEST_REDIS = (6, 0)
"""The oldest with HELLO, by which redis-py opens its connections."""

FORMAT = 1
"""Part of every key in a shared backend: a release that stores something else must not read this."""

_CONNECTION = {"socket_connect_timeout": 2.0, "socket_timeout": 5.0}

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
        self._kept_since = clock.monotonic()
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
            # dogpile.cache tells ages by the wall clock: once that is set back, nothing expires for it.
            if not created and (force or self._is_of_the_future(found)):
                found = remembering()
                self._region.set(self._key, found)
        except Exception as error:
            if failures:
                raise
            self._backend_failed(error)
            found = created[0] if created else self._without_backend(remembering, lifetime)
        else:
            self._backend_answered()
        hit = not created
        self._remember(found)
        self._recorder.cache_requested(self.name, hit=hit)
        return found, hit

    def keep(self, reading: Reading[Any]) -> None:
        """Takes a reading from before a restart: shown until a newer one comes, never counted as fresh."""
        if not self._is_of_the_future(reading):
            self._remember(reading)

    def put(self, reading: Reading[Any]) -> None:
        """Stores a reading that somebody made without being asked, such as a move's correction."""
        self._remember(reading)
        try:
            self._region.set(self._key, reading)
        except Exception as error:  # noqa: BLE001 - any backend's own error; the reading is kept here
            self._backend_failed(error)

    def last_good(self) -> Reading[Any] | None:
        """The last good reading, however old but for the maximum age; None is unknown."""
        reading = self._kept or self._stored()
        if reading is None:
            return None
        age = reading.age_seconds(self._clock.now())
        if reading is self._kept:
            # While the wall clock is set back, only the other clock tells that time passes.
            age = max(age, self._clock.monotonic() - self._kept_since)
        return reading if age <= self.max_age_seconds else None

    def _remember(self, reading: Reading[Any]) -> None:
        if self._kept is None or self._kept.read_at != reading.read_at:
            self._kept_since = self._clock.monotonic()
        self._kept = reading

    def _is_of_the_future(self, reading: Reading[Any]) -> bool:
        return reading.read_at > self._clock.now() + AHEAD

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
        return None if stored is NO_VALUE or self._is_of_the_future(stored) else stored

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

    Raises:
        CloudError: The backend cannot be used as it is configured; it is not asked yet.
    """
    if settings.backend == "redis" and stores is not None and settings.redis_url is not None:
        prove_backend(settings)
        region = _shared_region(settings.redis_url.get_secret_value(), stores, max_age_seconds, clock)
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


def prove_backend(settings: CacheSettings) -> None:
    """Makes sure that the configured backend can be used, without asking it.

    Raises:
        CloudError: It cannot, with the key and the cure.
    """
    if settings.backend != "redis" or settings.redis_url is None:
        return
    try:
        from redis import ConnectionPool  # noqa: PLC0415 - an extra, which others need not install
    except ImportError:
        sentence = "cache.backend: redis needs the package redis: install spotd with its extra `redis`"
        raise CloudError(Failure.CONFIGURATION, sentence) from None
    try:
        ConnectionPool.from_url(settings.redis_url.get_secret_value(), **_CONNECTION).make_connection()
    except Exception as error:  # noqa: BLE001 - the library's own, or of Python; it may quote a password
        kind = type(error).__name__
        sentence = f"cache.redis_url: the package redis cannot use it ({kind}): look behind its ?"
        raise CloudError(Failure.CONFIGURATION, sentence) from None


def _shared_region(
    url: str, stores: type[Aggregates | Inventory], max_age_seconds: float, clock: Clock
) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(Reading[stores])  # type: ignore[valid-type]
    region = make_region(
        serializer=adapter.dump_json, deserializer=functools.partial(_deserialized, adapter, clock)
    )
    return region.configure(
        "dogpile.cache.redis",
        arguments={
            "url": url,
            "distributed_lock": True,
            "lock_timeout": 120,
            # Where the holder of the lock hangs and nothing is stored yet, ask without it.
            "lock_blocking_timeout": 30,
            "thread_local_lock": False,
            "redis_expiration_time": int(max_age_seconds) + 1,
            "connection_kwargs": _CONNECTION,
        },
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
