"""The log: one entry for each event, never with a secret in it.

A readable line on a terminal, fields where journald listens, a line of JSON elsewhere.

Rooms only call `structlog.get_logger(__name__)`; what that means is set up here, once, by the commands.
"""

from spotd.logs.journald import priority_prefix
from spotd.logs.masking import (
    SecretMask,
    looks_secret,
    mask_secret,
    mask_text,
    register_secret,
    shows_a_secret,
)
from spotd.logs.setup import configure_logging, log_uncaught_exceptions
from spotd.logs.visible import visible, visible_within

__all__ = [
    "SecretMask",
    "configure_logging",
    "log_uncaught_exceptions",
    "looks_secret",
    "mask_secret",
    "mask_text",
    "priority_prefix",
    "register_secret",
    "shows_a_secret",
    "visible",
    "visible_within",
]
