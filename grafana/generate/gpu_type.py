"""GPU type: how much of one type can still be sold, and on which hosts."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from generate.colours import BAD, GOOD, MUTED, NO_WORD, POOLS, REASONS, WARN, named
from generate.fleet import NEARLY_SOLD_OUT, SOLD_OUT_MEANS
from generate.frame import Placed, Question, board, query_variable
from generate.panels import Column, Meaning, Panel, bars, graph, number, rows
from generate.queries import Query, free_gpus, max_by, of, sum_by, used_share

OF_TYPE = 'gpu_type="$gpu_type"'
ON_DEMAND = 'pool="ondemand"'
SPOT = 'pool="spot"'
POOL_WORDS = named(POOLS, without="no pool")
STATUS_WORDS = {
    "enabled": ("enabled", GOOD),
    "disabled": ("disabled", WARN),
    "up": ("up", GOOD),
    "down": ("down", BAD),
    "": ("unknown", MUTED),
}
HEADROOM = ((float("-inf"), BAD), (1, WARN), (17, GOOD))
"""16 GPUs are two hosts of eight: below that the next large order may fail."""


def gpu_type() -> Dashboard:
    """The board behind each GPU type of the fleet."""
    return board(
        "gpu-type",
        "How much of one GPU type can still be sold, in which pool and variant, and on which hosts?",
        (_headroom(), _variants(), _hosts()),
        chosen=(
            query_variable(
                "gpu_type",
                "GPU type",
                'label_values(spotd_out_of_stock_hosts{job=~"$job", instance=~"$instance"}, gpu_type)',
                several=False,
                description="The GPU type that is shown; each has series even when all its hosts are for"
                " sale.",
            ),
        ),
    )


def _numbers() -> tuple[Panel, ...]:
    spot = sum_by("", of("spotd_pool_gpus", OF_TYPE, SPOT))
    return (
        number(
            Meaning(
                title="On-demand GPUs free",
                description="Headroom: on-demand GPUs that nobody holds. Red: none. Yellow: up to 16, two"
                " hosts of eight, so that a large order may fail. Green: more. Unknown while a host is in no"
                " sum.",
            ),
            Query(free_gpus("", OF_TYPE, ON_DEMAND)),
            steps=HEADROOM,
        ),
        number(
            Meaning(
                title="On-demand hosts empty",
                description="Whole hosts that can be sold on demand at once, or lent to spot.",
            ),
            Query(f"sum({of('spotd_pool_free_hosts', OF_TYPE, ON_DEMAND)})"),
        ),
        number(
            Meaning(
                title="On-demand sold",
                description=f"Sold share of the on-demand GPUs. {SOLD_OUT_MEANS} Green: below.",
                unit="percentunit",
                decimals=1,
            ),
            Query(f"max({of('spotd_pool_gpu_utilization_ratio', OF_TYPE, ON_DEMAND)})"),
            steps=NEARLY_SOLD_OUT,
        ),
        number(
            Meaning(
                title="Spot's share",
                description="GPUs in the spot pool over all GPUs for sale of the type.",
                unit="percentunit",
                decimals=1,
            ),
            Query(f"{spot} / {sum_by('', of('spotd_pool_gpus', OF_TYPE))}"),
        ),
        number(
            Meaning(
                title="Spot hosts empty",
                description="Hosts that could come back from spot without anybody on them.",
            ),
            Query(f"sum({of('spotd_pool_free_hosts', OF_TYPE, SPOT)})"),
        ),
        number(
            Meaning(
                title="Out of stock",
                description="Hosts of the type that are not for sale, for whatever reason.",
            ),
            Query(f"sum({of('spotd_out_of_stock_hosts', OF_TYPE)})"),
        ),
    )


def _headroom() -> Question:
    free = graph(
        Meaning(
            title="Free GPUs by pool",
            description="GPUs for sale that nobody holds. Gaps: unknown, as while a host is in no sum.",
        ),
        Query(free_gpus("pool", OF_TYPE), "{{pool}}"),
        colours=POOLS,
    )
    sold = graph(
        Meaning(
            title="Sold share by pool",
            description="Sold GPUs over GPUs for sale. Dashed yellow at 85 %, red at 95 %: nearly sold out.",
            unit="percentunit",
        ),
        Query(used_share("pool", OF_TYPE), "{{pool}}"),
        colours=POOLS,
        steps=NEARLY_SOLD_OUT,
        full=1,
    )
    return Question(
        asks="How much $gpu_type can I still sell?",
        panels=(
            *(Placed(panel=panel, width=4, height=4) for panel in _numbers()),
            Placed(panel=free, width=12, height=9),
            Placed(panel=sold, width=12, height=9),
        ),
    )


def _variants() -> Question:
    facts = of("spotd_host_info", OF_TYPE)
    joined = f"* on (job, instance, host) group_left (variant) {facts}"
    gpus, used = of("spotd_host_gpus", OF_TYPE), of("spotd_host_gpus_used", OF_TYPE)
    labels = "variant, pool"
    table = rows(
        Meaning(
            title="Variants",
            description="Hosts in a pool by variant, such as NVLink, for sale or not. Colours name the pool.",
        ),
        (
            Column(field="variant", title="Variant", words={"": NO_WORD}),
            Column(field="pool", title="Pool", words=POOL_WORDS),
            Column(field="Value #A", title="Hosts", width=65),
            Column(field="Value #B", title="GPUs", width=65),
            Column(field="Value #C", title="Sold", width=65),
            Column(field="Value #D", title="Sold share", unit="percentunit", decimals=0, width=150, bar_to=1),
        ),
        Query(f"count by ({labels}) ({facts})"),
        Query(sum_by(labels, f"{gpus} {joined}")),
        Query(sum_by(labels, f"{used} {joined}")),
        Query(
            f"{sum_by(labels, f'({used} and {gpus}) {joined}')}"
            f" / {sum_by(labels, f'({gpus} and {used}) {joined}')}"
        ),
        sort_by="Hosts",
    )
    pools = graph(
        Meaning(
            title="Hosts by pool", description="Hosts for sale, stacked. Moves between pools show as steps."
        ),
        Query(sum_by("pool", of("spotd_pool_hosts", OF_TYPE)), "{{pool}}"),
        colours=POOLS,
        stacked=True,
    )
    reasons = bars(
        Meaning(
            title="Out of stock by reason",
            description="Hosts of the type that are not for sale, under the first reason that holds.",
        ),
        "reason",
        Query(max_by("reason", of("spotd_out_of_stock_hosts", OF_TYPE))),
        heading="Reason",
        value="Hosts",
        label_words=named(REASONS),
    )
    return Question(
        asks="In which pools and variants does $gpu_type stand?",
        panels=(
            Placed(panel=table, width=10, height=9),
            Placed(panel=pools, width=8, height=9),
            Placed(panel=reasons, width=6, height=9),
        ),
    )


def _hosts() -> Question:
    labels = "host"
    shown = "host, pool, variant, site, rack, tenant, netbox_status, service_status, service_state"
    table = rows(
        Meaning(
            title="Hosts of $gpu_type",
            description="Every host of the type, for sale or not. Bars: sold GPUs over GPUs. Green: service"
            " enabled and up. Yellow: disabled. Red: down.",
        ),
        (
            Column(field="host", title="Host"),
            Column(field="pool", title="Pool", width=95, words=POOL_WORDS),
            Column(field="variant", title="Variant", width=105, words={"": NO_WORD}),
            Column(field="Value #B", title="GPUs", width=70),
            Column(field="Value #C", title="Sold", width=70),
            Column(field="Value #D", title="Sold share", unit="percentunit", decimals=0, bar_to=1),
            Column(field="Value #E", title="Servers", width=80),
            Column(field="tenant", title="Tenant"),
            Column(field="site", title="Site", width=100),
            Column(field="rack", title="Rack", width=100),
            Column(field="netbox_status", title="NetBox", width=90),
            Column(field="service_status", title="Service", width=90, words=STATUS_WORDS),
            Column(field="service_state", title="State", width=90, words=STATUS_WORDS),
        ),
        Query(max_by(shown, of("spotd_host_info", OF_TYPE))),
        Query(max_by(labels, of("spotd_host_gpus", OF_TYPE))),
        Query(max_by(labels, of("spotd_host_gpus_used", OF_TYPE))),
        Query(max_by(labels, of("spotd_host_gpu_utilization_ratio", OF_TYPE))),
        Query(max_by(labels, of("spotd_host_servers", OF_TYPE))),
        sort_by="Host",
        falling=False,
    )
    return Question(asks="On which hosts?", panels=(Placed(panel=table, width=24, height=20),))
