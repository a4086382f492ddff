"""sd_notify on a real socket, without systemd."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator

import pytest

from spotd.daemon.notify import Notifier


@pytest.fixture
def systemd() -> Iterator[tuple[str, socket.socket]]:
    """An address and the socket that hears what is sent there."""
    with (
        tempfile.TemporaryDirectory(prefix="spotd") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix,
    ):
        unix.bind(f"{directory}/notify")
        unix.settimeout(2)
        yield f"{directory}/notify", unix


def heard(unix: socket.socket) -> list[str]:
    return unix.recv(4096).decode().split("\n")


def test_each_state_is_one_message(systemd: tuple[str, socket.socket]) -> None:
    address, unix = systemd
    notifier = Notifier({"NOTIFY_SOCKET": address})

    notifier.ready("all is well")
    assert heard(unix) == ["READY=1", "STATUS=all is well"]
    notifier.status("busy")
    assert heard(unix) == ["STATUS=busy"]
    notifier.alive()
    assert heard(unix) == ["WATCHDOG=1"]
    notifier.stopping()
    assert heard(unix) == ["STOPPING=1"]


def test_a_reload_carries_its_moment(systemd: tuple[str, socket.socket]) -> None:
    address, unix = systemd
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    Notifier({"NOTIFY_SOCKET": address}).reloading()

    first, moment = heard(unix)
    assert first == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) < before + 2_000_000


def test_a_status_of_two_lines_cannot_become_another_state(systemd: tuple[str, socket.socket]) -> None:
    address, unix = systemd

    Notifier({"NOTIFY_SOCKET": address}).status("one\nREADY=1")

    assert heard(unix) == ["STATUS=one READY=1"]


def test_an_at_sign_means_the_abstract_namespace() -> None:
    name = f"spotd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.bind(f"\0{name}")
        unix.settimeout(2)

        Notifier({"NOTIFY_SOCKET": f"@{name}"}).alive()

        assert heard(unix) == ["WATCHDOG=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_systemd_nothing_happens(environ: dict[str, str]) -> None:
    Notifier(environ).ready("nobody listens")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_only_where_systemd_wants_it_of_this_process(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert Notifier(environ).watchdog_seconds == seconds
