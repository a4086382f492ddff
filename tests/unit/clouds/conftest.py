from collections.abc import Iterator

import pytest
from clouds_under_test import Watched, watching

from spotd.sim import CloudSize, EmbeddedCloud


@pytest.fixture
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=12, projects=2), seed=3) as running:
        yield running


@pytest.fixture
def watched(cloud: EmbeddedCloud) -> Iterator[Watched]:
    with watching(cloud) as region:
        yield region
