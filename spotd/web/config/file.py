"""The file itself: read when it changes, and its certificates too; a bad change keeps what was."""

import threading
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import ValidationError

from spotd.settings.document import read_document
from spotd.web.config.models import WebConfig, joined
from spotd.web.config.tls import TlsError, Wrapping, context_of

log = structlog.get_logger(__name__)

Stamp = tuple[tuple[int, int, int] | None, ...]


class WebConfigError(Exception):
    """The file cannot be used; a line for each problem, without its secrets."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The file's content, with TLS made ready."""

    config: WebConfig
    context: Wrapping | None


def load(path: Path) -> Loaded:
    """Reads the file and what it names.

    Raises:
        WebConfigError: It, or what it names, is not right.
    """
    document = read_document(path)
    if document.problems:
        raise WebConfigError("\n".join(map(str, document.problems)))
    try:
        config = WebConfig.model_validate(document.values or {})
        tls = config.tls
        return Loaded(config, None if tls is None else context_of(tls, path.parent))
    except ValidationError as error:
        raise WebConfigError("\n".join(_problems(path, error))) from None
    except TlsError as error:
        raise WebConfigError(f"{path}: {error}") from None


class WebConfigFile:
    """Looks at the file for each request and each connection; reads it where it has changed."""

    def __init__(self, path: Path) -> None:
        """Reads it once.

        Raises:
            WebConfigError: It is not right.
        """
        self._path = path
        self._lock = threading.Lock()
        self._loaded = load(path)
        self._stamp = self._stamp_now()
        self.has_tls = self._loaded.context is not None
        if self.has_tls and self._loaded.config.http_server_config.http2:
            log.info("HTTP/2 is not spoken, clients are offered HTTP/1.1", file=str(path))

    def current(self) -> Loaded:
        """What the file says now, or said last where it is not right any more."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return self._loaded
        with self._lock:
            if stamp != self._stamp:
                self._stamp = stamp
                self._read_again()
        return self._loaded

    def context(self) -> Wrapping:
        """TLS as it is now.

        Raises:
            RuntimeError: The file never asked for TLS.
        """
        context = self.current().context
        if context is None:
            raise RuntimeError("the web configuration has no TLS")
        return context

    def _read_again(self) -> None:
        try:
            loaded = load(self._path)
        except WebConfigError as error:
            log.error("web configuration not reloaded", error=str(error))  # noqa: TRY400 - its sentence tells
            return
        if (loaded.context is not None) != self.has_tls:
            log.error("web configuration not reloaded", error="TLS is turned on and off by a restart only")
            return
        self._loaded = loaded
        self._stamp = self._stamp_now()
        log.info("web configuration reloaded", file=str(self._path))

    def _stamp_now(self) -> Stamp:
        tls = self._loaded.config.tls_server_config
        named = (tls.cert_file, tls.key_file, tls.client_ca_file)
        paths = [self._path, *(joined(self._path.parent, name) for name in named if name)]
        return tuple(map(_stamp_of, paths))


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _problems(path: Path, error: ValidationError) -> list[str]:
    return [
        ": ".join(part for part in (str(path), ".".join(map(str, found["loc"])), found["msg"]) if part)
        for found in error.errors(include_input=False, include_url=False)
    ]
