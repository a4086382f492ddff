"""What the API shows of previews, plans and rules."""

import shlex

from pydantic import BaseModel, Field

from spotd.planning.by_hand import GuardVerdict
from spotd.planning.plan import Plan
from spotd.planning.rules import Rule
from spotd.planning.wishes import describe
from spotd.store.records import MoveOrder
from spotd.web.api.move_views import PlaceView, seconds
from spotd.web.api.paging import Page


class VerdictView(BaseModel):
    """One guard's verdict."""

    guard: str
    passes: bool
    code: str | None
    sentence: str | None


class PlannedStep(BaseModel):
    """One step of a move, and the command that does the same by hand."""

    step: str
    does: str
    command: str | None = Field(description="Null: it waits or looks.")


class PreviewView(BaseModel):
    """What a move would do."""

    host: str
    target_aggregate: str
    allowed: bool
    refusal: VerdictView | None = Field(description="The first guard that says no.")
    origin: PlaceView | None
    destination: PlaceView | None
    steps: list[PlannedStep]
    verdicts: list[VerdictView]


class PlannedMoveView(BaseModel):
    """A move that the rules want now."""

    host: str
    rule: str
    gpu_type: str
    origin: str
    destination: str
    reason: str
    drains: bool


class RuleStateView(BaseModel):
    """What a rule thinks of one GPU type."""

    rule: str
    gpu_type: str
    condition: str = Field(description="`true`, `false` or `unknown`.")
    acting: bool
    since_timestamp: float | None
    facts: dict[str, float]
    hosts_in_scope: int
    blocked: VerdictView | None


class PlanRefusalView(BaseModel):
    """Why a rule does not take a host."""

    host: str
    rule: str
    code: str
    sentence: str


class PlanView(BaseModel):
    """The plan of the last cycle."""

    mode: str
    made_timestamp: float
    snapshot_timestamp: float
    moves: list[PlannedMoveView]
    rules: list[RuleStateView]
    refusals: Page[PlanRefusalView]


class RuleView(BaseModel):
    """A rule of the file."""

    name: str
    takes: str = Field(description="Its hosts in words.")
    to: str
    when: str
    until: str | None
    states: list[RuleStateView]


def verdict_view(verdict: GuardVerdict) -> VerdictView:
    """A guard's verdict."""
    refusal = verdict.refusal
    return VerdictView(
        guard=verdict.guard,
        passes=refusal is None,
        code=None if refusal is None else refusal.code,
        sentence=None if refusal is None else refusal.sentence,
    )


def planned_steps(order: MoveOrder) -> list[PlannedStep]:
    """The steps of a move in order, with what does the same by hand."""
    host = shlex.quote(order.host)
    origin, destination = shlex.quote(order.origin.name), shlex.quote(order.destination.name)
    openstack = "openstack"
    return [
        PlannedStep(step="claim", does="The move holds the host: no other may begin.", command=None),
        PlannedStep(
            step="fence",
            does="The compute service is disabled, so that no server is scheduled there.",
            command=f"{openstack} compute service set --disable --disable-reason spotd {host} nova-compute",
        ),
        PlannedStep(
            step="settle",
            does="Requests that were under way land, and nothing is on the host: no server, no allocation.",
            command=f"{openstack} server list --all-projects --host {host}",
        ),
        PlannedStep(step="prove", does="Every guard is asked again on the live host.", command=None),
        PlannedStep(
            step="leave",
            does=f"The host leaves {order.origin.name}.",
            command=f"{openstack} aggregate remove host {origin} {host}",
        ),
        PlannedStep(
            step="join",
            does=f"The host joins {order.destination.name}.",
            command=f"{openstack} aggregate add host {destination} {host}",
        ),
        PlannedStep(
            step="verify",
            does="Nova and Placement both have it there and nowhere else.",
            command=f"{openstack} aggregate show {destination}",
        ),
        PlannedStep(
            step="release",
            does="The compute service is enabled again.",
            command=f"{openstack} compute service set --enable {host} nova-compute",
        ),
    ]


def rule_states(plan: Plan) -> list[RuleStateView]:
    """What each rule thinks of each GPU type."""
    return [
        RuleStateView(
            rule=verdict.rule,
            gpu_type=verdict.gpu_type,
            condition=str(verdict.condition.when),
            acting=verdict.state.is_active,
            since_timestamp=seconds(verdict.state.since),
            facts={name: float(value) for name, value in verdict.facts.items()},
            hosts_in_scope=len(verdict.scope),
            blocked=None if verdict.blocked is None else verdict_view(GuardVerdict("rule", verdict.blocked)),
        )
        for verdict in plan.verdicts
    ]


def rule_view(rule: Rule, states: list[RuleStateView]) -> RuleView:
    """A rule with what it thinks."""
    return RuleView(
        name=rule.name,
        takes=describe(rule),
        to=rule.to,
        when=rule.when.text,
        until=None if rule.until is None else rule.until.text,
        states=[state for state in states if state.rule == rule.name],
    )
