"""A request that two readers could read differently is answered with 400, and nothing comes after it."""

import contextlib
import re
import socket
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from spotd.web.complaints import Complaints
from spotd.web.server import WebServer
from spotd.web.strict import LARGEST_HEAD_BYTES, MOST_FIELDS, fault_in

TIMEOUT = 5
SMUGGLED = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /api/clear-cache HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /-/healthy HTTP/1.1\r\n"
CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"

MALFORMED = {
    "both lengths": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other way round": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "the same length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths in one field": POST + b"Content-Length: 2, 3\r\n\r\n{}",
    "the same length twice in one field": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "a length below zero": POST + b"Content-Length: -2\r\n\r\n{}",
    "a length in hexadecimal": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with a space": POST + b"Content-Length: 0 2\r\n\r\n{}",
    "a length with an underscore": POST + b"Content-Length: 0_2\r\n\r\n{}",
    "a length with a fraction": POST + b"Content-Length: 2.0\r\n\r\n{}",
    "a length of other digits": POST + "Content-Length: ٢\r\n\r\n{}".encode(),
    "no length in its field": POST + b"Content-Length:\r\n\r\n{}",
    "a length of very many digits": POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKS,
    "chunked in two fields": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
    + CHUNKS,
    "another coding": POST + b"Transfer-Encoding: gzip\r\n\r\n" + CHUNKS,
    "another coding and chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "chunked and identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKS,
    "nearly chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "chunked with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + CHUNKS,
    "no coding in its field": POST + b"Transfer-Encoding:\r\n\r\n" + CHUNKS,
    "chunked and HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "a folded field": POST + b"X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS,
    "a line that ends in LF": POST + b"X-A: b\nContent-Length: 0\r\n\r\n",
    "lines that all end in LF": b"GET /-/healthy HTTP/1.1\nHost: localhost\n\n",
    "a CR alone": POST + b"X-A: b\rContent-Length: 0\r\n\r\n",
    "a NUL": POST + b"X-A: b\0\r\n\r\n",
    "another control character": POST + b"X-A: b\x1b[31m\r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "a tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n" + CHUNKS,
    "a space before the name": b"GET /-/healthy HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "a field without a colon": POST + b"Content-Length\r\n\r\n",
    "a field without a name": POST + b": 2\r\n\r\n",
    "two hosts": GET + b"Host: localhost\r\nHost: localhost\r\n\r\n",
    "two different hosts": GET + b"Host: localhost\r\nHost: evil.example\r\n\r\n",
    "no host": GET + b"\r\n",
    "another host in the target": b"GET http://evil.example/-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another port in the target": b"GET http://localhost:1/-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a user in the target": b"GET http://a@localhost/-/healthy HTTP/1.1\r\nHost: a@localhost\r\n\r\n",
    "a file as the target": b"GET file:///etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a host as the target": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n",
    "a target without a slash": b"GET healthy HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a star as the target of a read": b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a broken IPv6 address as the target": b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /-/healthy\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET /-/healthy HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "http in small letters": b"GET /-/healthy http/1.1\r\nHost: localhost\r\n\r\n",
    "two spaces in the first line": b"GET  /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tab in the first line": b"GET\t/-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space at the end of the first line": b"GET /-/healthy HTTP/1.1 \r\nHost: localhost\r\n\r\n",
    "letters beyond ASCII in the target": "GET /ü HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "an empty line before it": b"\r\n" + SMUGGLED,
    "a long target": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long target that never ends": b"GET /" + b"a" * 100_000,
    "a long method": b"G" * 100 + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long field": GET + b"Host: localhost\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "many fields": GET + b"Host: localhost\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
    "many fields that never end": GET + b"a: b\r\n" * 10_000,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
    "a preface of the PROXY protocol": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + SMUGGLED,
    "a chunk that is no number": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a chunk's length with a sign": POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "a chunk's length in 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk's length of many digits": POST
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"0" * 100
    + b"2\r\n{}\r\n",
    "a chunk that is longer than it says": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n",
    "a line of a chunk that ends in LF": POST + b"Transfer-Encoding: chunked\r\n\r\n2;a\n{}\r\n0\r\n\r\n",
    "an extension that never ends": POST + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 1_000_000,
    "a trailer that is no field": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
}
LAST = {
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "chunks with extensions": POST
    + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0;"
    + b"c" * 999
    + b"\r\n\r\n",
    "chunks with a trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\n\r\n",
    "chunks that end in LF": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\n",
    "HTTP/1.0": b"GET /-/healthy HTTP/1.0\r\n\r\n",
    "a close": b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "a refusal before the body is asked for": (
        POST.replace(b"localhost", b"evil.example") + b"Expect: 100-continue\r\nContent-Length: 44\r\n\r\n"
    ),
}


