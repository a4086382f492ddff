"""Event streams cost bounded memory, whether anybody reads them or not."""

import time

import pytest
import requests
from performance.api_load import resident_bytes, running_daemon, streams
from performance.meter import MEGABYTE
from performance.served_cloud import served_cloud

STREAMS = 500
MOST_FOR_EACH_BYTES = 120_000
"""A connection's buffers, its task and its 64 unread events, with room to spare."""


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_500_streams_that_nobody_reads_cost_bounded_memory_and_no_answer() -> None:
    with served_cloud(40) as cloud, running_daemon(cloud) as url:
        before = resident_bytes(url)
        with streams(url, STREAMS):
            time.sleep(10)
            after = resident_bytes(url)
            started = time.monotonic()
            answer = requests.get(f"{url}/api/gpu-types", timeout=10)
            seconds = time.monotonic() - started

    assert answer.status_code == 200
    assert seconds < 1
    assert after - before < STREAMS * MOST_FOR_EACH_BYTES + 5 * MEGABYTE
