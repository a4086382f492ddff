from collections.abc import Iterator

import pytest
from scraped import Prometheus, scraping


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with scraping(tmp_path_factory.mktemp("prometheus")) as running:
        yield running
