"""When windows are open and freeze dates hold: by the rules' time zone, also when clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from fleets import NOW, FleetBuilder
from hypothesis import example, given, settings
from hypothesis import strategies as st

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


def intervals(window: OpenTime, first: datetime, days: float, minutes: int = 1) -> list[tuple[str, str]]:
    """When it is open, looked at every so many minutes, as its own zone tells the time."""
    zone, step = ZoneInfo(window.time_zone), timedelta(minutes=minutes)
    moments = [first + number * step for number in range(round(days * 24 * 60 / minutes))]
    told = [False, *map(window.is_open, moments), False]
    edges = [place for place in range(len(moments) + 1) if told[place] != told[place + 1]]
    shown = [f"{(first + place * step).astimezone(zone):%d %H:%M %z}" for place in edges]
    return list(zip(shown[::2], shown[1::2], strict=True))


CHANGES = {
    "begins in the hour that comes twice": (
        "45 2 * * *", 60, "Europe/Berlin", "2030-10-27", [("27 02:45 +0200", "27 03:45 +0100")],
    ),
    "ends in the hour that comes twice": (
        "30 1 * * *", 60, "Europe/Berlin", "2030-10-27", [("27 01:30 +0200", "27 02:30 +0200")],
    ),
    "lies in the hour that comes twice": (
        "15 2 * * *", 30, "Europe/Berlin", "2030-10-27", [("27 02:15 +0200", "27 02:45 +0200")],
    ),
    "is the hour that comes twice": (
        "0 2 * * *", 60, "Europe/Berlin", "2030-10-27", [("27 02:00 +0200", "27 03:00 +0100")],
    ),
    "every hour, as the hour comes twice": (
        "0 1-4 * * *", 30, "Europe/Berlin", "2030-10-27",
        [("27 01:00 +0200", "27 01:30 +0200"), ("27 02:00 +0200", "27 02:30 +0200"),
         ("27 03:00 +0100", "27 03:30 +0100"), ("27 04:00 +0100", "27 04:30 +0100")],
    ),
    "begins in the hour that is left out": (
        "30 2 * * *", 60, "Europe/Berlin", "2030-03-31", [("31 03:00 +0200", "31 04:00 +0200")],
    ),
    "lies in the hour that is left out": (
        "15 2 * * *", 30, "Europe/Berlin", "2030-03-31", [("31 03:00 +0200", "31 03:30 +0200")],
    ),
    "ends in the hour that is left out": (
        "30 1 * * *", 60, "Europe/Berlin", "2030-03-31", [("31 01:30 +0100", "31 03:00 +0200")],
    ),
    "spans the hour that is left out": (
        "30 1 * * *", 120, "Europe/Berlin", "2030-03-31", [("31 01:30 +0100", "31 03:30 +0200")],
    ),
    "half an hour comes twice": (
        "45 1 * * *", 30, "Australia/Lord_Howe", "2030-04-07", [("07 01:45 +1100", "07 02:15 +1030")],
    ),
    "half an hour is left out": (
        "15 2 * * *", 30, "Australia/Lord_Howe", "2030-10-06", [("06 02:30 +1100", "06 03:00 +1100")],
    ),
    "summer time is the standard time": (
        "30 1 * * *", 60, "Europe/Dublin", "2030-10-27", [("27 01:30 +0100", "27 02:30 +0000")],
    ),
    "midnight is left out": (
        "30 0 * * *", 60, "Africa/Cairo", "2025-04-25", [("25 01:00 +0300", "25 02:00 +0300")],
    ),
    "midnight comes twice": (
        "30 23 * * *", 45, "Africa/Cairo", "2025-10-30", [("30 23:30 +0300", "31 00:15 +0200")],
    ),
    "a day is left out": (
        "0 19 * * *", 660, "Pacific/Apia", "2011-12-29",
        [("29 19:00 -1000", "31 00:00 +1400"), ("31 19:00 +1400", "01 06:00 +1400")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("cron", "minutes", "zone", "day", "told"), CHANGES.values(), ids=CHANGES)
def test_a_window_opens_once_where_the_clock_is_changed(
    cron: str, minutes: int, zone: str, day: str, told: list[tuple[str, str]]
) -> None:
    window = OpenTime(cron=cron, length=timedelta(minutes=minutes), time_zone=zone)
    first = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC) - timedelta(hours=26)

    found = intervals(window, first, 3.5)

    assert [interval for interval in found if interval[0][:2] >= told[0][0][:2]][: len(told)] == told


def test_a_window_of_many_days_spans_both_changes() -> None:
    window = OpenTime(cron="0 12 1 1 *", length=timedelta(days=300), time_zone="Europe/Berlin")
    first = datetime(2030, 1, 1, 11, tzinfo=UTC)

    told = [window.is_open(first + timedelta(hours=hour)) for hour in range(-12, 300 * 24 + 12, 6)]

    assert told == [False] * 2 + [True] * 300 * 4 + [False] * 2


def local_days(window: OpenTime, day: date) -> dict[date, list[tuple[str, str]]]:
    """When it is open around a day, by the local day on which that begins; the first and last are cut off."""
    first = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2)
    zone = ZoneInfo(window.time_zone)
    days: dict[date, list[tuple[str, str]]] = {
        (first + timedelta(hours=hour)).astimezone(zone).date(): [] for hour in range(4 * 24)
    }
    known = {f"{found:%d}": found for found in days}
    for interval in intervals(window, first, 4, minutes=10):
        days[known[interval[0][:2]]].append(interval)
    return dict(list(days.items())[1:-1])


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(available_timezones())),
    st.dates(date(1975, 1, 1), date(2037, 12, 1)),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(11, 22 * 60),
)
@example("Europe/Berlin", date(2030, 10, 27), 2, 45, 60)
@example("Europe/Berlin", date(2030, 3, 31), 2, 30, 22 * 60)
@example("Australia/Lord_Howe", date(2030, 4, 7), 1, 45, 30)
@example("Pacific/Apia", date(2011, 12, 30), 19, 0, 660)
@example("Pacific/Kwajalein", date(1993, 8, 21), 0, 0, 60)
@example("Europe/Dublin", date(2030, 10, 27), 1, 30, 45)
@example("America/Sao_Paulo", date(2018, 11, 4), 0, 0, 30)
@example("Africa/Casablanca", date(2030, 2, 3), 2, 59, 20)
@example("Antarctica/Troll", date(2030, 10, 27), 2, 0, 90)
def test_every_local_day_opens_a_daily_window_once_and_without_a_break(
    zone: str, day: date, hour: int, minute: int, length: int
) -> None:
    window = OpenTime(cron=f"{minute} {hour} * * *", length=timedelta(minutes=length), time_zone=zone)

    assert {len(found) for found in local_days(window, day).values()} == {1}


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
