"""An HTTP server in a thread of its own, without signal handlers: the daemon starts and stops it."""

import socket
import socket
import ssl
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from spotd.web.connections import Connections
from spotd.web.listening import ListenError, listening_socket
from spotd.web.loop import HandshakingLoop
from spotd.web.protocol import TimedProtocol, timed_protocol

START_SECONDS = 10.0
"""A server that does not listen by then never will: binding is done before, the rest takes milliseconds."""
OPEN_REQUESTS_SECONDS = 2
"""How long requests that are being answered may go on when the server stops."""
STOP_SECONDS = 5.0
"""How long a stop may take in all."""
KEEP_ALIVE_SECONDS = 75
"""Longer than a usual scrape interval, so that Prometheus keeps its connection."""
MOST_CONNECTIONS = 900
"""Below the usual limit of 1,024 open files; further clients get a 503."""
_POLL_SECONDS = 0.005


class WebServer:
    """Serves an application on HOST:PORT; port 0 takes a free one, an empty host means every address."""

    def __init__(
        self,
        app: ASGIApp,
        listen_address: str,
        tls: ssl.SSLContext | None = None,
        *,
        most_per_address: Callable[[], int] = lambda: MOST_CONNECTIONS,
    ) -> None:
        """`most_per_address` are the connections that one address may hold."""
        self._app = app
        self._most_per_address = most_per_address
        self._tls = tls
        self._listen_address = listen_address
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """HOST:PORT that is listened on, with the real port.

        Raises:
            RuntimeError: The server is not started.
        """
        if self._socket is None:
            raise RuntimeError("the server is not started")
        host, port, *_ = self._socket.getsockname()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Returns once the server listens.

        Raises:
            ListenError: The address is in use, not of this machine, or not allowed.
            RuntimeError: It is started already.
        """
        if self._thread is not None:
            raise RuntimeError("the server is started already")
        self._socket = listening_socket(self._listen_address)
        self._server = uvicorn.Server(
            _configuration(self._app, self._tls, timed_protocol(Connections(self._most_per_address)))
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="spotd web", daemon=True
        )
        self._thread.start()
        give_up_at = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > give_up_at:
                self.stop()
                raise ListenError(f"the HTTP server on {self._listen_address} did not start: see the log")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Ends within seconds, whatever connections are open; does nothing where nothing is started."""
        thread, server = self._thread, self._server
        if thread is None or server is None or self._socket is None:
            return
        server.should_exit = True
        thread.join(STOP_SECONDS)
        if thread.is_alive():
            server.force_exit = True
            thread.join(STOP_SECONDS)
        self._socket.close()
        self._socket = self._server = self._thread = None


def _configuration(app: ASGIApp, tls: ssl.SSLContext | None, protocol: type[TimedProtocol]) -> uvicorn.Config:
    configuration = uvicorn.Config(
        app,
        http=protocol,
        loop=f"{HandshakingLoop.__module__}:{HandshakingLoop.__name__}",
        ws="none",
        lifespan="off",
        limit_concurrency=MOST_CONNECTIONS,
        log_config=None,
        access_log=False,
        server_header=False,
        # A header must not be able to make a stranger look like a client of this machine.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=OPEN_REQUESTS_SECONDS,
    )
    configuration.load()
    configuration.ssl = tls
    return configuration
