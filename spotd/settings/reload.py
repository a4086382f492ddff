"""What a new configuration changes, and which of it only a restart can take up."""

from collections.abc import Iterator

from spotd.settings.document import Place
from spotd.settings.models import Settings
from spotd.settings.schema import dotted, leaves

RESTART_KEYS = (
    # The socket is bound, the files are open and the caches are made once, at the start.
    "cache.backend",
    "cache.redis_url",
    "collection.state_directory",
    "journal.lease_seconds",
    "journal.url",
    "moves.freeze_after_failures",
    "moves.patience_seconds",
    "moves.proof_gap_seconds",
    "moves.quiet_seconds",
    "moves.settle_seconds",
    "moves.trait_seconds",
    "moves.write_timeout_seconds",
    "rules.freeze_file",
    "api.keystone_cache_seconds",
    "web.listen_address",
    "web.config_file",
)


def changed_keys(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys whose values differ, secrets included, without the values."""
    return tuple(_changed(old, new))


def needs_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    """The changed keys that cannot be taken up by a running daemon."""
    return tuple(key for key in changed_keys(old, new) if key in RESTART_KEYS)


def _changed(old: Settings, new: Settings) -> Iterator[str]:
    for place, _ in leaves():
        if _value_at(old, place) != _value_at(new, place):
            yield dotted(place)


def _value_at(settings: Settings, place: Place) -> object:
    value: object = settings
    for part in place:
        value = getattr(value, str(part), None)
    return value
