"""Fleet: what we have, what is sold, what is idle, what is not for sale and why."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from generate.colours import POOLS, WARN, named
from generate.frame import Placed, Question, board
from generate.itself import oldest_reading
from generate.links import TO_GPU_TYPE
from generate.panels import Column, Meaning, Panel, at_least, bars, graph, none_wanted, number, rows
from generate.queries import Query, free_gpus, max_by, of, sum_by, used_share
from generate.stock import contracts, out_of_stock

NEARLY_SOLD_OUT = at_least(warn=0.85, bad=0.95)
SOLD_OUT_MEANS = "Yellow from 85 %, red from 95 %: nearly sold out (alert SpotdOnDemandNearlySoldOut)."


def fleet() -> Dashboard:
    """The board that hangs on the wall."""
    return board(
        "fleet",
        "What do we have, what is sold, what is idle, and what is not for sale? One daemon, and so one"
        " region.",
        (_now(), _over_time(), out_of_stock(), contracts()),
    )


def _now() -> Question:
    unknown = of("spotd_pool_hosts_unknown", 'fact="gpus"')
    return Question(
        asks="What is sold, and what is idle?",
        panels=(
            Placed(panel=_gpus_for_sale(), width=3, height=4),
            Placed(panel=_gpus_sold(), width=3, height=4),
            Placed(panel=_gpus_free(), width=3, height=4),
            Placed(panel=_utilization(), width=3, height=4),
            Placed(
                panel=number(
                    Meaning(
                        title="Empty hosts",
                        description="Hosts for sale with no server and no used GPU, in pools of which that"
                        " is known.",
                    ),
                    Query(f"sum({of('spotd_pool_free_hosts')})"),
                ),
                width=3,
                height=4,
            ),
            Placed(
                panel=number(
                    Meaning(
                        title="Hosts out of stock",
                        description="GPU hosts that are not for sale, for whatever reason: see below.",
                    ),
                    Query(f"sum({of('spotd_out_of_stock_hosts')})"),
                ),
                width=3,
                height=4,
            ),
            Placed(
                panel=number(
                    Meaning(
                        title="Hosts in no sum",
                        description="Hosts for sale of which nobody tells the GPUs or their use: the numbers"
                        " here leave them out. Green: none. Yellow from 1 (alert SpotdHostsUncounted).",
                    ),
                    Query(f"sum({unknown})"),
                    steps=none_wanted(WARN),
                ),
                width=3,
                height=4,
            ),
            Placed(panel=oldest_reading(), width=3, height=4),
            Placed(panel=_pools_table(), width=16, height=12),
            Placed(panel=_utilization_bars(), width=8, height=12),
        ),
    )


def _gpus_for_sale() -> Panel:
    meaning = Meaning(
        title="GPUs for sale", description="GPUs of all hosts that are in a pool and can be sold."
    )
    return number(meaning, Query(f"sum({of('spotd_pool_gpus')})"))


def _gpus_sold() -> Panel:
    meaning = Meaning(title="GPUs sold", description="GPUs for sale that servers hold, of all pools.")
    return number(meaning, Query(f"sum({of('spotd_pool_gpus_used')})"))


def _gpus_free() -> Panel:
    meaning = Meaning(
        title="GPUs free", description="GPUs for sale that nobody holds, in pools that are wholly known."
    )
    return number(meaning, Query(free_gpus("")))


def _utilization() -> Panel:
    return number(
        Meaning(
            title="Sold share",
            description="Sold GPUs over GPUs for sale, all pools that are wholly known.",
            unit="percentunit",
            decimals=1,
        ),
        Query(used_share("")),
    )


def _pools_table() -> Panel:
    labels = "gpu_type, pool"
    return rows(
        Meaning(
            title="Pools",
            description=f"One row for each GPU type and pool. {SOLD_OUT_MEANS} `unknown`: a source does not"
            " tell.",
        ),
        (
            Column(field="gpu_type", title="GPU type", link=TO_GPU_TYPE),
            Column(field="pool", title="Pool", words=named(POOLS)),
            Column(field="Value #A", title="Hosts", width=85),
            Column(field="Value #B", title="Empty hosts", width=110),
            Column(field="Value #C", title="GPUs", width=85),
            Column(field="Value #D", title="Sold", width=85),
            Column(field="Value #E", title="Free", width=85),
            Column(
                field="Value #F",
                title="Sold share",
                unit="percentunit",
                decimals=0,
                bar_to=1,
                steps=NEARLY_SOLD_OUT,
            ),
        ),
        Query(max_by(labels, of("spotd_pool_hosts"))),
        Query(max_by(labels, of("spotd_pool_free_hosts"))),
        Query(max_by(labels, of("spotd_pool_gpus"))),
        Query(max_by(labels, of("spotd_pool_gpus_used"))),
        Query(free_gpus(labels)),
        Query(max_by(labels, of("spotd_pool_gpu_utilization_ratio"))),
        sort_by="GPU type",
        falling=False,
    )


def _utilization_bars() -> Panel:
    return bars(
        Meaning(
            title="Sold share by GPU type",
            description=f"Sold GPUs over GPUs for sale, all pools of the type. {SOLD_OUT_MEANS}",
            unit="percentunit",
            decimals=0,
        ),
        "gpu_type",
        Query(max_by("gpu_type", of("spotd_gpu_type_utilization_ratio"))),
        heading="GPU type",
        value="Sold share",
        steps=NEARLY_SOLD_OUT,
        link=TO_GPU_TYPE,
        full=1,
    )


def _over_time() -> Question:
    on_demand = 'pool="ondemand"'
    return Question(
        asks="How did it come to that?",
        panels=(
            Placed(
                panel=graph(
                    Meaning(
                        title="Sold share by pool",
                        description="Sold GPUs over GPUs for sale, all GPU types. Gaps: unknown. Dashed"
                        " yellow at 85 %, red at 95 %: nearly sold out.",
                        unit="percentunit",
                    ),
                    Query(used_share("pool"), "{{pool}}"),
                    colours=POOLS,
                    steps=NEARLY_SOLD_OUT,
                    full=1,
                ),
                width=12,
                height=9,
            ),
            Placed(
                panel=graph(
                    Meaning(
                        title="On-demand sold share by GPU type",
                        description="Sold on-demand GPUs over on-demand GPUs. Dashed yellow at 85 %, red at"
                        " 95 %: nearly sold out (alert SpotdOnDemandNearlySoldOut).",
                        unit="percentunit",
                    ),
                    Query(
                        max_by("gpu_type", of("spotd_pool_gpu_utilization_ratio", on_demand)), "{{gpu_type}}"
                    ),
                    steps=NEARLY_SOLD_OUT,
                    full=1,
                ),
                width=12,
                height=9,
            ),
            Placed(
                panel=graph(
                    Meaning(
                        title="Hosts by pool",
                        description="Hosts for sale, stacked. Moves between pools show as steps.",
                    ),
                    Query(sum_by("pool", of("spotd_pool_hosts")), "{{pool}}"),
                    colours=POOLS,
                    stacked=True,
                ),
                width=12,
                height=9,
            ),
            Placed(
                panel=graph(
                    Meaning(
                        title="Empty hosts by pool",
                        description="Hosts for sale that hold nothing: what could be sold as a whole, or"
                        " moved. Gaps: of some hosts of the pool nobody tells.",
                    ),
                    Query(_empty_hosts("pool"), "{{pool}}"),
                    colours=POOLS,
                ),
                width=12,
                height=9,
            ),
        ),
    )


def _empty_hosts(labels: str) -> str:
    """Empty hosts by labels, only where it is known of each host: a part of them looks like a fall."""
    unknown = of("spotd_pool_hosts_unknown", 'fact="free"')
    empty = sum_by(labels, of("spotd_pool_free_hosts"))
    return f"{empty} unless on ({labels}) ({sum_by(labels, unknown)} > 0)"
