"""Each event reaches journald as one entry of fields, masked and of any size; without journald, as a line."""

import fcntl
import io
import json
import logging
import os
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from spotd.cli import main
from spotd.logs import SecretMask, configure_logging, priority_prefix
from spotd.logs.entries import field_name, message_of
from spotd.logs.journald import is_journald_stream, send, serialized

TOKEN = "hunter2-hunter2"
LARGE = 2_000_000
ALL_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Journald:
    """The other end of the socket, as the protocol describes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(5)
        self.files = 0

    def entry(self) -> list[tuple[str, str]]:
        """The next entry's fields, in their order."""
        data, descriptors, _, _ = socket.recv_fds(self.socket, 1_000_000, 1)
        if descriptors:
            assert data == b""
            self.files += 1
            data = content_of(descriptors[0])
        return fields_in(data)

    def fields(self) -> dict[str, str]:
        return dict(self.entry())

    def is_silent(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(1)
        except BlockingIOError:
            return True
        return False


def content_of(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) == ALL_SEALS
        file.seek(0)
        return file.read()


def fields_in(data: bytes) -> list[tuple[str, str]]:
    found = []
    while data:
        line, _, data = data.partition(b"\n")
        name, is_simple, value = line.partition(b"=")
        if not is_simple:
            (length,) = struct.unpack_from("<Q", data)
            value, end, data = data[8 : 8 + length], data[8 + length : 9 + length], data[9 + length :]
            assert end == b"\n"
        found.append((name.decode(), value.decode()))
    return found


@pytest.fixture
def journald() -> Iterator[Journald]:
    with tempfile.TemporaryDirectory(prefix="spotd") as directory:  # a socket's path must be short
        made = Journald(Path(directory) / "socket")
        yield made
        made.socket.close()


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TextIO]:
    """A stream of which the environment says that systemd reads it."""
    with (tmp_path / "stderr").open("w+") as file:
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        yield file


def written(stream: TextIO) -> str:
    stream.seek(0)
    return stream.read()


def own() -> Any:
    return structlog.get_logger("spotd.moves.scribe")


def configure(journald: Journald, stream: TextIO, chosen: str = "journald") -> None:
    configure_logging(
        level="debug", format=chosen, stream=stream, mask=SecretMask([TOKEN]), journald=journald.path
    )


def refuse(secret: str) -> None:
    raise ValueError(f"refused {secret}")


def test_an_event_is_one_entry_with_a_field_for_each_fact(journald: Journald) -> None:
    configure(journald, io.StringIO())

    own().info("move finished", host="gpu-1", took=1.5, is_late=False, why=None, to={"id": 7, "name": "a b"})

    fields = journald.entry()
    assert fields[:4] == [
        ("MESSAGE", 'move finished host=gpu-1 took=1.5 is_late=false why=null to={"id": 7, "name": "a b"}'),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "spotd"),
        ("LOGGER", "spotd.moves.scribe"),
    ]
    assert fields[-6:] == [
        ("SPOTD_EVENT", "move finished"),
        ("SPOTD_HOST", "gpu-1"),
        ("SPOTD_TOOK", "1.5"),
        ("SPOTD_IS_LATE", "false"),
        ("SPOTD_WHY", "null"),
        ("SPOTD_TO", '{"id": 7, "name": "a b"}'),
    ]
    assert journald.is_silent()


def test_an_entry_names_the_line_of_code_that_told_it(journald: Journald) -> None:
    configure(journald, io.StringIO())

    own().info("spoke")

    fields = journald.fields()
    here = test_an_entry_names_the_line_of_code_that_told_it.__code__
    assert (fields["CODE_FILE"], fields["CODE_FUNC"]) == (__file__, here.co_name)
    assert here.co_firstlineno < int(fields["CODE_LINE"]) < here.co_firstlineno + 6


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3"), ("critical", "2")],
)
def test_the_level_is_the_priority(level: str, priority: str, journald: Journald) -> None:
    configure(journald, io.StringIO())

    getattr(own(), level)("spoke")

    assert journald.fields()["PRIORITY"] == priority


def test_a_librarys_warning_is_an_entry_too(journald: Journald) -> None:
    configure(journald, io.StringIO())

    logging.getLogger("urllib3").warning("retried %s", "x")

    fields = journald.fields()
    assert (fields["MESSAGE"], fields["PRIORITY"], fields["LOGGER"]) == ("retried x", "4", "urllib3")


