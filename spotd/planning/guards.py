"""Guards of the cycle and of hosts: each looks at one thing and returns why not, or None.

A guard asks for proof: what is unknown refuses, in its own words. The executor asks the guards of hosts
and of moves again on the live view of one host.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from spotd.fleet.snapshot import ContradictionKind, Host
from spotd.fleet.workload import IN_TRANSIT
from spotd.planning.refusals import Code, Refusal
from spotd.planning.surroundings import Surroundings, needed_sources, pool_aggregates
from spotd.planning.values import in_words

CycleGuard = Callable[[Surroundings], Refusal | None]
HostGuard = Callable[[Host, Surroundings], Refusal | None]


def observing(around: Surroundings) -> Refusal | None:
    """The mode says only to look."""
    if around.rules.mode == "observe":
        return Refusal(Code.OBSERVING, "the rules file's mode is observe")
    return None


def not_leader(around: Surroundings) -> Refusal | None:
    """Another daemon acts."""
    if not around.standing.is_leader:
        return Refusal(Code.NOT_LEADER, "this daemon does not hold the lease")
    return None


def frozen(around: Surroundings) -> Refusal | None:
    """Somebody, or spotd itself, froze all moves."""
    reason = around.standing.frozen
    return None if reason is None else Refusal(Code.FROZEN, f"all moves are frozen: {reason}")


def freeze_date(around: Surroundings) -> Refusal | None:
    """Today is one of the file's freeze dates."""
    today = around.rules.local(around.now).date()
    for freeze in around.rules.freeze_dates:
        if freeze.first <= today <= freeze.last:
            return Refusal(Code.FREEZE_DATE, f"{freeze.first} to {freeze.last}: {freeze.reason}")
    return None


def reading_missing(around: Surroundings) -> Refusal | None:
    """A source has no good answer."""
    snapshot = around.snapshot
    missing = [source for source in needed_sources(snapshot) if snapshot.readings.of(source) is None]
    return Refusal(Code.READING_MISSING, f"no reading of {', '.join(missing)}") if missing else None


def reading_stale(around: Surroundings) -> Refusal | None:
    """A source's last good answer is too old to decide on."""
    for source in needed_sources(around.snapshot):
        reading = around.snapshot.readings.of(source)
        allowed: timedelta = getattr(around.rules.max_age, source.value)
        if reading is not None and (age := reading.age_seconds(around.now)) > allowed.total_seconds():
            sentence = f"the reading of {source} is {age:.0f} s old, allowed are {in_words(allowed)}"
            return Refusal(Code.READING_STALE, sentence)
    return None


def move_in_progress(host: Host, around: Surroundings) -> Refusal | None:
    """The host is being moved."""
    last = around.last_moves.get(host.name)
    if last is not None and last.finished_at is None:
        return Refusal(Code.MOVE_IN_PROGRESS, f"a move of it runs since {last.started_at.isoformat()}")
    return None


def reading_partial(host: Host, around: Surroundings) -> Refusal | None:
    """Placement could not be read for this host."""
    if around.unread and not around.unread.isdisjoint((host.name, host.hypervisor_hostname)):
        return Refusal(Code.READING_PARTIAL, "Placement could not be read for this host")
    return None


def in_one_pool(host: Host, around: Surroundings) -> Refusal | None:
    """The host is in exactly one aggregate that is a pool."""
    theirs = pool_aggregates(host, around)
    if not theirs:
        return Refusal(Code.NO_POOL, "it is in no aggregate that is a pool")
    if len(theirs) > 1 or host.pool is None:
        names = ", ".join(classified.aggregate.name for classified in theirs)
        return Refusal(Code.SEVERAL_POOLS, f"it is in several pools or of several kinds: {names}")
    return None


def gpu_type_proved(host: Host, around: Surroundings) -> Refusal | None:
    """All sources that name the GPU type name the same one."""
    if host.gpu_type is None:
        return Refusal(Code.GPU_TYPE_UNPROVED, "no source tells its GPU type")
    for found in around.contradictions.get(host.name, ()):
        if found.kind is ContradictionKind.GPU_TYPE:
            return Refusal(Code.GPU_TYPE_UNPROVED, found.detail)
    return None


def sources_agree(host: Host, around: Surroundings) -> Refusal | None:
    """No two sources contradict each other about the host."""
    theirs = around.contradictions.get(host.name, ())
    return Refusal(Code.SOURCES_DISAGREE, "; ".join(found.detail for found in theirs)) if theirs else None


