"""What a rule remembers from cycle to cycle: since when its condition holds, and whether it acts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Truth(StrEnum):
    """The three answers of a condition."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a rule's expressions say now."""

    when: Truth
    until: Truth | None = None
    """None: the rule has no `until`."""
    hold: timedelta = timedelta(0)
    reason: str = ""
    """Why it is unknown."""
    is_failure: bool = False
    """Whether it is unknown because an expression failed on facts that are known."""

    @property
    def is_unknown(self) -> bool:
        """Whether one of the two cannot be told."""
        return Truth.UNKNOWN in (self.when, self.until)

    @property
    def goes_on(self) -> bool:
        """Whether a rule that acts already keeps acting."""
        if self.is_unknown:
            return False
        return self.when is Truth.TRUE if self.until is None else self.until is Truth.FALSE

    @property
    def starts(self) -> bool:
        """Whether a rule that does not act yet may begin, once this has held long enough."""
        return not self.is_unknown and self.when is Truth.TRUE and self.until is not Truth.TRUE


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState:
    """Where a rule stands for one GPU type."""

    is_active: bool = False
    since: datetime | None = None
    """Since when the condition holds without a break; None while it does not."""
    seen_at: datetime | None = None
    """When that was last looked at; None while it does not hold."""


IDLE = RuleState()


def step_rule(
    state: RuleState, condition: Condition, now: datetime, *, longest_gap: timedelta = timedelta.max
) -> RuleState:
    """The state after this cycle; an unknown condition breaks everything off, as does a false one.

    What happened in a gap longer than `longest_gap`, in which no cycle looked, is unknown too.
    """
    if state.seen_at is not None and now - state.seen_at > longest_gap:
        state = IDLE
    goes_on = condition.goes_on if state.is_active else condition.starts
    if not goes_on:
        return IDLE
    # A wall clock that was set back must not make the wait longer than the rule says.
    since = now if state.since is None else min(state.since, now)
    is_active = state.is_active or now - since >= condition.hold
    return RuleState(is_active=is_active, since=since, seen_at=now)
