"""Where formatted events go: as lines to a stream, or as fields to journald."""

import json
import logging
import sys
from pathlib import Path
from typing import TextIO

from spotd.logs.entries import fields_of
from spotd.logs.journald import priority_prefix, send, serialized
from spotd.logs.masking import SecretMask


class MaskedHandler(logging.StreamHandler[TextIO]):
    """A stream handler whose own failures show no arguments."""

    def __init__(self, stream: TextIO, mask: SecretMask) -> None:
        super().__init__(stream)
        self._mask = mask

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say that a line was lost; the standard way prints the arguments unmasked."""
        kind = sys.exc_info()[0]
        name = kind.__name__ if kind else "unknown error"
        line = self._mask.text(f"spotd: a log line of {record.name} was lost: {name} ({record.pathname})\n")
        try:
            self.stream.write(line)
        except (OSError, ValueError):
            return  # the stream is gone: there is nowhere left to say it


class JournaldHandler(MaskedHandler):
    """Sends each event to journald as fields; one that it does not take goes to the stream, as a line."""

    def __init__(self, stream: TextIO, mask: SecretMask, path: Path) -> None:
        super().__init__(stream, mask)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Send the event."""
        try:
            line = self.format(record)
            if not self._sent(line, record):
                self.stream.write(priority_prefix(record.levelname, self.stream) + line + self.terminator)
                self.flush()
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)

    def _sent(self, line: str, record: logging.LogRecord) -> bool:
        # Made from the line, so that nothing can leave that the mask has not seen.
        entry = serialized(fields_of(json.loads(line), record))
        try:
            send(entry, self._path)
        except OSError:
            return False
        return True
