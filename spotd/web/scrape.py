"""The answer to a scrape: the fleet's text, kept as long as its snapshot, and spotd's own, made each time.

Nothing here waits: the snapshot is read by reference, and no lock is held while text is made, so two
scrapes that meet a new snapshot at once may both render it, and either result stands.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from prometheus_client import exposition
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics

from spotd.fleet.snapshot import FleetSnapshot
from spotd.metrics.own import Metrics

GZIP_LEVEL = 1
"""Label text shrinks to a tenth at any level; level 1 takes a third of the time of level 6."""
_GZIP_WINDOW_BITS = 31
_END_OF_OPENMETRICS = b"# EOF\n"


class Format(Enum):
    """The formats that are spoken, by their content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposition:
    """A whole answer to a scrape."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Families:
    """Looks to the client library like a registry."""

    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


@dataclass(frozen=True, slots=True, kw_only=True)
class _FleetText:
    """The fleet's part in one format, also as the beginning of a gzip stream that others may go on with."""

    snapshot: FleetSnapshot | None
    text: bytes
    compressed: bytes
    compressor: Any = field(repr=False)


class Scrape:
    """Answers scrapes from the snapshot that `requested` returns, by default the metrics' latest."""

    def __init__(self, metrics: Metrics, requested: Callable[[], FleetSnapshot | None] | None = None) -> None:
        self._metrics = metrics
        self._requested = requested or metrics.fleet.latest
        self._fleet: dict[Format, _FleetText] = {}

    def answer(self, accept: str = "", accept_encoding: str = "") -> Exposition:
        """The exposition in the format and encoding that the request's headers ask for."""
        wanted = negotiated(accept)
        fleet = self._fleet_text(wanted, self._requested())
        own = _rendered(wanted, self._metrics.registry.collect())
        headers = {"Content-Type": wanted.value, "Vary": "Accept, Accept-Encoding"}
        if not accepts_gzip(accept_encoding):
            return Exposition(body=fleet.text + own, headers=headers)
        rest = fleet.compressor.copy()
        body = fleet.compressed + rest.compress(own) + rest.flush()
        return Exposition(body=body, headers={**headers, "Content-Encoding": "gzip"})

    def prepare(self) -> None:
        """Renders the latest snapshot in the formats asked for so far, so that no scrape has to.

        For the thread that made the snapshot, after it is the latest.
        """
        for wanted in tuple(self._fleet) or (Format.TEXT,):
            self._fleet_text(wanted, self._metrics.fleet.latest())

    def _fleet_text(self, wanted: Format, snapshot: FleetSnapshot | None) -> _FleetText:
        kept = self._fleet.get(wanted)
        if kept is not None and kept.snapshot is snapshot:
            return kept
        text = b"" if snapshot is None else self._rendered_fleet(wanted, snapshot)
        compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS)
        compressed = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
        made = _FleetText(snapshot=snapshot, text=text, compressed=compressed, compressor=compressor)
        self._fleet[wanted] = made
        return made

    def _rendered_fleet(self, wanted: Format, snapshot: FleetSnapshot) -> bytes:
        try:
            text = _rendered(wanted, self._metrics.fleet.families(snapshot))
        except Exception as error:  # noqa: BLE001 - the edge of a scrape: spotd's own part is still true
            self._metrics.part_failed("fleet", error)
            return b""
        return text.removesuffix(_END_OF_OPENMETRICS)


def _rendered(wanted: Format, families: Iterable[Metric]) -> bytes:
    render = openmetrics.generate_latest if wanted is Format.OPENMETRICS else exposition.generate_latest
    text: bytes = render(_Families(families))
    return text


def negotiated(accept: str) -> Format:
    """OpenMetrics where the header likes it at least as much as plain text, else plain text."""
    likes = {Format.TEXT: 0.0, Format.OPENMETRICS: 0.0}
    for name, parameters in _choices(accept):
        liked = _quality(parameters)
        if name == "application/openmetrics-text" and parameters.get("version", "1.0.0") == "1.0.0":
            likes[Format.OPENMETRICS] = max(likes[Format.OPENMETRICS], liked)
        elif name in ("text/plain", "text/*", "*/*"):
            likes[Format.TEXT] = max(likes[Format.TEXT], liked)
    is_liked = likes[Format.OPENMETRICS] > 0 and likes[Format.OPENMETRICS] >= likes[Format.TEXT]
    return Format.OPENMETRICS if is_liked else Format.TEXT


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip, or everything, and does not refuse it."""
    named = {name: _quality(parameters) for name, parameters in _choices(accept_encoding)}
    return named.get("gzip", named.get("*", 0.0)) > 0


def _choices(header: str) -> Iterable[tuple[str, dict[str, str]]]:
    for choice in header.split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        yield name, {key.strip(): value.strip(' "') for key, _, value in pairs}


def _quality(parameters: Mapping[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
