"""Rules as the planner uses them: checked, with their expressions compiled."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from spotd.fleet.snapshot import Pool
from spotd.planning.expressions import Expression
from spotd.planning.models import AllLimits, FreezeDate, HostChoice, MaxAge, Mode, RuleLimits
from spotd.planning.wall import day_of, first_moment, furthest_time


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTime:
    """A window in its time zone."""

    cron: str
    length: timedelta
    time_zone: str

    def is_open(self, now: datetime) -> bool:
        """Whether the latest opening is less than the window's length ago, by the clock on the wall.

        Each time of the cron expression opens it once: at the first of two equal times, at the end of the
        hour that a clock set ahead leaves out; a day that a zone leaves out has no window.
        """
        zone = ZoneInfo(self.time_zone)
        time = self._latest(furthest_time(now, zone))
        # Midnight of such a day and of the next are one moment.
        while time is not None and first_moment(day_of(time), zone) == first_moment(day_of(time, 1), zone):
            time = self._latest(day_of(time) - timedelta(seconds=1))
        if time is None:
            return False
        opened = first_moment(time, zone)
        shown = opened.astimezone(zone).replace(tzinfo=None)
        return opened <= now < first_moment(shown + self.length, zone)

    def _latest(self, time: datetime) -> datetime | None:
        """The latest time of the cron expression up to this one; neither has a zone."""
        # The search backwards leaves out where it starts.
        after = time.replace(microsecond=0) + timedelta(seconds=1)
        return next(CronSim(self.cron, after, reverse=True), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a checked file."""

    name: str
    gpu_types: tuple[str, ...] | None
    variant: str | None
    sites: tuple[str, ...] | None
    tenants: tuple[str, ...] | None
    from_pools: tuple[Pool, ...]
    to: Pool
    to_variant: str | None
    contract: str | None
    when: Expression
    until: Expression | None
    hold: timedelta
    count: int | Expression
    at_most: int
    hosts: HostChoice
    limits: RuleLimits
    windows: tuple[OpenTime, ...]

    def is_open(self, now: datetime) -> bool:
        """Whether one of its windows is open, or it has none."""
        return not self.windows or any(window.is_open(now) for window in self.windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All rules of a file, in its order, and what holds for all of them."""

    mode: Mode = "dry-run"
    time_zone: str = "UTC"
    limits: AllLimits = field(default_factory=AllLimits)
    max_age: MaxAge = field(default_factory=MaxAge)
    freeze_dates: tuple[FreezeDate, ...] = ()
    rules: tuple[Rule, ...] = ()

    def local(self, now: datetime) -> datetime:
        """The time in the rules' time zone."""
        return now.astimezone(ZoneInfo(self.time_zone))
