"""Signals are told whichever thread the kernel gives them to."""

import os
import signal
import threading
import time

import pytest

from spotd.cli.signals import Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_told(number: signal.Signals) -> None:
    with Signals() as signals:
        os.kill(os.getpid(), number)

        assert signals.wait(time.monotonic() + 5) == number


def test_a_signal_that_another_thread_gets_is_told_too() -> None:
    leave = threading.Event()
    other = threading.Thread(target=leave.wait)
    other.start()
    with Signals() as signals:
        assert other.ident is not None
        signal.pthread_kill(other.ident, signal.SIGTERM)

        assert signals.wait(time.monotonic() + 5) == signal.SIGTERM
    leave.set()
    other.join()


def test_signals_are_told_one_by_one() -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)

        assert [signals.wait(), signals.wait()] == [signal.SIGHUP, signal.SIGTERM]


def test_waits_no_longer_than_it_may() -> None:
    with Signals() as signals:
        assert signals.wait(time.monotonic()) is None


def test_gives_signals_back_their_former_meaning() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]

    with Signals():
        pass

    assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
