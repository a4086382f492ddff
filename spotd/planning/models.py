"""The keys of a rules file with their defaults and the reason for them."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from spotd.planning.values import (
    DISTINCT,
    CountOrExpression,
    Cron,
    Date,
    Duration,
    RuleName,
    TimeZone,
)
from spotd.settings.checks import NOT_A_BOOLEAN, refused
from spotd.settings.group import Group

PoolName = Literal["ondemand", "spot", "runpod", "contract"]
Criterion = Literal["longest-empty", "nvlink-last", "site", "rack-spread", "name"]
Number = Annotated[int, Field(ge=0, le=100_000), NOT_A_BOOLEAN]
Positive = Annotated[int, Field(ge=1, le=100_000), NOT_A_BOOLEAN]
AtOnce = Annotated[int, Field(ge=1, le=1_000), NOT_A_BOOLEAN]
Texts = Annotated[tuple[str, ...], DISTINCT]
Mode = Literal["observe", "dry-run", "active"]
NO_VARIANT = "none"
MOST_RULES = 500
"""Each is asked for each GPU type at every cycle; ten times what a region needs."""
MOST_WINDOWS = 50
MOST_FREEZE_DATES = 1_000


class RulesGroup(Group):
    """Base of every group of a rules file."""

    # Several keys of a rules file are words of Python: from, for.
    model_config = ConfigDict(validate_by_alias=True, validate_by_name=False)


class MaxAge(RulesGroup):
    """How old a reading may be for a decision; older, and nothing is planned."""

    servers: Duration = timedelta(minutes=5)
    """Servers: asked at every refresh, so five minutes are several failed ones."""
    services: Duration = timedelta(minutes=5)
    """Compute services: asked at every refresh as well."""
    gpus: Duration = timedelta(minutes=5)
    """GPU capacity and use: likewise."""
    aggregates: Duration = timedelta(hours=2)
    """Membership: kept for an hour by default, and read again from the cloud before each write."""
    netbox: Duration = timedelta(hours=6)
    """Device inventory, where NetBox is configured."""


class AllLimits(RulesGroup):
    """Limits over all rules together."""

    moves_per_hour: Positive = 20
    """Moves begun in any hour."""
    moves_per_day: Positive = 100
    """Moves begun in any 24 hours."""
    moves_at_once: AtOnce = 4
    """Moves that hold a host at the same time, those that drain or wait for an outage to end among them."""
    cooldown: Duration = timedelta(minutes=30)
    """How long a host stays after a move, whichever rule moved it."""


class FreezeDate(RulesGroup):
    """Whole days, in the file's time zone, on which nothing moves."""

    first: Date = Field(alias="from")
    """First day."""
    last: Date = Field(alias="to")
    """Last day, which counts."""
    reason: str = "freeze date"
    """Shown in refusals."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last < self.first:
            raise refused("to is before from", "to")
        return self


class Window(RulesGroup):
    """A time in which a rule may act: from each time of the cron expression on, for so long."""

    cron: Cron
    """When it opens, once for each time on the wall: minute, hour, day of month, month, day of week."""
    length: Duration = Field(alias="for")
    """How long it stays open, by the clock on the wall."""
    time_zone: TimeZone | None = None
    """Time zone of the cron expression; default: the file's."""


class HostChoice(RulesGroup):
    """Which of the hosts in scope are taken, and in which order."""

    take: Literal["empty", "drain"] = "empty"
    """`drain` may also disable a host with servers and wait for them to leave by themselves."""
    drain_deadline: Duration = timedelta(hours=2)
    """After this a drain is given up."""
    nvlink: Literal["any", "never", "only"] = "any"
    """`never` and `only` refuse hosts of which NetBox does not say whether they have NVLink."""
    order: Annotated[tuple[Criterion, ...], DISTINCT] = (
        "longest-empty",
        "nvlink-last",
        "rack-spread",
        "name",
    )
    """Most important first; the name decides where all are equal."""


class RuleLimits(RulesGroup):
    """Limits of one rule."""

    keep_hosts: Number = 0
    """Hosts for sale that stay among those that the rule may take."""
    keep_free_gpus: Number = 0
    """Free GPUs that stay among them."""
    cooldown: Duration | None = None
    """How long a host stays after a move before this rule may take it; the file's cooldown holds as well."""
    moves_per_hour: Positive | None = None
    """Moves begun in any hour."""
    moves_per_day: Positive | None = None
    """Moves begun in any 24 hours."""
    moves_at_once: AtOnce | None = None
    """Moves that hold a host at the same time."""


class RuleModel(RulesGroup):
    """One wish: hosts of these pools go to that pool while the condition holds."""

    name: RuleName
    """Unique; shown in the journal and as a label of metrics."""
    description: str = ""
    """For people."""
    gpu_types: Texts | None = None
    """GPU types, each decided by itself; default: all."""
    variant: str | None = None
    """Variant of the origin's GPU type; `none` for hosts without one; default: any."""
    sites: Texts | None = None
    """NetBox sites, to which all sums are limited too; default: all."""
    tenants: Texts | None = None
    """NetBox tenants of the hosts that may be taken; default: all."""
    from_pools: Annotated[tuple[PoolName, ...], DISTINCT, Field(min_length=1)] = Field(alias="from")
    """Pools that hosts are taken out of."""
    to: PoolName
    """Pool that they go to."""
    to_variant: str | None = None
    """Variant of the destination; needed where the pool has several aggregates of the GPU type."""
    contract: str | None = None
    """Which contract, where `from` or `to` is contract."""
    when: str
    """CEL expression over the facts that starts the rule."""
    until: str | None = None
    """CEL expression that stops it; between the two it goes on. Default: it stops when `when` is false."""
    hold: Duration = Field(default=timedelta(0), alias="for")
    """How long `when` must hold without a break; unknown breaks it."""
    count: CountOrExpression = 1
    """Hosts per cycle: a number, or a CEL expression that gives one."""
    at_most: Positive = 10
    """Hosts per cycle, whatever `count` says."""
    hosts: HostChoice = Field(default_factory=HostChoice)
    """Which hosts."""
    limits: RuleLimits = Field(default_factory=RuleLimits)
    """How much."""
    windows: Annotated[tuple[Window, ...], Field(max_length=MOST_WINDOWS), DISTINCT] = ()
    """When it may act; default: at any time."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.to in self.from_pools:
            raise refused(f"from and to both name {self.to}", "to", "from")
        if self.contract is None and "contract" in (*self.from_pools, self.to):
            raise refused("contract is required where from or to is contract", "to", "from")
        if self.contract is not None and "contract" not in (*self.from_pools, self.to):
            raise refused("contract is set and neither from nor to is contract", "contract")
        return self


class RulesFile(RulesGroup):
    """A rules file."""

    mode: Mode = "dry-run"
    """`observe`: rules are not asked; `dry-run`: planned and shown; `active`: moved."""
    time_zone: TimeZone = "UTC"
    """Of `hour`, `weekday`, windows and freeze dates."""
    limits: AllLimits = Field(default_factory=AllLimits)
    """Over all rules together."""
    max_age: MaxAge = Field(default_factory=MaxAge)
    """How old readings may be."""
    freeze_dates: Annotated[tuple[FreezeDate, ...], Field(max_length=MOST_FREEZE_DATES), DISTINCT] = ()
    """Days on which nothing moves."""
    rules: Annotated[tuple[RuleModel, ...], Field(max_length=MOST_RULES)] = ()
    """In order: where two rules want one host, the first takes it."""
