"""An HTTP server in a thread of its own, without signal handlers: the daemon starts and stops it."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from spotd.web.accepting import Door, Listener
from spotd.web.complaints import Complaints
from spotd.web.connections import MOST_CONNECTIONS, Connections
from spotd.web.descriptors import most_connections
from spotd.web.listening import ListenError, listening_socket
from spotd.web.loop import HandshakingLoop, sparing
from spotd.web.protocol import TimedProtocol, timed_protocol

START_SECONDS = 10.0
"""A server that does not listen by then never will: binding is done before, the rest takes milliseconds."""
OPEN_REQUESTS_SECONDS = 2
"""How long requests that are being answered may go on when the server stops."""
STOP_SECONDS = 5.0
"""How long a stop may take in all."""
KEEP_ALIVE_SECONDS = 75
"""Longer than a usual scrape interval, so that Prometheus keeps its connection."""
FLUSH_TICKS = 50
"""uvicorn ticks ten times a second."""
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
        refused: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """`most_per_address` are the connections that one address may hold.

        `refused` is told the reason of each connection or request that ends before the application has it.
        """
        self._complaints = Complaints(refused)
        self._app = app
        self._most_per_address = most_per_address
        self._tls = tls
        self._listen_address = listen_address
        self._socket: Listener | None = None
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
        bound = listening_socket(self._listen_address)
        complaints = self._complaints
        connections = Connections(self._most_per_address, most=most_connections(), complaints=complaints)
        door = Door(connections, complaints, has_tls=self._tls is not None)
        self._socket = Listener.of(bound, door)
        self._server = _Server(_configuration(self._app, self._tls, timed_protocol(door)), complaints)
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


class _Server(uvicorn.Server):
    """uvicorn's, which tells of errors sparingly."""

    def __init__(self, config: uvicorn.Config, complaints: Complaints) -> None:
        super().__init__(config)
        self._complaints = complaints

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen."""
        asyncio.get_running_loop().set_exception_handler(sparing(self._complaints))
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to leave."""
        if counter % FLUSH_TICKS == 0:
            self._complaints.flush()
        return await super().on_tick(counter)


def _configuration(app: ASGIApp, tls: ssl.SSLContext | None, protocol: type[TimedProtocol]) -> uvicorn.Config:
    configuration = uvicorn.Config(
        app,
        http=protocol,
        loop=f"{HandshakingLoop.__module__}:{HandshakingLoop.__name__}",
        ws="none",
        lifespan="off",
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
