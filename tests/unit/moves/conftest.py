"""One host in a cloud in memory, and a daemon that may move it."""

from collections.abc import Iterator

import pytest
from moving import FakeCloud, Spotd, store_on
from standing import Clock

from spotd.store import Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cloud(clock: Clock) -> FakeCloud:
    return FakeCloud(clock)


@pytest.fixture
def store(clock: Clock) -> Iterator[Store]:
    with store_on(clock) as opened:
        yield opened


@pytest.fixture
def spotd(cloud: FakeCloud, store: Store) -> Spotd:
    return Spotd(cloud, store)
