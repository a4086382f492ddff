"""Logging, which belongs to the process, given back after each test of a folder that imports the fixture."""

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Logging belongs to the process: give it back as it was found."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level, spotd_level = root.handlers[:], root.level, logging.getLogger("spotd").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("spotd").setLevel(spotd_level)
    logging.captureWarnings(capture=False)
    sys.excepthook, threading.excepthook = hooks
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
