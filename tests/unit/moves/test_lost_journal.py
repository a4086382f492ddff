"""A move under way when its journal goes: nothing more is sent to the cloud, wherever it was."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from moving import HOST, ONDEMAND, WRITES, FakeCloud, Spotd, order
from standing import Clock

from spotd.store import Store, open_store
from spotd.store.errors import LeaseLost, StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[Store]:
    with open_store(f"sqlite:///{path}", clock=clock) as opened:
        yield opened


def calls_of_a_move(clock: Clock, tmp_path: Path) -> int:
    cloud, made = FakeCloud(clock), count()
    cloud.before = lambda _operation, _host: next(made) and None
    with open_store(f"sqlite:///{tmp_path / 'whole.sqlite'}", clock=clock) as whole:
        Spotd(cloud, whole).run(order())
    return next(made)


def writes_after_loss(cloud: FakeCloud, path: Path, last: int) -> int:
    """How many writes are sent after the one, if it is one, under whose call the file is removed."""
    made, sent = count(), []

    def before(operation: str, _host: str) -> None:
        if next(made) == last:
            path.unlink()
            sent.append(len(cloud.log) + (operation in WRITES))

    cloud.before = before
    with open_store(f"sqlite:///{path}", clock=cloud.clock) as store:
        spotd = Spotd(cloud, store)
        with pytest.raises((LeaseLost, StoreError)):
            spotd.run(order())
        with pytest.raises(StoreError):
            spotd.settle()
    (by_then,) = sent
    return len(cloud.log) - by_then


def test_after_any_call_the_next_write_is_not_sent(clock: Clock, tmp_path: Path) -> None:
    """The file is removed under the first call to the cloud, the second, and so on to the last."""
    calls = calls_of_a_move(clock, tmp_path)

    after = [writes_after_loss(FakeCloud(clock), tmp_path / f"{last}.sqlite", last) for last in range(calls)]

    assert calls > 10
    assert [0] * calls == after


@pytest.mark.parametrize("step", ["fence", "leave", "join", "release"])
def test_a_file_that_goes_when_a_step_was_just_written_down_stops_that_step(
    step: str, cloud: FakeCloud, store: Store, path: Path
) -> None:
    """The last moment before a write is sent."""
    spotd = Spotd(cloud, store)
    journal: Any = store.journal

    class Removed:
        def __getattr__(self, name: str) -> Any:
            return getattr(journal, name)

        def step_began(self, move_id: str, name: str, *rest: Any, **more: Any) -> int:
            number: int = journal.step_began(move_id, name, *rest, **more)
            if name == step:
                path.unlink()
                writes.append(len(cloud.log))
            return number

    writes: list[int] = []
    record = spotd.begin(order())
    with pytest.raises(LeaseLost, match="the lease lapsed, or the journal went, before"):
        spotd.made(Removed()).run(record, token=spotd.token)

    assert writes == [len(cloud.log)]
    assert cloud.pools_of(HOST) == [ONDEMAND] or step in ("join", "release")