def servers_known(host: Host, around: Surroundings) -> Refusal | None:  # noqa: ARG001 - a guard's signature
    """It is known which servers are on the host."""
    if host.server_ids is None:
        return Refusal(Code.SERVERS_UNKNOWN, "nobody knows how many servers are on it")
    return None


def gpus_known(host: Host, around: Surroundings) -> Refusal | None:  # noqa: ARG001 - a guard's signature
    """GPUs and used GPUs are known."""
    if host.gpus is None or host.gpus_used is None:
        return Refusal(Code.GPUS_UNKNOWN, "its GPUs, or how many are used, are unknown")
    return None


def service_enabled(host: Host, around: Surroundings) -> Refusal | None:  # noqa: ARG001 - a guard's signature
    """The compute service is enabled: what somebody disabled stays where it is."""
    if host.service_status is None or host.service_state is None:
        return Refusal(Code.SERVICE_UNKNOWN, "Nova has no compute service for it")
    if host.service_status != "enabled":
        reason = host.disabled_reason or "no reason given"
        return Refusal(Code.SERVICE_DISABLED, f"its compute service is {host.service_status}: {reason}")
    return None


def service_up(host: Host, around: Surroundings) -> Refusal | None:  # noqa: ARG001 - a guard's signature
    """The compute service answers."""
    if host.service_state != "up":
        return Refusal(Code.SERVICE_DOWN, f"its compute service is {host.service_state}")
    return None


def netbox_active(host: Host, around: Surroundings) -> Refusal | None:
    """Where NetBox is configured, it says `active`."""
    if around.snapshot.readings.netbox is not None and host.netbox_status != "active":
        says = host.netbox_status or "nothing"
        return Refusal(Code.NETBOX_STATUS, f"NetBox says {says} about it, not active")
    return None


def no_server_changing(host: Host, around: Surroundings) -> Refusal | None:
    """No server that is on the host is being built, resized or migrated; one that left it is seen live."""
    servers = around.snapshot.readings.servers
    if not host.server_ids or servers is None:
        return None
    for server_id in host.server_ids:
        server = servers.value.servers[server_id]
        if server.task_state is not None or server.status in IN_TRANSIT:
            doing = server.task_state or server.status.lower()
            return Refusal(Code.MIGRATION_IN_FLIGHT, f"server {server_id} is changing ({doing})")
    return None


def nothing_seen_live(host: Host, around: Surroundings) -> Refusal | None:
    """The last look at the live clouds, where there was one a moment ago, did not refuse it."""
    return around.standing.seen_live.get(host.name)


def cooled_down(host: Host, around: Surroundings) -> Refusal | None:
    """The last move of the host is long enough ago for every rule."""
    return cooldown(host, around, around.rules.limits.cooldown)


CYCLE_GUARDS: tuple[CycleGuard, ...] = (
    # Whether anything may move at all; the first that holds is told. Who may act goes before what is known.
    observing,
    not_leader,
    frozen,
    freeze_date,
    reading_missing,
    reading_stale,
)

HOST_GUARDS: tuple[HostGuard, ...] = (
    # What no rule can change. Unknowns go before what would be read from them; the cooldown comes last,
    # since it passes by itself.
    move_in_progress,
    reading_partial,
    in_one_pool,
    gpu_type_proved,
    servers_known,
    gpus_known,
    sources_agree,
    service_enabled,
    service_up,
    netbox_active,
    no_server_changing,
    nothing_seen_live,
    cooled_down,
)


def cycle_refusal(around: Surroundings) -> Refusal | None:
    """Why nothing may move now."""
    return next((found for guard in CYCLE_GUARDS if (found := guard(around)) is not None), None)


def host_refusal(host: Host, around: Surroundings) -> Refusal | None:
    """Why no rule may take the host now."""
    for guard in HOST_GUARDS:
        if (found := guard(host, around)) is not None:
            return found
    return None


def cooldown(host: Host, around: Surroundings, length: timedelta) -> Refusal | None:
    """Whether the last move of the host is less than this ago."""
    last = around.last_moves.get(host.name)
    if last is None or last.finished_at is None:
        return None
    ends: datetime = last.finished_at + length
    if around.now >= ends:
        return None
    return Refusal(
        Code.COOLDOWN, f"it moved at {last.finished_at.isoformat()} and stays for {in_words(length)}"
    )
