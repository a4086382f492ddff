"""What keeps a host where it is: one refusal with a stable code for each reason."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from fleets import NOW, FleetBuilder, gpu_flavor

from spotd.fleet.readings import Source
from spotd.planning.load import parse_rules
from spotd.planning.planner import make_plan
from spotd.planning.refusals import Code, Refusal
from spotd.planning.surroundings import RecentMove, Standing

FROM = "rules: [{name: lend, from: [ondemand], to: spot, "
LEND = FROM + 'when: "true"}]'
HOUR = timedelta(hours=1)


def fleet(**host: object) -> FleetBuilder:
    """One idle on-demand host, as its arguments change it, and a spot pool."""
    given = {"netbox": "active", **host}
    return FleetBuilder().host("h1", "H100-n3", **given).aggregate("H100-n3-spot")  # type: ignore[arg-type]


def disagreeing() -> FleetBuilder:
    builder = FleetBuilder().service("h1").aggregate("H100-n3", "h1").aggregate("H100-n3-spot")
    return builder.device("h1", gpu_count=4).tree("h1", CUSTOM_GPU_H100=(8, 0))


def wrong_type() -> FleetBuilder:
    return fleet(gpus=None).tree("h1", CUSTOM_GPU_A100=(8, 0))


def builds_a_server() -> FleetBuilder:
    return fleet(used=8).server("h1", gpu_flavor(8), status="BUILD", task_state="spawning")


def shrinking_to_another_host() -> FleetBuilder:
    return fleet(used=8).server("elsewhere", gpu_flavor(8), status="VERIFY_RESIZE")


HOST_CASES: dict[str, tuple[Callable[[], FleetBuilder], str, Code]] = {
    "nothing speaks against it": (fleet, LEND, Code.ENOUGH),
    "partial reading": (lambda: fleet().unread("h1"), LEND, Code.READING_PARTIAL),
    "two pools": (lambda: fleet().aggregate("H100-n3-runpod", "h1"), LEND, Code.SEVERAL_POOLS),
    "two aggregates of a pool": (
        lambda: fleet().aggregate("H100-n3-NVLink", "h1"), LEND, Code.SEVERAL_POOLS,
    ),
    "GPU types disagree": (wrong_type, LEND, Code.GPU_TYPE_UNPROVED),
    "unknown GPUs": (lambda: fleet(gpus=None), LEND, Code.GPUS_UNKNOWN),
    "Placement and NetBox disagree": (disagreeing, LEND, Code.SOURCES_DISAGREE),
    "Nova and Placement disagree": (lambda: fleet(used=3), LEND, Code.SOURCES_DISAGREE),
    "no compute service": (
        lambda: FleetBuilder().aggregate("H100-n3", "h1").aggregate("H100-n3-spot")
        .device("h1").tree("h1", CUSTOM_GPU_H100=(8, 0)), LEND, Code.SOURCES_DISAGREE,
    ),
    "service disabled by somebody": (lambda: fleet(status="disabled"), LEND, Code.SERVICE_DISABLED),
    "service down": (lambda: fleet(state="down"), LEND, Code.SERVICE_DOWN),
    "NetBox says failed": (lambda: fleet(netbox="failed"), LEND, Code.NETBOX_STATUS),
    "NetBox does not know it": (lambda: fleet(netbox=None), LEND, Code.NETBOX_STATUS),
    "a server is changing": (builds_a_server, LEND, Code.MIGRATION_IN_FLIGHT),
    "servers on it": (lambda: fleet(servers=(4,)), LEND, Code.SERVERS_PRESENT),
    "allocations without servers": (shrinking_to_another_host, LEND, Code.GPUS_ALLOCATED),
    "NVLink unknown": (fleet, FROM + 'when: "true", hosts: {nvlink: never}}]', Code.NVLINK),
    "zones conflict": (
        lambda: fleet().aggregate("az1", "h1", zone="az1").aggregate("H100-n3-spot", zone="az2"),
        LEND, Code.ZONE_CONFLICT,
    ),
    "same zone": (
        lambda: fleet().aggregate("az1", "h1", zone="az1").aggregate("H100-n3-spot", zone="az1"),
        LEND, Code.ENOUGH,
    ),
    "a tenant filter stays on it": (
        lambda: fleet().aggregate("acme-only", "h1", metadata={"note": "x", "filter_tenant_id": "acme"}),
        LEND, Code.METADATA_STRANDS_FLAVOR,
    ),
    "the destination asks for a trait": (
        lambda: fleet().aggregate("H100-n3-spot", metadata={"note": "x", "trait:CUSTOM_SPOT": "required"}),
        LEND, Code.METADATA_STRANDS_FLAVOR,
    ),
    "no destination": (
        lambda: FleetBuilder().host("h1", "H100-n3", netbox="active"), LEND, Code.NO_DESTINATION,
    ),
    "several destinations": (
        lambda: fleet().aggregate("H100-n4-spot"), LEND, Code.SEVERAL_DESTINATIONS,
    ),
    "keeps hosts": (fleet, FROM + 'when: "true", limits: {keep_hosts: 1}}]', Code.KEEP_HOSTS),
    "keeps free GPUs": (fleet, FROM + 'when: "true", limits: {keep_free_gpus: 1}}]', Code.KEEP_FREE_GPUS),
    "false": (fleet, FROM + "when: from.hosts > 5}]", Code.CONDITION_FALSE),
    "until holds": (fleet, FROM + "when: from.hosts > 0, until: from.hosts > 0}]", Code.CONDITION_FALSE),
    "unknown": (fleet, FROM + "when: to.utilization > 0.5}]", Code.CONDITION_UNKNOWN),
    "pending": (fleet, FROM + 'when: "true", for: 10m}]', Code.CONDITION_PENDING),
    "count unknown": (
        fleet, FROM + 'when: "true", count: "int(to.utilization)"}]', Code.COUNT_UNKNOWN,
    ),
    "count of zero": (fleet, FROM + 'when: "true", count: to.hosts}]', Code.ENOUGH),
    "window closed": (
        fleet, FROM + 'when: "true", windows: [{cron: "0 13 * * *", for: 1h}]}]', Code.WINDOW_CLOSED,
    ),
    "window open": (
        fleet, FROM + 'when: "true", windows: [{cron: "0 12 * * *", for: 1m}]}]', Code.ENOUGH,
    ),
    "freeze date": (
        fleet, "freeze_dates: [{from: 2030-01-01, to: 2030-01-01}]\n" + LEND, Code.FREEZE_DATE,
    ),
    "freeze date tomorrow": (
        fleet, "freeze_dates: [{from: 2030-01-02, to: 2030-01-03}]\n" + LEND, Code.ENOUGH,
    ),
    "observing": (fleet, "mode: observe\n" + LEND, Code.OBSERVING),
    "no reading": (lambda: fleet().without(Source.SERVERS), LEND, Code.READING_MISSING),
    "no NetBox": (lambda: fleet().without(Source.NETBOX), LEND, Code.READING_MISSING),
    "NetBox is not configured": (lambda: fleet().unconfigured(Source.NETBOX), LEND, Code.ENOUGH),
    "stale": (lambda: fleet().read(Source.GPUS, NOW - HOUR), LEND, Code.READING_STALE),
    "out of scope": (fleet, LEND.replace("ondemand", "runpod"), Code.OUT_OF_SCOPE),
    "undone": (
        fleet,
        LEND[:-1] + ', {name: back, from: [spot], to: ondemand, when: "true"}]', Code.WOULD_BE_UNDONE,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "text", "code"), HOST_CASES.values(), ids=HOST_CASES)
def test_refuses(build: Callable[[], FleetBuilder], text: str, code: Code) -> None:
    plan = make_plan(parse_rules(text), build().snapshot(), (), NOW, {})

    refusal = plan.refusal("h1", "lend")
    told = Code.ENOUGH if refusal is None else refusal.code
    assert told is code
    assert bool(plan.moves) is (refusal is None)
    assert refusal is None or refusal.sentence


MOVED = RecentMove(host="h1", rule="lend", started_at=NOW - HOUR, finished_at=NOW - HOUR / 4)
RUNS = RecentMove(host="h1", rule=None, started_at=NOW - HOUR / 4, finished_at=None)
OTHER = RecentMove(host="h2", rule="lend", started_at=NOW - HOUR / 4, finished_at=NOW - HOUR / 4)
OLDER = RecentMove(host="h2", rule="lend", started_at=NOW - 5 * HOUR, finished_at=NOW - 4 * HOUR)
OPEN = RecentMove(host="h2", rule="lend", started_at=NOW - 48 * HOUR, finished_at=None)


@pytest.mark.parametrize(
    ("recent", "limits", "code"),
    [
        pytest.param((MOVED,), "", Code.COOLDOWN, id="cooldown of all"),
        pytest.param((MOVED,), "cooldown: 5m", Code.COOLDOWN, id="the longer cooldown holds"),
        pytest.param((RUNS,), "", Code.MOVE_IN_PROGRESS, id="move in progress"),
        pytest.param((OTHER,), "moves_per_hour: 1", Code.BUDGET_HOUR, id="hour"),
        pytest.param((OLDER,), "moves_per_hour: 1", None, id="an hour later"),
        pytest.param((OLDER,), "moves_per_day: 1", Code.BUDGET_DAY, id="day"),
        pytest.param((OPEN,), "moves_at_once: 1", Code.BUDGET_AT_ONCE, id="at once"),
        pytest.param((OPEN,) * 4, "", Code.BUDGET_AT_ONCE, id="at once, of all"),
    ],
)
def test_what_moved_lately_limits_what_moves_now(
    recent: tuple[RecentMove, ...], limits: str, code: Code | None
) -> None:
    rules = parse_rules(FROM + f'when: "true", limits: {{{limits}}}}}]')

    refusal = make_plan(rules, fleet().snapshot(), recent, NOW, {}).refusal("h1", "lend")

    assert (refusal and refusal.code) == code


def test_a_rule_may_ask_for_a_longer_cooldown() -> None:
    rules = parse_rules("limits: {cooldown: 1m}\n" + FROM + 'when: "true", limits: {cooldown: 20m}}]')

    refusal = make_plan(rules, fleet().snapshot(), (MOVED,), NOW, {}).refusal("h1", "lend")

    assert refusal is not None
    assert (refusal.code, "stays for 20m" in refusal.sentence) == (Code.COOLDOWN, True)


@pytest.mark.parametrize(
    ("standing", "code"),
    [
        (Standing(is_leader=False), Code.NOT_LEADER),
        (Standing(frozen="maintenance"), Code.FROZEN),
        (
            Standing(seen_live={"h1": Refusal(Code.MIGRATION_IN_FLIGHT, "it moves")}),
            Code.MIGRATION_IN_FLIGHT,
        ),
    ],
)
def test_what_the_daemon_knows_refuses(standing: Standing, code: Code) -> None:
    plan = make_plan(parse_rules(LEND), fleet().snapshot(), (), NOW, {}, standing=standing)

    refusal = plan.refusal("h1", "lend")
    assert refusal is not None
    assert refusal.code is code


@pytest.mark.parametrize(
    ("nvlink", "wish", "moves"),
    [
        (True, "never", False),
        (False, "never", True),
        (None, "never", False),
        (True, "only", True),
        (False, "only", False),
        (None, "only", False),
        (None, "any", True),
    ],
)
def test_nvlink_is_taken_as_the_rule_says(nvlink: bool | None, wish: str, moves: bool) -> None:
    rules = parse_rules(FROM + f'when: "true", hosts: {{nvlink: {wish}}}}}]')
    snapshot = fleet(netbox=None).device("h1", nvlink=nvlink).snapshot()

    assert bool(make_plan(rules, snapshot, (), NOW, {}).moves) is moves
