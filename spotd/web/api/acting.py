"""What the API is given to plan and to act: the journal, and the daemon's own view of what may move."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from spotd.fleet.snapshot import ClassifiedAggregate
from spotd.fleet.values import Aggregate
from spotd.planning.by_hand import GuardVerdict
from spotd.planning.plan import Plan
from spotd.planning.refusals import Refusal
from spotd.planning.rules import Rules
from spotd.planning.surroundings import RecentMove, Surroundings
from spotd.store.journal import Journal
from spotd.store.records import Freeze, LeaseHolder, MoveOrder


class Preview(Protocol):
    """What a move would do, and what each guard says of it."""

    @property
    def order(self) -> MoveOrder | None:
        """None where host or aggregates cannot even be named."""
        ...

    @property
    def verdicts(self) -> tuple[GuardVerdict, ...]:
        """Each guard's."""
        ...

    @property
    def refusal(self) -> Refusal | None:
        """The first that says no."""
        ...


class PreviewMaker(Protocol):
    """Previews the move of a host to an aggregate."""

    def __call__(
        self, host_name: str, to: str, around: Surroundings, *, asked_by: str, reason: str
    ) -> Preview:
        """What the guards say of it, on the snapshot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """How the API plans and acts; all of it goes through the journal, which the leader carries out."""

    journal: Journal
    surroundings: Callable[[], Surroundings | None]
    """The fleet as guards see it now; None while there is no snapshot."""
    recent: Callable[[], tuple[RecentMove, ...]]
    """Moves that budgets count."""
    preview: PreviewMaker
    targets: Callable[[str, Surroundings], tuple[ClassifiedAggregate, ...]]
    """The aggregates that a host could be moved to."""
    plan: Callable[[], Plan | None]
    """Of the last cycle; None before the first."""
    rules: Callable[[], Rules | None]
    """None: no file of rules is configured."""
    freeze: Callable[[], Freeze | None]
    """What freezes all moves now."""
    holder: Callable[[], LeaseHolder | None]
    """Who acts."""
    recover: Callable[[str], None]
    """Has the leader settle what is open or stranded; given who asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateChanges:
    """Changes of aggregates in the cloud; each raises `CloudError`."""

    live: Callable[[], tuple[Aggregate, ...]]
    create: Callable[[str, str | None], Aggregate]
    set_metadata: Callable[[int, Mapping[str, str | None]], Aggregate]
    delete: Callable[[int], None]


Clock = Callable[[], datetime]
