"""Every query of every board is answered by a real Prometheus that scraped `spotd demo` while it moved hosts.

What a healthy demo does not show (a failing agent, a customer who gained a host) is asked of a played daemon;
each such panel is listed with its reason.
"""

import json
import shutil

import pytest
from grafana_boards import Asked, filled_in, queries
from scraped import NEEDS_EVENTS, Prometheus, values_of

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("real servers"),  # one Prometheus serves these and the pictures
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="prometheus is not on PATH: install it to ask the boards' queries of a real one",
    ),
]


@pytest.mark.parametrize("asked", list(queries()), ids=lambda asked: asked.place)
def test_a_real_prometheus_answers_the_query(asked: Asked, prometheus: Prometheus) -> None:
    needs_events = (asked.board, asked.panel) in NEEDS_EVENTS
    instance = prometheus.played if needs_events else prometheus.demo
    values = values_of(prometheus, asked.board, instance)

    series = prometheus.series(filled_in(asked.expr, values), is_instant=asked.is_instant)

    assert series, json.dumps(values)


@pytest.mark.parametrize("asked", list(queries()), ids=lambda asked: asked.place)
def test_of_a_daemon_that_tells_nothing_nothing_is_shown(asked: Asked, prometheus: Prometheus) -> None:
    values = values_of(prometheus, asked.board, prometheus.demo) | {"instance": "nobody"}

    series = prometheus.series(filled_in(asked.expr, values), is_instant=asked.is_instant)

    assert series == []


def test_every_listed_exception_is_still_a_panel() -> None:
    places = {(asked.board, asked.panel) for asked in queries()}

    assert set(NEEDS_EVENTS) <= places