def conversation(url: str, *sent: bytes) -> bytes:
    """Everything that comes until the server closes; what is sent later waits for a part of an answer."""
    host, port = url.removeprefix("http://").split(":")
    answers = b""
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        # A server that has said what it had to say may cut off a client that still speaks.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for number, part in enumerate(sent):
                answers += connection.recv(65536) if number else b""
                connection.sendall(part)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answers += part
    return answers


def statuses(answers: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_request_gets_400_and_ends_the_connection(
    face: Any, url: str, request_bytes: bytes
) -> None:
    answers = conversation(url, request_bytes + SMUGGLED)

    assert statuses(answers) == [b"400"]
    assert b"connection: close\r\n" in answers
    assert not face.expired


@pytest.mark.parametrize("request_bytes", LAST.values(), ids=LAST.keys())
def test_after_a_request_whose_end_may_be_read_differently_the_connection_ends(
    url: str, request_bytes: bytes
) -> None:
    answers = conversation(url, request_bytes + SMUGGLED)

    assert len(statuses(answers)) == 1
    assert statuses(answers) != [b"400"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        SMUGGLED,
        POST + b"Content-Length: 2\r\n\r\n{}",
        POST + b"content-length:2\r\n\r\n{}",
        b"GET http://localhost/-/healthy HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n",
        b"GET http://localhost:8080/-/healthy?a=b HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
        b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_a_request_with_one_reading_is_answered_and_the_connection_stays(
    url: str, request_bytes: bytes
) -> None:
    bye = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    assert statuses(conversation(url, request_bytes + bye)) == [b"200", b"200"]


def test_a_head_may_come_byte_by_byte(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in SMUGGLED:
            connection.sendall(bytes([byte]))

        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_rubbish_in_a_body_that_has_its_answer_is_no_second_answer(url: str) -> None:
    """Nor an error of spotd's own, with a traceback in the log."""
    head = POST.replace(b"localhost", b"evil.example") + b"Transfer-Encoding: chunked\r\n\r\n"
    with structlog.testing.capture_logs() as logs:
        answer = conversation(url, head, b"rubbish\r\n\r\n")
        at_once = conversation(url, head + b"rubbish\r\n\r\n")

    assert statuses(answer) == [b"421"]
    assert statuses(at_once) == [b"400"]
    assert "request failed" not in {entry["event"] for entry in logs}


@pytest.mark.parametrize(
    "host", ["127.0.0.1:evil.example", "127.0.0.1:80:90", "[::1]evil.example", "127.0.0.1 x"]
)
def test_a_host_that_is_no_name_and_port_is_nobodys(url: str, host: str) -> None:
    sent = f"GET /api/hosts HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()

    assert statuses(conversation(url, sent)) == [b"421"]


def test_a_flood_of_rubbish_is_one_line_in_the_log_and_counted(face: Any) -> None:
    server = WebServer(face.app(), "127.0.0.1:0", refused=face.metrics.http_refused)
    server.start()
    with structlog.testing.capture_logs() as logs:
        for _ in range(50):
            conversation(f"http://{server.address}", b"rubbish \x1b[31m\r\n\r\n")
    server.stop()

    assert [(entry["event"], entry["address"], entry["refused"]) for entry in logs] == [
        ("malformed requests refused", "127.0.0.1", 1)
    ]
    assert face.metrics.registry.get_sample_value("spotd_http_refused_total", {"reason": "malformed"}) == 50


def test_what_was_left_out_of_the_log_is_told_later_without_another_one() -> None:
    now = 0.0
    counted: list[str] = []
    complaints = Complaints(counted.append, lambda: now)
    with structlog.testing.capture_logs() as logs:
        for number in range(1000):
            complaints.tell("x refused", reason="x", address=f"192.0.2.{number % 8}")
        now = 59.0
        complaints.flush()
        assert len(logs) == 1
        now = 61.0
        complaints.flush()
        complaints.flush()

    assert [(entry["refused"], entry["address"]) for entry in logs] == [(1, "192.0.2.0"), (999, "192.0.2.7")]
    assert counted == ["x"] * 1000


def test_a_failing_route_fills_no_log_with_its_tracebacks(face: Any, url: str) -> None:
    def broken() -> str:
        raise RuntimeError("a detail")

    face.overview = broken
    ask = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with structlog.testing.capture_logs() as logs:
        codes = {*(status for _ in range(20) for status in statuses(conversation(url, ask)))}
        until(lambda: logs, seconds=TIMEOUT)

    assert codes == {b"500"}
    assert [entry["event"] for entry in logs] == ["request failed"]


TOKENS = st.text("abcXYZ-_09", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30)
RESERVED = {"host", "content-length", "transfer-encoding", "authorization", "x-auth-token"}
FIELDS = st.lists(st.tuples(TOKENS.filter(lambda name: name.lower() not in RESERVED), VALUES), max_size=20)


@given(FIELDS, st.integers(0, 10**6))
def test_every_request_of_plain_fields_is_one(fields: list[tuple[str, str]], length: int) -> None:
    lines = [f"{name}: {value}" for name, value in [("Host", "x"), ("Content-Length", str(length)), *fields]]
    head = "\r\n".join(["POST /a HTTP/1.1", *lines]).encode()

    assert fault_in(head + b"\r\n\r\n") is None
    assert all(fault_in(head[:end]) is None for end in range(len(head)))


@given(FIELDS, st.permutations(["Content-Length: 3", "Transfer-Encoding: chunked"]), st.integers(0, 20))
def test_two_lengths_are_found_wherever_they_stand(
    fields: list[tuple[str, str]], lengths: list[str], place: int
) -> None:
    lines = ["Host: x", *(f"{name}: {value}" for name, value in fields)]
    lines.insert(place % (len(lines) + 1), lengths[0])
    lines.append(lengths[1])
    head = "\r\n".join(["POST /a HTTP/1.1", *lines]).encode() + b"\r\n\r\n"

    assert fault_in(head) == "there are both Content-Length and Transfer-Encoding"


@given(st.binary(max_size=300))
def test_any_bytes_have_a_reading_or_a_fault(received: bytes) -> None:
    fault = fault_in(received + b"\r\n\r\n")

    assert fault is None or (fault.isprintable() and len(fault) < 100)


def test_the_bounds_of_a_head_do_not_depend_on_how_it_comes() -> None:
    start = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "
    longest = start + b"a" * (LARGEST_HEAD_BYTES - len(start))
    most = b"GET / HTTP/1.1\r\nHost: x" + b"\r\na: b" * (MOST_FIELDS - 1)

    assert [fault_in(head + b"\r\n\r\n") for head in (longest, most)] == [None, None]
    assert fault_in(longest + b"a\r\n\r\n") == "the head is too long"
    assert fault_in(longest + b"a" * 5) == "the head is too long"
    assert fault_in(most + b"\r\na: b\r\n\r\n") == "there are more than 100 header fields"
