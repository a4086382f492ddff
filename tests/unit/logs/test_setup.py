"""One stream of lines, from spotd and from libraries, with the same fields and the same mask."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from freezegun import freeze_time

from spotd.logs import SecretMask, configure_logging, log_uncaught_exceptions

TOKEN = "hunter2-hunter2"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(do: Callable[[], object], level: str = "info") -> list[dict[str, Any]]:
    stream = io.StringIO()
    configure_logging(level=level, format="json", stream=stream, mask=SecretMask([TOKEN]))
    do()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def own() -> Any:
    return structlog.get_logger("spotd.agents.servers")


@freeze_time("2026-01-02 03:04:05.678")
def test_writes_json_with_time_level_logger_and_event_first() -> None:
    [line] = written(lambda: own().info("agent answered", items=3))

    assert list(line.items()) == [
        ("timestamp", "2026-01-02T03:04:05.678000Z"),
        ("level", "info"),
        ("logger", "spotd.agents.servers"),
        ("event", "agent answered"),
        ("items", 3),
    ]


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_writes_spotds_events_from_the_chosen_level_up(level: str, count: int) -> None:
    def speak() -> None:
        for name in ("debug", "info", "warning", "error"):
            getattr(own(), name)("spoke")

    assert len(written(speak, level)) == count


@pytest.mark.parametrize(
    "library", ["keystoneauth.identity", "urllib3", "uvicorn.error", "apscheduler.x", "unknown"]
)
def test_writes_only_the_warnings_of_libraries(library: str) -> None:
    def speak() -> None:
        logging.getLogger(library).info("request sent with %s", "x")
        logging.getLogger(library).warning("retried %s", "x")

    [line] = written(speak, "debug")

    assert (line["event"], line["level"], line["logger"]) == ("retried x", "warning", library)


@pytest.mark.parametrize("library", ["keystoneauth.session", "urllib3.connectionpool"])
def test_leaves_out_what_libraries_say_of_a_try_that_failed(library: str) -> None:
    def speak() -> None:
        logging.getLogger(library).warning("Retrying in %s s", 1)
        logging.getLogger(library).error("broken")

    assert [line["event"] for line in written(speak, "debug")] == ["broken"]


def test_takes_over_libraries_that_were_set_up_before() -> None:
    logging.getLogger("uvicorn.access").setLevel(logging.DEBUG)
    logging.getLogger("uvicorn.access").addHandler(logging.NullHandler())
    logging.getLogger("uvicorn.access").propagate = False

    assert written(lambda: logging.getLogger("uvicorn.access").info("GET /metrics")) == []
    assert logging.getLogger("uvicorn.access").handlers == []


def test_binds_what_a_cycle_has_in_common() -> None:
    def speak() -> None:
        with structlog.contextvars.bound_contextvars(cycle=7):
            own().info("cycle began")
            logging.getLogger("urllib3").warning("retried")

    assert [line["cycle"] for line in written(speak)] == [7, 7]


def refuse(secret: str) -> None:
    raise ValueError(f"refused {secret}")


def fail_with(secret: str) -> None:
    local = secret
    try:
        refuse(local)
    except ValueError as error:
        raise RuntimeError({"headers": {"a": local}}) from error


def test_masks_tracebacks_of_both_sides_and_shows_no_locals() -> None:
    def speak() -> None:
        try:
            fail_with(TOKEN)
        except RuntimeError:
            own().exception("agent failed")
            logging.getLogger("urllib3").exception("request failed")

    lines = written(speak)

    for line in lines:
        assert "Traceback (most recent call last)" in line["exception"]
        assert "refused ***" in line["exception"]
        assert TOKEN not in json.dumps(line)
    assert len(lines) == 2


def test_masks_arguments_of_library_records() -> None:
    lines = written(
        lambda: logging.getLogger("urllib3").warning("headers %r", {"X-Auth-Token": "abc", "a": TOKEN})
    )

    assert lines[0]["event"] == "headers {'X-Auth-Token': '***', 'a': '***'}"


def test_masks_bound_and_nested_values() -> None:
    [line] = written(
        lambda: own().bind(answer={"deep": [TOKEN]}).info(f"sent {TOKEN}", token="x", stack_info=True)
    )

    assert TOKEN not in json.dumps(line)
    assert (line["event"], line["token"], line["answer"]) == ("sent ***", "***", {"deep": ["***"]})


def test_masks_on_a_terminal_too() -> None:
    stream = Terminal()
    configure_logging(level="info", format="auto", stream=stream, mask=SecretMask([TOKEN]), is_terminal=True)

    try:
        fail_with(TOKEN)
    except RuntimeError:
        own().exception("agent failed", url=f"http://u:{TOKEN}@n")

    assert TOKEN not in stream.getvalue()
    assert "Traceback" in stream.getvalue()


@pytest.mark.parametrize(
    ("chosen", "stream", "journal", "is_json"),
    [
        ("auto", io.StringIO, None, True),
        ("auto", Terminal, None, False),
        ("auto", Terminal, "8:1", False),  # a desktop's terminals inherit the variable
        ("json", Terminal, None, True),
        ("console", io.StringIO, "8:1", False),
    ],
)
def test_is_readable_on_a_terminal_and_json_elsewhere(
    chosen: str,
    stream: Callable[[], io.StringIO],
    journal: str | None,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_json: bool,
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if journal:
        monkeypatch.setenv("JOURNAL_STREAM", journal)
    target = stream()

    configure_logging(level="info", format=chosen, stream=target)
    own().info("spoke")

    assert target.getvalue().startswith("{") is is_json


def test_writes_each_line_once_when_set_up_again() -> None:
    configure_logging(level="debug", format="console", stream=io.StringIO())

    assert len(written(lambda: own().info("spoke"))) == 1


def test_lets_a_logger_that_is_in_use_follow_a_new_level() -> None:
    log = own()
    stream = io.StringIO()
    configure_logging(level="error", format="json", stream=stream)
    log.info("quiet")

    assert [line["event"] for line in written(lambda: log.info("loud"))] == ["loud"]
    assert stream.getvalue() == ""


def test_says_that_a_line_was_lost_without_its_arguments() -> None:
    stream = io.StringIO()
    configure_logging(level="info", format="json", stream=stream, mask=SecretMask([TOKEN]))

    logging.getLogger("urllib3").warning("%d items", TOKEN)

    assert stream.getvalue().startswith("spotd: a log line of urllib3 was lost: TypeError")
    assert TOKEN not in stream.getvalue()


def test_survives_a_stream_that_is_gone() -> None:
    stream = io.StringIO()
    configure_logging(level="info", format="json", stream=stream)
    stream.close()

    own().info("spoke")


def test_sends_pythons_warnings_through_the_log() -> None:
    def speak() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(capture=True)
            warnings.warn(f"old way with {TOKEN}", stacklevel=1)

    [line] = written(speak)

    assert line["logger"] == "py.warnings"
    assert TOKEN not in json.dumps(line)


def test_masks_what_no_one_caught() -> None:
    def speak() -> None:
        log_uncaught_exceptions()
        thread = threading.Thread(target=fail_with, args=(TOKEN,), name="agent")
        thread.start()
        thread.join()
        try:
            fail_with(TOKEN)
        except RuntimeError as error:
            sys.excepthook(RuntimeError, error, error.__traceback__)

    of_thread, of_main = written(speak)

    assert (of_thread["event"], of_thread["thread"]) == ("uncaught exception", "agent")
    assert "refused ***" in of_main["exception"]


EVIL = "a\x1b[2J\x07\x9b\x7f\u202e\u200b\u2028\nforged [red]x[/red]"
SHOWN = r"a\x1b[2J\x07\x9b\x7f\u202e\u200b\u2028\nforged [red]x[/red]"


def on_terminal(do: Callable[[], object]) -> str:
    stream = io.StringIO()
    configure_logging(level="info", format="console", stream=stream, is_terminal=False, mask=SecretMask())
    do()
    return stream.getvalue()


def test_a_terminal_is_not_steered_by_what_is_logged() -> None:
    told = on_terminal(lambda: own().warning(EVIL, host=EVIL, hosts=[EVIL], **{"k\x1b": {EVIL: EVIL}}))

    (line,) = told.removesuffix("\n").split("\n")
    assert line.isprintable()
    # structlog quotes a fact with spaces once more.
    assert line.replace("\\\\", "\\").count(SHOWN) == 5


def test_a_traceback_on_a_terminal_keeps_its_lines_and_steers_nothing() -> None:
    def fail() -> None:
        error = RuntimeError(EVIL)
        own().error("failed", exc_info=error)

    lines = on_terminal(fail).removesuffix("\n").split("\n")

    assert len(lines) > 1
    assert all(line.isprintable() for line in lines)


def test_a_name_of_ten_thousand_characters_is_cut_on_a_terminal() -> None:
    told = on_terminal(lambda: own().warning("odd", host="n" * 10_000))

    assert 3_000 < told.count("n") < 4_100
