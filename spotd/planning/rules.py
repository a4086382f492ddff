"""Rules as the planner uses them: checked, with their expressions compiled."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from spotd.fleet.snapshot import Pool
from spotd.planning.expressions import Expression
from spotd.planning.models import AllLimits, FreezeDate, HostChoice, MaxAge, Mode, RuleLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTime:
    """A window in its time zone."""

    cron: str
    length: timedelta
    time_zone: str

    def is_open(self, now: datetime) -> bool:
        """Whether the latest opening up to now is less than the window's length ago."""
        # A cron time counts from its own minute on, and the search backwards leaves out where it starts.
        after = (now + timedelta(minutes=1)).astimezone(ZoneInfo(self.time_zone))
        opened = next(CronSim(self.cron, after.replace(second=0, microsecond=0), reverse=True), None)
        return opened is not None and opened <= now < opened + self.length


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
