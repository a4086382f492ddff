"""Customer: what one contract, tenant or owner has, uses and has gained or lost."""

from grafana_foundation_sdk.builders.dashboard import CustomVariable, Dashboard
from grafana_foundation_sdk.models.dashboard import VariableOption

from generate.colours import BAD, GOOD, MUTED, NO_WORD, POOLS, WARN, named
from generate.frame import Placed, Question, board, query_variable
from generate.panels import Column, Meaning, Panel, graph, none_wanted, number, rows
from generate.queries import Query, max_by, of

POOL_WORDS = named(POOLS, without="no pool")
THEIRS = of("spotd_host_info", '$by="$customer"')
ON_THEIRS = f"and on (job, instance, host) {THEIRS}"
GPUS, USED = of("spotd_host_gpus"), of("spotd_host_gpus_used")
KNOWN_THEN = f"and on (job, instance) {of('spotd_fleet_hosts')} offset $__range"
"""Nothing is new or gone compared with a time of which spotd tells nothing."""


def customer() -> Dashboard:
    """The board to open when a customer calls."""
    return board(
        "customer",
        "What does one contract, tenant or owner have, what of it is used, and what has changed?",
        (_has(), _hosts()),
        chosen=(
            CustomVariable("by")
            .label("Customer by")
            .description(
                "What makes a customer: the contract of an aggregate, or NetBox' tenant or tenant group."
            )
            .values("contract,tenant,owner_group")
            .current(VariableOption(text="contract", value="contract", selected=True)),
            query_variable(
                "customer",
                "Customer",
                'label_values(spotd_host_info{job=~"$job", instance=~"$instance", $by!=""}, $by)',
                several=False,
                description="The contract, tenant or owner that is shown.",
            ),
        ),
    )


def _numbers() -> tuple[Panel, ...]:
    return (
        number(
            Meaning(title="Hosts", description="GPU hosts of the customer, for sale or not."),
            Query(f"count({THEIRS})"),
        ),
        number(
            Meaning(title="GPUs", description="GPUs of those hosts, as far as they are known."),
            Query(f"sum({GPUS} {ON_THEIRS})"),
        ),
        number(
            Meaning(title="GPUs used", description="GPUs of those hosts that servers hold."),
            Query(f"sum({USED} {ON_THEIRS})"),
        ),
        number(
            Meaning(
                title="GPUs free",
                description="GPUs that nobody holds, on hosts of which both numbers are known.",
            ),
            Query(f"sum(({GPUS} - {USED}) {ON_THEIRS})"),
        ),
        number(
            Meaning(
                title="Used share",
                description="Used GPUs over GPUs, on hosts of which both are known.",
                unit="percentunit",
                decimals=1,
            ),
            Query(f"sum(({USED} and {GPUS}) {ON_THEIRS}) / sum(({GPUS} and {USED}) {ON_THEIRS})"),
        ),
        number(
            Meaning(
                title="Hosts in no sum",
                description="Hosts of the customer of which GPUs or their use are unknown: the numbers here"
                " leave them out. Green: none. Yellow from 1.",
            ),
            Query(f"count({THEIRS}) - (count(({GPUS} and {USED}) {ON_THEIRS}) or 0 * count({THEIRS}))"),
            steps=none_wanted(WARN),
        ),
    )


def _has() -> Question:
    use = graph(
        Meaning(
            title="GPUs used and free",
            description="On hosts of which both numbers are known, stacked: together all GPUs.",
        ),
        Query(f"sum(({USED} and {GPUS}) {ON_THEIRS})", "used"),
        Query(f"sum(({GPUS} - {USED}) {ON_THEIRS})", "free"),
        colours={"used": "#3274D9", "free": "#B8B8B8"},
        stacked=True,
    )
    pools = graph(
        Meaning(
            title="Hosts by pool", description="Hosts of the customer, stacked; `no pool` are out of stock."
        ),
        Query(f'label_replace(count by (pool) ({THEIRS}), "pool", "no pool", "pool", "")', "{{pool}}"),
        colours={**POOLS, "no pool": "#B8B8B8"},
        stacked=True,
    )
    return Question(
        asks="What does $customer have, and use?",
        panels=(
            *(Placed(panel=panel, width=4, height=4) for panel in _numbers()),
            Placed(panel=use, width=12, height=8),
            Placed(panel=pools, width=12, height=8),
        ),
    )


def _hosts() -> Question:
    shown = "host, gpu_type, variant, pool, site, rack, netbox_status, service_state"
    table = rows(
        Meaning(
            title="Hosts of $customer",
            description="Bars: used GPUs over GPUs. Green: the compute service is up. Red: it is down.",
        ),
        (
            Column(field="host", title="Host"),
            Column(field="gpu_type", title="GPU type", width=110),
            Column(field="variant", title="Variant", width=105, words={"": NO_WORD}),
            Column(field="pool", title="Pool", width=95, words=POOL_WORDS),
            Column(field="Value #B", title="GPUs", width=70),
            Column(field="Value #C", title="Used", width=70),
            Column(field="Value #D", title="Used share", unit="percentunit", decimals=0, bar_to=1),
            Column(field="Value #E", title="Servers", width=80),
            Column(field="site", title="Site", width=100),
            Column(field="rack", title="Rack", width=100),
            Column(field="netbox_status", title="NetBox", width=90),
            Column(
                field="service_state",
                title="State",
                width=100,
                words={"up": ("up", GOOD), "down": ("down", BAD), "": ("unknown", MUTED)},
            ),
        ),
        Query(max_by(shown, THEIRS)),
        Query(max_by("host", f"{GPUS} {ON_THEIRS}")),
        Query(max_by("host", f"{USED} {ON_THEIRS}")),
        Query(max_by("host", f"{of('spotd_host_gpu_utilization_ratio')} {ON_THEIRS}")),
        Query(max_by("host", f"{of('spotd_host_servers')} {ON_THEIRS}")),
        sort_by="Host",
        falling=False,
    )
    return Question(
        asks="On which hosts, and what has changed?",
        panels=(
            Placed(panel=table, width=24, height=13),
            Placed(panel=_changes("Hosts gained", "has now and had not", gained=True), width=12, height=6),
            Placed(panel=_changes("Hosts lost", "had and has no more", gained=False), width=12, height=6),
        ),
    )


def _changes(title: str, what: str, *, gained: bool) -> Panel:
    then = f"{THEIRS} offset $__range"
    now, before = (THEIRS, then) if gained else (then, THEIRS)
    both_known = KNOWN_THEN if gained else f"and on (job, instance) {of('spotd_fleet_hosts')}"
    return rows(
        Meaning(
            title=title,
            empty="none, or unknown then",
            description=f"Hosts that the customer {what} at the start of the time shown. No rows: none, or"
            " spotd knew no fleet then.",
        ),
        (Column(field="host", title="Host"), Column(field="pool", title="Pool", width=95, words=POOL_WORDS)),
        Query(max_by("host, pool", f"({now} unless on (job, instance, host) {before}) {both_known}")),
        sort_by="Host",
        falling=False,
    )
