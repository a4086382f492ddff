"""The log: one line for each event, readable on a terminal and JSON elsewhere, never with a secret in it.

Rooms only call `structlog.get_logger(__name__)`; what that means is set up here, once, by the commands.
"""

from spotd.logs.masking import SecretMask, looks_secret, mask_secret, mask_text, register_secret
from spotd.logs.setup import configure_logging, log_uncaught_exceptions

__all__ = [
    "SecretMask",
    "configure_logging",
    "log_uncaught_exceptions",
    "looks_secret",
    "mask_secret",
    "mask_text",
    "register_secret",
]
