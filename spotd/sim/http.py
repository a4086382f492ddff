"""The HTTP servers: one per service on a loopback port, with faults, counting and a clean stop."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from spotd.sim.distort import distorted, first_page, packed, planned_answer
from spotd.sim.faults import Fault, FaultKind, Faults
from spotd.sim.traffic import Request, Traffic
from spotd.sim.wire import Answer, Call

Serve = Callable[[Call], Answer]
SECONDS_BETWEEN_LOOKS = 0.02
PIECE_BYTES = 65_536
FOREIGN = '{"answer": "of something in between, which did not ask the service"}'


class ServiceServer(ThreadingHTTPServer):
    """Serves one service; `close` ends every connection and thread it has."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 256

    def __init__(self, service: str, serve: Serve, faults: Faults, traffic: Traffic) -> None:
        self.service = service
        self.serve_call = serve
        self.faults = faults
        self.traffic = traffic
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), CallHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(
            target=self.serve_forever,
            kwargs={"poll_interval": SECONDS_BETWEEN_LOOKS},
            name=f"sim-{service}",
            daemon=True,
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, cut all connections and wait for their threads."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._open_lock:
            for connection in self._open:
                _cut(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection so that `close` can cut it."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no event."""

    def pause(self, seconds: float) -> None:
        """Sleep, unless the server stops."""
        if seconds > 0:
            self.stopping.wait(seconds)

    def hang(self) -> None:
        """Wait until the faults are cleared or the server stops."""
        released = self.faults.released
        while not self.stopping.is_set() and not released.wait(SECONDS_BETWEEN_LOOKS):
            pass


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class CallHandler(BaseHTTPRequestHandler):
    """Reads a request, lets the service answer it and sends that, or what a fault makes of it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ServiceServer
    _started = 0.0
    _call: Call

    def do_GET(self) -> None:
        """Any method: the service's routes decide."""
        self._started = time.perf_counter()
        self._call = call = self._read()
        server = self.server
        server.pause(server.faults.delay(server.service))
        fault = server.faults.pick(call)
        if fault is None:
            self._send(server.serve_call(call))
        else:
            self._answer_badly(call, fault)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def _read(self) -> Call:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        return Call(
            service=self.server.service,
            method=self.command,
            path=path,
            query_text=query,
            headers={key.lower(): value for key, value in self.headers.items()},
            body=self.rfile.read(length) if length else b"",
            base=self.server.url,
        )

    def _note(self, status: int, sent: int) -> None:
        """Write the request down before its answer leaves, so that who has the answer finds the note."""
        call = self._call
        self.server.traffic.add(
            Request(
                call.service,
                call.method,
                call.path,
                call.query_text,
                call.microversion,
                status,
                sent,
                time.perf_counter() - self._started,
            )
        )

    def _answer_badly(self, call: Call, fault: Fault) -> None:
        server, kind = self.server, FaultKind(fault.kind)
        if fault.before is not None:
            fault.before()
        planned = planned_answer(fault, call)
        answer = Answer(200, FOREIGN)
        if fault.takes_effect:
            server.pause(fault.effect_after_seconds)
            answer = server.serve_call(first_page(call) if kind is FaultKind.NEW_PAGES else call)
        answer = distorted(fault, call, answer)
        if fault.after is not None:
            fault.after()
        if kind in (FaultKind.HANG, FaultKind.RESET):
            self._note(0, 0)
            self.close_connection = True
            if kind is FaultKind.HANG:
                server.hang()
            else:
                self._reset()
            return
        if kind is FaultKind.LATENCY:
            server.pause(fault.seconds)
        final = planned or answer
        if kind is FaultKind.DRIP:
            self._drip(final, fault.seconds)
        elif kind is FaultKind.LONG:
            self._go_on(final, fault.body_bytes)
        elif kind is FaultKind.PACKED:
            final.headers["Content-Encoding"] = "gzip"
            self._send_bytes(final, packed(final.body.encode(), fault.body_bytes))
        else:
            self._send(final, part=0.5 if kind is FaultKind.TRUNCATED else 1.0)

    def _head(self, answer: Answer, length: int | None) -> bytes:
        lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Unknown')}"]
        lines.append(f"Date: {self.date_time_string()}")
        if answer.content_type is not None:
            lines.append(f"Content-Type: {answer.content_type}")
        lines.append("Connection: close" if length is None else f"Content-Length: {length}")
        lines += [f"{key}: {value}" for key, value in answer.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _send(self, answer: Answer, part: float = 1.0) -> None:
        self._send_bytes(answer, answer.body.encode(), part)

    def _send_bytes(self, answer: Answer, body: bytes, part: float = 1.0) -> None:
        head = self._head(answer, len(body))
        if self.command == "HEAD" or answer.status == 204:  # noqa: PLR2004 - No Content
            body = b""
        if part < 1.0:
            body = body[: int(len(body) * part)]
            self.close_connection = True
        self._note(answer.status, len(body))
        self.wfile.write(head + body)

    def _drip(self, answer: Answer, seconds: float) -> None:
        body, released = answer.body.encode(), self.server.faults.released
        self._note(answer.status, len(body))
        self.wfile.write(self._head(answer, len(body)))
        for byte in body:
            if self.server.stopping.is_set() or released.is_set():
                self.close_connection = True
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            self.server.pause(seconds)

    def _go_on(self, answer: Answer, body_bytes: int) -> None:
        released, blanks = self.server.faults.released, b" " * PIECE_BYTES
        self.close_connection = True
        self._note(answer.status, 0)
        self.wfile.write(self._head(answer, None) + answer.body.encode())
        for _ in range(body_bytes // PIECE_BYTES):
            if self.server.stopping.is_set() or released.is_set():
                return
            self.wfile.write(blanks)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing: the traffic log knows."""
