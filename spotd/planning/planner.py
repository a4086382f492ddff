"""Makes the plan of one cycle: which hosts which rule takes now.

Conflicts are resolved in this order: rules as they stand in the file; within a rule, GPU types by name;
within a type, hosts by the rule's own order. A host that one rule took is refused to all later ones, and
no move is planned after which a rule would take the host, or another one moved in this plan, out again.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from spotd.fleet.snapshot import ClassifiedAggregate, FleetSnapshot, Host, Pool
from spotd.planning.arrivals import arrivals, as_moved
from spotd.planning.budgets import Budgets
from spotd.planning.census import Census, Kind, Scopes, kind_of, type_key
from spotd.planning.guards import cycle_refusal, host_refusal, reading_missing, reading_stale
from spotd.planning.move_guards import Proposal, move_refusal, takes_nvlink
from spotd.planning.order import in_order
from spotd.planning.plan import Plan, PlannedMove, RuleKey, Verdict, out_of_scope, place_of
from spotd.planning.refusals import Code, Refusal
from spotd.planning.rules import Rules
from spotd.planning.states import IDLE, RuleState, Truth, step_rule
from spotd.planning.surroundings import RecentMove, Standing, Surroundings, pool_aggregates, survey
from spotd.planning.values import in_words
from spotd.planning.wishes import Wish, conditions, describe, destination, mentions, times, wishes

ALONE = Standing()
Arrival = tuple[str, Pool, Kind, bool | None]
"""GPU type, pool and kind of a host where a move puts it, and whether it has NVLink."""


def make_plan(
    rules: Rules,
    snapshot: FleetSnapshot,
    recent_moves: Iterable[RecentMove],
    now: datetime,
    rule_states: Mapping[RuleKey, RuleState],
    *,
    standing: Standing = ALONE,
) -> Plan:
    """The plan of one cycle; the same arguments always give the same plan.

    Args:
        rules: A checked rules file.
        snapshot: The fleet.
        recent_moves: Moves that run, or were begun within the longest cooldown and the last day.
        now: The time, aware.
        rule_states: What the plan before this one gave back.
        standing: Lease, freeze, and what else only the daemon knows.
    """
    recent = tuple(recent_moves)
    around = survey(rules, snapshot, recent, now, standing)
    planner = _Planner(around, Budgets(rules.limits, recent, now), rule_states)
    verdicts = tuple(planner.decide(wish) for wish in planner.wishes)
    return Plan(
        mode=rules.mode,
        made_at=now,
        assembled_at=snapshot.assembled_at,
        moves=tuple(planner.moves),
        verdicts=verdicts,
        rule_states=planner.states,
        hosts=tuple(snapshot.hosts),
        rules=tuple(rule.name for rule in rules.rules),
        outside={rule.name: out_of_scope(describe(rule)) for rule in rules.rules},
    )


class _Planner:
    """One cycle: the counts as the plan so far leaves them, and what was decided."""

    def __init__(
        self, around: Surroundings, budgets: Budgets, rule_states: Mapping[RuleKey, RuleState]
    ) -> None:
        self._around = around
        self._budgets = budgets
        self._census, self._staying = Census(around.snapshot), Census(around.snapshot)
        for arrival in arrivals(around):
            if arrival.is_counted:
                self._census.add(arrival.host, -1)
                self._staying.add(arrival.host, -1)
            self._census.add(arrival.arrived, 1)
        self._times = times(around.rules, around.snapshot, around.now)
        self._stop = cycle_refusal(around)
        self._host_refusals: dict[str, Refusal | None] = {}
        self._answers: dict[object, dict[str, ClassifiedAggregate | Refusal]] = {}
        self._scopes = Scopes(around.snapshot)
        self._taken: dict[str, str] = {}
        self._arrived: dict[Arrival, None] = {}
        self._takers_of: dict[Arrival, list[Wish]] = {}
        self.moves: list[PlannedMove] = []
        self.wishes = wishes(around.rules, around.snapshot)
        self._spelled = {type_key(c.gpu_type): c.gpu_type for c in around.snapshot.aggregates if c.gpu_type}
        self._open = {rule.name: rule.is_open(around.now) for rule in around.rules.rules}
        self._leaving: dict[tuple[str, Pool], list[Wish]] = {}
        for wish in self.wishes:
            for pool in wish.rule.from_pools if self._open[wish.rule.name] else ():
                self._leaving.setdefault((wish.gpu_type, pool), []).append(wish)
        self._facts = {wish.key: wish.facts(self._census, self._times) for wish in self.wishes}
        unread = reading_missing(around) or reading_stale(around)
        self._conditions = conditions(self.wishes, self._facts, unread)
        self.states = {
            key: step_rule(
                rule_states.get(key, IDLE),
                condition,
                around.now,
                # Servers are asked at every refresh, so this is the longest time that counts as "just now".
                longest_gap=around.rules.max_age.servers,
            )
            for key, condition in self._conditions.items()
        }

    def decide(self, wish: Wish) -> Verdict:
        """What the rule wants of the hosts of one GPU type; its moves are added to the plan."""
        scope = self._scopes.hosts(wish.origin)
        target = destination(wish, self._around.snapshot)
        wanted = wish.wanted(self._facts[wish.key])
        blocked, by_host = self._blocked(wish, target, wanted), {}
        if blocked is None and not isinstance(target, Refusal) and not isinstance(wanted, Refusal):
            by_host = self._take(wish, scope, target, wanted)
        named = mentions(wish.rule)
        condition = self._conditions[wish.key]
        failure = condition.reason if condition.is_failure else None
        if blocked is not None and blocked.code is Code.RULE_FAILED:
            failure = blocked.sentence
        return Verdict(
            rule=wish.rule.name,
            gpu_type=self._spelled.get(wish.gpu_type, wish.gpu_type),
            condition=condition,
            state=self.states[wish.key],
            failure=failure,
            facts={name: value for name, value in self._facts[wish.key].items() if name in named},
            scope=tuple(host.name for host in scope),
            blocked=blocked,
            by_host=by_host,
        )

    def _blocked(
        self, wish: Wish, target: ClassifiedAggregate | Refusal, wanted: int | Refusal
    ) -> Refusal | None:
        """Why the rule takes no host at all."""
        if self._stop is not None:
            return self._stop
        if not self._open[wish.rule.name]:
            return Refusal(Code.WINDOW_CLOSED, "none of the rule's windows is open")
        if (idle := self._idle(wish)) is not None:
            return idle
        for refused in (target, wanted):
            if isinstance(refused, Refusal):
                return refused
        return self._budgets.refusal(wish.rule)

    def _idle(self, wish: Wish) -> Refusal | None:
        """Why the rule's condition does not let it act."""
        state, condition = self.states[wish.key], self._conditions[wish.key]
        if state.is_active:
            return None
        if condition.is_unknown:
            code = Code.RULE_FAILED if condition.is_failure else Code.CONDITION_UNKNOWN
            return Refusal(code, f"the condition is unknown: {condition.reason}")
        if state.since is not None:
            held = in_words(self._around.now - state.since)
            sentence = f"{wish.rule.when.text} holds for {held} of {in_words(wish.rule.hold)}"
            return Refusal(Code.CONDITION_PENDING, sentence)
        if condition.when is Truth.TRUE and wish.rule.until is not None:
            return Refusal(Code.CONDITION_FALSE, f"until holds: {wish.rule.until.text}")
        return Refusal(Code.CONDITION_FALSE, f"does not hold: {wish.rule.when.text}")

    def _take(
        self, wish: Wish, scope: list[Host], target: ClassifiedAggregate, wanted: int
    ) -> dict[str, Refusal]:
        """Plan moves of the rule up to its limits; why not, for every host that stays."""
        refused: dict[str, Refusal] = {}
        fit: dict[str, tuple[Host, ClassifiedAggregate]] = {}
        for host in scope:
            checked = self._checked(wish, host, target)
            if isinstance(checked, Refusal):
                refused[host.name] = checked
            else:
                fit[host.name] = host, checked
        left = wanted
        enough = Refusal(Code.ENOUGH, f"the rule wants {wanted} in this cycle")
        tried: dict[object, Refusal] = {}
        hosts = [host for host, _ in fit.values()]
        for host in in_order(hosts, wish.rule.hosts.order, self._around.standing.empty_since):
            # What the counts refused to one host they refuse to its like, until a move changes them.
            alike = (
                self._scopes.kinds[host.name],
                host.pool,
                host.nvlink,
                host.gpus,
                host.gpus_used,
                host.server_ids,
            )
            refusal = enough if left <= 0 else tried.get(alike)
            refusal = refusal or self._try(wish, host, fit[host.name][1], target)
            if refusal is not None:
                tried[alike] = refused[host.name] = refusal
                continue
            tried.clear()
            left -= 1
            if (exhausted := self._budgets.refusal(wish.rule)) is not None:
                left, enough = 0, exhausted
            elif left > 0 and not self._fires(wish):
                left, enough = 0, Refusal(Code.ENOUGH, "the moves before make the condition false")
        return refused

    def _checked(self, wish: Wish, host: Host, target: ClassifiedAggregate) -> ClassifiedAggregate | Refusal:
        """The aggregate that the host would leave, or the guard that refuses its move."""
        if host.name in self._taken:
            return Refusal(Code.TAKEN, f"rule {self._taken[host.name]} takes it in this cycle")
        rule = wish.rule
        # All that guards look at in a rule, so that rules which say the same share the answers.
        alike = (rule.hosts.take, rule.hosts.nvlink, rule.limits.cooldown, target.aggregate.id)
        answers = self._answers.setdefault(alike, {})
        if host.name not in answers:
            answers[host.name] = self._asked(wish, host, target)
        return answers[host.name]

    def _asked(self, wish: Wish, host: Host, target: ClassifiedAggregate) -> ClassifiedAggregate | Refusal:
        if host.name not in self._host_refusals:
            self._host_refusals[host.name] = host_refusal(host, self._around)
        if (refusal := self._host_refusals[host.name]) is not None:
            return refusal
        (origin,) = pool_aggregates(host, self._around)
        proposal = Proposal(host=host, rule=wish.rule, origin=origin, destination=target)
        return move_refusal(proposal, self._around) or origin

    def _try(
        self, wish: Wish, host: Host, origin: ClassifiedAggregate, target: ClassifiedAggregate
    ) -> Refusal | None:
        """Count the host where it goes and plan its move, unless the counts then speak against it."""
        moved = as_moved(host, target)
        if (refusal := self._keeps(wish, host)) is not None:
            return refusal
        arrival = (wish.gpu_type, wish.rule.to, kind_of(moved), host.nvlink)
        self._census.move(host, moved)
        if (undoing := self._undoing(arrival)) is not None:
            self._census.move(moved, host)
            sentence = f"rule {undoing} would move it, or a host moved in this plan, out again"
            return Refusal(Code.WOULD_BE_UNDONE, sentence)
        self._arrived[arrival] = None
        self._taken[host.name] = wish.rule.name
        self._staying.add(host, -1)
        self._budgets.spend(wish.rule.name)
        self.moves.append(self._planned(wish, host, origin, target))
        return None

    def _keeps(self, wish: Wish, host: Host) -> Refusal | None:
        """What must stay at the origin; who is on the way there does not count: it may be taken back."""
        limits = wish.rule.limits
        if not limits.keep_hosts and not limits.keep_free_gpus:
            return None
        sums = self._staying.sums(wish.origin)
        if limits.keep_hosts and sums.get("hosts", 0) - 1 < limits.keep_hosts:
            return Refusal(Code.KEEP_HOSTS, f"{limits.keep_hosts} hosts stay at the origin")
        free = host.gpus_free or 0
        if limits.keep_free_gpus and sums.get("free_gpus", 0) - free < limits.keep_free_gpus:
            return Refusal(Code.KEEP_FREE_GPUS, f"{limits.keep_free_gpus} free GPUs stay at the origin")
        return None

    def _undoing(self, arrival: Arrival) -> str | None:
        """The rule that would take out again what this plan moves."""
        for wish in self._takers(arrival):
            if self._fires(wish):
                return wish.rule.name
        return None

    def _takers(self, arrival: Arrival) -> Iterable[Wish]:
        """The rules that may take a host that arrives there, or one that this plan moved before."""
        if arrival not in self._takers_of:
            gpu_type, pool, kind, nvlink = arrival
            self._takers_of[arrival] = [
                wish
                for wish in self._leaving.get((gpu_type, pool), ())
                if wish.origin.includes(kind) and takes_nvlink(wish.rule, nvlink=nvlink)
            ]
        found = {wish.key: wish for taken in (*self._arrived, arrival) for wish in self._takers_of[taken]}
        return [wish for wish in found.values() if wish.gpu_type == arrival[0]]

    def _fires(self, wish: Wish) -> bool:
        """Whether the rule would act on the counts as they are now, its `for` aside."""
        facts = wish.facts(self._census, self._times)
        return wish.fires(facts, is_active=self.states[wish.key].is_active)

    def _planned(
        self, wish: Wish, host: Host, origin: ClassifiedAggregate, target: ClassifiedAggregate
    ) -> PlannedMove:
        facts = self._facts[wish.key]
        named = sorted(wish.rule.when.mentions)
        values = ", ".join(f"{name} = {facts[name]:g}" for name in named if name in facts)
        return PlannedMove(
            host=host.name,
            rule=wish.rule.name,
            gpu_type=host.gpu_type or wish.gpu_type,
            origin=place_of(origin),
            destination=place_of(target),
            reason=f"{wish.rule.when.text} ({values})" if values else wish.rule.when.text,
            drain_deadline=wish.rule.hosts.drain_deadline if host.server_ids else None,
        )
