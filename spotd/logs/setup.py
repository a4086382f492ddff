"""Sets up structlog and the standard library's logging as one stream of lines."""

import logging
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from spotd.logs.handlers import JournaldHandler, MaskedHandler
from spotd.logs.journald import SOCKET, is_journald_stream
from spotd.logs.masking import PROCESS_MASK, SecretMask
from spotd.logs.visible import visible, visible_within

LIBRARIES = (
    # Each of these can be told to speak more freely than the root logger; here none is.
    "apscheduler",
    "keystoneauth",
    "openstack",
    "stevedore",
    "urllib3",
    "uvicorn",
    "uvicorn.access",
    "uvicorn.error",
)
RETRYING = ("keystoneauth.session", "urllib3.connectionpool")
"""They warn of each try that failed. The metrics count it, and what finally fails is spotd's own line."""
LONGEST_VALUE = 4_000
LONGEST_TRACEBACK = 100_000
"""Characters of a fact on a terminal."""
_WITH_LINES = ("exception", "stack")
FIRST_FIELDS = ("timestamp", "level", "logger", "event")


def configure_logging(
    *,
    level: str,
    format: str,  # noqa: A002 - the setting's own name
    stream: TextIO,
    is_terminal: bool | None = None,
    mask: SecretMask = PROCESS_MASK,
    journald: Path = SOCKET,
) -> None:
    """Write spotd's events of this level and the libraries' warnings to the stream; may be called again.

    `level` is debug, info, warning or error; `format` is console, json, journald, or auto, which looks at
    the stream. `is_terminal` is found out where it is not given.
    """
    if is_terminal is None:
        is_terminal = stream.isatty()
    readable = format == "console" or (format == "auto" and is_terminal)
    if format == "journald" or (format == "auto" and is_journald_stream(stream)):
        handler: logging.Handler = JournaldHandler(stream, mask, journald)
    else:
        handler = MaskedHandler(stream, mask)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_facts(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                # The traceback becomes text here, before the mask, and without local variables.
                structlog.processors.format_exc_info,
                masking(mask),
                *_writing(readable=readable, colors=is_terminal),
            ],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_facts(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        # A reload may change the level and the format.
        cache_logger_on_first_use=False,
    )
    _route(handler, level)


def masking(mask: SecretMask) -> Processor:
    """A processor that masks every value of the event."""

    def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {mask.text(str(key)): mask.value(value, str(key)) for key, value in event.items()}

    return mask_secrets


def log_uncaught_exceptions() -> None:
    """Send what no one caught through the log, so that its traceback is masked like any other."""
    log = structlog.get_logger("spotd")

    def of_main(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
            return
        log.error("uncaught exception", exc_info=(kind, error, traceback))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            thread = args.thread.name if args.thread else None
            facts = (args.exc_type, args.exc_value, args.exc_traceback)
            log.error("uncaught exception", thread=thread, exc_info=facts)

    sys.excepthook = of_main
    threading.excepthook = of_thread


def _facts() -> list[Processor]:
    """What every line has, whoever wrote it."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _writing(*, readable: bool, colors: bool) -> list[Processor]:
    if readable:
        plain = structlog.dev.plain_traceback
        return [_visible, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [_in_order, structlog.processors.JSONRenderer()]


def _visible(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What others wrote cannot steer the terminal; only what the log itself makes of failures has lines."""
    shown: EventDict = {}
    for key, value in event.items():
        most, keep = (LONGEST_TRACEBACK, "\n\t") if key in _WITH_LINES else (LONGEST_VALUE, "")
        shown[visible(key)] = visible_within(value, most, keep=keep) if isinstance(value, str) else value
    return shown


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = {key: event.pop(key) for key in FIRST_FIELDS if key in event}
    return {**first, **event}


def _route(handler: logging.Handler, level: str) -> None:
    """One handler at the root; spotd at its own level, everyone else from warnings up."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("spotd").setLevel(level.upper())
    for name in LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.setLevel(logging.WARNING)
        library.propagate = True
    for name in RETRYING:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