def test_a_traceback_stands_below_the_line_and_in_its_own_field(journald: Journald) -> None:
    configure(journald, io.StringIO())

    try:
        refuse("it")
    except ValueError:
        own().exception("agent failed", agent="gpus")

    fields = journald.fields()
    first, second, *_ = fields["MESSAGE"].splitlines()
    assert (first, second) == ("agent failed agent=gpus", "Traceback (most recent call last):")
    assert fields["SPOTD_EXCEPTION"].endswith("ValueError: refused it")


def test_no_secret_reaches_journald(journald: Journald) -> None:
    configure(journald, io.StringIO())

    try:
        refuse(TOKEN)
    except ValueError:
        own().exception(f"sent {TOKEN}", answer={"deep": [TOKEN]}, **{TOKEN: 1, "password": "pass"})

    fields = journald.fields()
    assert TOKEN not in json.dumps(fields)
    assert TOKEN.upper().replace("-", "_") not in json.dumps(fields)
    assert fields["SPOTD_PASSWORD"] == "***"
    assert fields["SPOTD_EVENT"] == "sent ***"


def test_an_entry_too_large_for_a_datagram_comes_as_a_sealed_file(journald: Journald) -> None:
    configure(journald, io.StringIO())

    own().error("configuration not reloaded", error="x" * LARGE)
    own().error("spoke")

    assert journald.fields()["SPOTD_ERROR"] == "x" * LARGE
    assert journald.files == 1
    assert journald.fields()["SPOTD_EVENT"] == "spoke"
    assert journald.files == 1


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"\A[A-Z][A-Z0-9_]{0,20}\Z"), st.text(st.characters(exclude_categories=["Cs"]))
        ),
        max_size=5,
    )
)
def test_any_text_comes_out_as_it_went_in(fields: list[tuple[str, str]]) -> None:
    assert fields_in(serialized(fields)) == fields


def test_half_a_character_costs_no_event() -> None:
    assert fields_in(serialized([("A", "\ud800!")])) == [("A", "\\ud800!")]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("host", "SPOTD_HOST"),
        ("move_id", "SPOTD_MOVE_ID"),
        ("X-Request id", "SPOTD_X_REQUEST_ID"),
        ("_private", "SPOTD__PRIVATE"),
        ("9lives", "SPOTD_9LIVES"),
        ("grüße=\n", "SPOTD_GR_SSE__"),
        ("long" * 30, "SPOTD_" + ("LONG" * 30)[:58]),
    ],
)
def test_a_field_has_a_name_that_journald_takes(key: str, expected: str) -> None:
    assert field_name(key) == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"event": "spoke", "level": "info", "logger": "spotd", "timestamp": "now"}, "spoke"),
        ({"event": "spoke", "error": "HTTP 500"}, 'spoke error="HTTP 500"'),
        ({"event": "spoke", "text": ""}, 'spoke text=""'),
        ({"event": "spoke", "error": "one\ntwo", "n": 1}, "spoke n=1\none\ntwo"),
        ({"event": "bell \x07 and \x1b[31m"}, "bell \\x07 and \\x1b[31m"),
    ],
)
def test_the_message_is_for_people(event: dict[str, Any], expected: str) -> None:
    assert message_of(event) == expected


def test_writes_fields_where_journald_reads_the_stream(journald: Journald, stream: TextIO) -> None:
    configure(journald, stream, "auto")

    own().info("spoke")

    assert journald.fields()["SPOTD_EVENT"] == "spoke"
    assert written(stream) == ""


@pytest.mark.parametrize("chosen", ["json", "console"])
def test_writes_lines_to_journald_where_lines_were_asked_for(
    chosen: str, journald: Journald, stream: TextIO
) -> None:
    configure(journald, stream, chosen)

    own().info("spoke")

    assert "spoke" in written(stream)
    assert journald.is_silent()


