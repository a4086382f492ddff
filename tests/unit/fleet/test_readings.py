"""The age of a reading."""

from datetime import timedelta

import pytest
from fleets import NOW

from spotd.fleet.readings import Reading


@pytest.mark.parametrize(
    ("passed", "age"),
    [pytest.param(90.5, 90.5, id="later"), pytest.param(-5.0, 0.0, id="the clock was set back")],
)
def test_tells_its_age(passed: float, age: float) -> None:
    reading = Reading(value=1, read_at=NOW)

    assert reading.age_seconds(NOW + timedelta(seconds=passed)) == age
