"""sd_notify: tells systemd what the daemon is doing. Source: sd_notify(3)."""

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends states to `$NOTIFY_SOCKET`; does nothing where systemd did not start the process."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        mine = not pid or pid == str(os.getpid())
        self.watchdog_seconds: float | None = (
            int(usec) / 1e6 if usec.isdecimal() and int(usec) and mine else None
        )
        """How often systemd wants to hear at least; None without a watchdog."""

    def ready(self, status: str) -> None:
        """The daemon serves."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The daemon is leaving."""
        self._send("STOPPING=1")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """The watchdog's sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # A leading @ names an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as unix:
            try:
                unix.connect(address)
                unix.sendall("\n".join(line.replace("\n", " ") for line in lines).encode())
            except OSError:
                pass  # systemd went away: there is nobody to tell
