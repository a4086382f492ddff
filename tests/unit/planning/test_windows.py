"""When windows are open and freeze dates hold: by the rules' time zone, also when clocks change."""

from datetime import UTC, datetime, timedelta

import pytest
from fleets import NOW, FleetBuilder

from spotd.planning.load import parse_rules
from spotd.planning.planner import make_plan
from spotd.planning.refusals import Code
from spotd.planning.rules import OpenTime

RULE = 'rules: [{name: lend, from: [ondemand], to: spot, when: "true"}]'


def evening() -> OpenTime:
    """From seven in the evening to six in the morning in Berlin."""
    return OpenTime(cron="0 19 * * *", length=timedelta(hours=11), time_zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("opens", "closes"),
    [
        pytest.param("2030-01-08T18:00", "2030-01-09T05:00", id="winter"),
        pytest.param("2030-07-09T17:00", "2030-07-10T04:00", id="summer"),
        pytest.param("2030-03-30T18:00", "2030-03-31T04:00", id="the night that lacks an hour"),
        pytest.param("2030-10-26T17:00", "2030-10-27T05:00", id="the night that has one more"),
    ],
)
def test_a_window_opens_and_closes_by_the_clock_on_the_wall(opens: str, closes: str) -> None:
    first, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (opens, closes))
    minute = timedelta(minutes=1)

    told = [evening().is_open(at) for at in (first - minute, first, end - minute, end)]

    assert told == [False, True, True, False]


def test_a_window_is_open_without_a_break() -> None:
    first = datetime(2030, 10, 26, 17, tzinfo=UTC)

    assert all(evening().is_open(first + timedelta(minutes=minutes)) for minutes in range(12 * 60))


def test_a_window_begins_with_its_minute_and_not_before() -> None:
    window = OpenTime(cron="30 12 * * MON", length=timedelta(seconds=90), time_zone="UTC")
    opens = datetime(2030, 1, 7, 12, 30, tzinfo=UTC)

    seconds = (-1, 0, 59, 89, 90, 7 * 86_400)
    told = [window.is_open(opens + timedelta(seconds=passed)) for passed in seconds]

    assert told == [False, True, True, True, False, True]


@pytest.mark.parametrize(
    ("zone", "day", "holds"),
    [
        ("UTC", "2030-01-01", True),
        ("UTC", "2030-01-02", False),
        ("Pacific/Auckland", "2030-01-01", False),
        ("Pacific/Auckland", "2030-01-02", True),
    ],
)
def test_a_freeze_date_is_a_day_in_the_time_zone_of_the_rules(zone: str, day: str, holds: bool) -> None:
    fleet = FleetBuilder().host("h1", "H100-n3", netbox="active").aggregate("H100-n3-spot")
    rules = parse_rules(f"time_zone: {zone}\nfreeze_dates: [{{from: {day}, to: {day}}}]\n{RULE}")

    refusal = make_plan(rules, fleet.snapshot(), (), NOW, {}).refusal("h1", "lend")

    assert (refusal is not None and refusal.code is Code.FREEZE_DATE) is holds


@pytest.mark.parametrize(("zone", "hour", "weekday"), [("UTC", 12, 2), ("Pacific/Auckland", 1, 3)])
def test_hour_and_weekday_are_those_of_the_time_zone(zone: str, hour: int, weekday: int) -> None:
    fleet = FleetBuilder().host("h1", "H100-n3", netbox="active").aggregate("H100-n3-spot")
    when = f"hour == {hour} && weekday == {weekday}"
    rules = parse_rules(f"time_zone: {zone}\n" + RULE.replace('"true"', f'"{when}"'))

    plan = make_plan(rules, fleet.snapshot(), (), NOW, {})

    assert [move.host for move in plan.moves] == ["h1"]


def test_ages_are_seconds_since_the_reading() -> None:
    fleet = FleetBuilder().host("h1", "H100-n3", netbox="active").aggregate("H100-n3-spot")
    text = RULE.replace('"true"', '"age.servers < 0.5"')

    fresh = make_plan(parse_rules(text), fleet.snapshot(), (), NOW, {})
    later = make_plan(parse_rules(text), fleet.snapshot(), (), NOW + timedelta(seconds=1), {})

    assert (len(fresh.moves), len(later.moves)) == (1, 0)
