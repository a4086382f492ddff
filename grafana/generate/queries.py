"""PromQL that every board shares, and the targets that carry it."""

from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The data source that the board's first variable names."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question and the name of its answer; braces in the name stand for labels."""

    expr: str
    name: str = "__auto"
    exemplars: bool = False
    """Whether single events are drawn over the course, such as moves with their ids."""


def of(metric: str, *matchers: str) -> str:
    """The metric of the chosen spotd, with further matchers."""
    chosen = ", ".join(('job=~"$job"', 'instance=~"$instance"', *matchers))
    return f"{metric}{{{chosen}}}"


def sum_by(labels: str, expression: str) -> str:
    """Sums by labels; where nothing is known there is no sum, rather than 0."""
    return f"sum by ({labels}) ({expression})"


def max_by(labels: str, expression: str) -> str:
    """The greatest by labels: for facts that several daemons tell alike."""
    return f"max by ({labels}) ({expression})"


def rate(metric: str, *matchers: str) -> str:
    """How fast a counter grows, each second."""
    return f"rate({of(metric, *matchers)}[$__rate_interval])"


def increase(metric: str, *matchers: str) -> str:
    """By how much a counter grew in the step of the graph."""
    return f"increase({of(metric, *matchers)}[$__rate_interval])"


def in_range(metric: str, *matchers: str) -> str:
    """By how much a counter grew in the time that the board shows."""
    return f"increase({of(metric, *matchers)}[$__range])"


def quantile(share: float, labels: str, metric: str, *matchers: str) -> str:
    """A quantile of a histogram by labels; none, rather than NaN, where nothing was counted."""
    buckets = f"sum by (le, {labels}) ({rate(f'{metric}_bucket', *matchers)})"
    return f"histogram_quantile({share}, {buckets}) >= 0"


def whole(expression: str, *matchers: str) -> str:
    """Without the pools of which some hosts are in no sum: the two sums would not be of the same hosts."""
    unknown = of("spotd_pool_hosts_unknown", 'fact="gpus"', *matchers)
    return f"({expression}) unless on (job, instance, gpu_type, pool) {unknown} > 0"


def used_share(labels: str, *matchers: str) -> str:
    """Used GPUs over GPUs of pools, by labels, 0 to 1; a pool that is not wholly known counts in neither."""
    used, gpus = of("spotd_pool_gpus_used", *matchers), of("spotd_pool_gpus", *matchers)
    top, bottom = whole(f"{used} and {gpus}", *matchers), whole(f"{gpus} and {used}", *matchers)
    return f"{sum_by(labels, top)} / {sum_by(labels, bottom)}"


def free_gpus(labels: str, *matchers: str) -> str:
    """GPUs that nobody uses, by labels, in pools that are wholly known."""
    used, gpus = of("spotd_pool_gpus_used", *matchers), of("spotd_pool_gpus", *matchers)
    return sum_by(labels, whole(f"{gpus} - {used}", *matchers))


def targets(queries: tuple[Query, ...], *, as_table: bool, over_time: bool) -> list[prometheus.Dataquery]:
    """The queries as a panel takes them, with the letters A, B, C."""
    made = []
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(SOURCE)
        target = target.range() if over_time else target.instant()
        if query.exemplars:
            target.exemplar(True)
        made.append(
            target.format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES).legend_format(
                query.name
            )
        )
    return made