@pytest.mark.parametrize("inherited", [None, "", "8:1", "nonsense"])
def test_a_variable_that_names_another_stream_changes_nothing(
    inherited: str | None, journald: Journald, stream: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM")
    if inherited is not None:
        monkeypatch.setenv("JOURNAL_STREAM", inherited)
    configure(journald, stream, "auto")

    own().info("spoke")

    assert json.loads(written(stream))["event"] == "spoke"
    assert journald.is_silent()


def test_a_stream_without_a_file_is_not_journalds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    closed = io.StringIO()
    closed.close()

    assert [is_journald_stream(stream) for stream in (io.StringIO(), closed)] == [False, False]


def break_off(journald: Journald) -> None:
    journald.socket.close()


def take_away(journald: Journald) -> None:
    journald.path.unlink()


def stop_reading(journald: Journald) -> None:
    """The queue is full, as that of a journald that hangs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.connect(str(journald.path))
        unix.setblocking(False)
        try:
            while True:
                unix.send(b"A=1\n")
        except BlockingIOError:
            return


@pytest.mark.parametrize("trouble", [break_off, take_away, stop_reading])
def test_without_journald_an_event_is_a_line_of_json_of_the_same_priority(
    trouble: Callable[[Journald], None], journald: Journald, stream: TextIO
) -> None:
    configure(journald, stream, "auto")
    trouble(journald)

    own().error("move failed", host="gpu-1", token="x", error=f"sent {TOKEN}")

    prefix, line = written(stream)[:3], written(stream)[3:]
    assert prefix == "<3>"
    assert json.loads(line)["host"] == "gpu-1"
    assert TOKEN not in line


def test_a_large_event_is_not_lost_either(journald: Journald, stream: TextIO) -> None:
    configure(journald, stream, "auto")
    stop_reading(journald)

    own().error("configuration not reloaded", error="x" * LARGE)

    assert json.loads(written(stream)[3:])["error"] == "x" * LARGE


def test_a_line_that_others_read_has_no_priority_before_it(journald: Journald) -> None:
    stream = io.StringIO()
    configure(journald, stream)
    take_away(journald)

    own().error("move failed")

    assert json.loads(stream.getvalue())["event"] == "move failed"


def test_journald_may_come_back(journald: Journald, stream: TextIO) -> None:
    configure(journald, stream, "auto")
    break_off(journald)
    take_away(journald)
    own().info("spoke to nobody")
    again = Journald(journald.path)

    own().info("spoke")

    assert again.fields()["SPOTD_EVENT"] == "spoke"
    assert "spoke to nobody" in written(stream)
    again.socket.close()


def test_an_event_that_cannot_be_made_into_text_is_told_of_as_lost(
    journald: Journald, stream: TextIO
) -> None:
    configure(journald, stream, "auto")

    logging.getLogger("urllib3").warning("%d items", TOKEN)

    assert written(stream).startswith("spotd: a log line of urllib3 was lost: TypeError")
    assert TOKEN not in written(stream)


def test_threads_do_not_mix_their_entries(journald: Journald) -> None:
    configure(journald, io.StringIO())
    threads = [
        threading.Thread(target=own().info, args=("spoke",), kwargs={"n": n, "text": f"{n}\n" * 50})
        for n in range(8)
    ]
    for thread in threads:
        thread.start()

    entries = [journald.fields() for _ in threads]

    for thread in threads:
        thread.join()
    assert sorted(entry["SPOTD_N"] for entry in entries) == [str(n) for n in range(8)]
    assert all(entry["SPOTD_TEXT"] == f"{entry['SPOTD_N']}\n" * 50 for entry in entries)


def test_an_entry_leaves_no_file_open(journald: Journald) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    send(serialized([("MESSAGE", "x" * LARGE)]), journald.path)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_plain_line_tells_journald_how_bad_it_is(stream: TextIO) -> None:
    assert priority_prefix("error", stream) == "<3>"
    assert priority_prefix("error", io.StringIO()) == ""


def test_a_command_that_fails_tells_journald_that_it_is_an_error(
    stream: TextIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = tmp_path / "spotd.yml"
    bad.write_text("cache: {snapshot_seconds: 0}\n")
    monkeypatch.setattr(sys, "stderr", stream)

    with pytest.raises(SystemExit, match="2"):
        main.main(["check-config", str(bad)], standalone_mode=False)

    assert written(stream).startswith(f"<3>spotd: {bad}:1: cache.snapshot_seconds")


def test_a_command_at_a_shell_says_it_plainly(tmp_path: Path) -> None:
    bad = tmp_path / "spotd.yml"
    bad.write_text("cache: {snapshot_seconds: 0}\n")

    done = CliRunner().invoke(main, ["check-config", str(bad)])

    assert done.output.startswith(f"spotd: {bad}:1: cache.snapshot_seconds")
