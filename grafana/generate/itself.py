"""spotd itself: whether it sees the clouds, what it asks of them, and whether the process is well."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from generate.colours import BAD, CLOUDS, GOOD, SOURCES
from generate.frame import Placed, Question, board
from generate.panels import Column, Meaning, Panel, at_least, bars, graph, none_wanted, number, rows, wanted
from generate.queries import Query, in_range, increase, max_by, of, quantile, rate, sum_by
from generate.upkeep import upkeep

OK = {"0": ("failed", BAD), "1": ("good", GOOD)}
OLD = at_least(warn=60, bad=300)
OLD_MEANS = "Green below 1 min, yellow from 1 min, red from 5 min (alert SpotdDataTooOld)."
LIVE = 'source=~"services|servers|gpus"'


def itself() -> Dashboard:
    """The board for whoever runs spotd."""
    return board(
        "itself",
        "Does spotd see the clouds, what does it ask of them, and is the process well?",
        (_agents(), _requests(), upkeep()),
        since="now-1h",
    )


def oldest_reading() -> Panel:
    """How old what is shown may be: the oldest of what is asked each time."""
    return number(
        Meaning(
            title="Oldest live reading",
            description=f"Age of the oldest reading of services, servers and GPUs. {OLD_MEANS} A source"
            " without any reading is not in it: see the agents of spotd itself.",
            unit="s",
            decimals=0,
        ),
        Query(f"time() - min({of('spotd_reading_timestamp_seconds', LIVE)})"),
        steps=OLD,
    )


def _numbers() -> tuple[Panel, ...]:
    agents = f"count({of('spotd_agent_success')})"
    return (
        number(
            Meaning(
                title="Daemons that answer",
                description="Daemons that Prometheus can scrape. Green: at least one. Red: none (alert"
                " SpotdDown).",
            ),
            Query(f"sum({of('up')})"),
            steps=wanted(),
        ),
        number(
            Meaning(
                title="Agents that fail",
                description="Agents whose last run brought no whole answer. Green: none. Red from 1 (alert"
                " SpotdAgentFailing).",
            ),
            Query(f"{agents} - sum({of('spotd_agent_success')})"),
            steps=none_wanted(),
        ),
        oldest_reading(),
        number(
            Meaning(
                title="Collection takes",
                description="Time of the last collection. Green below 10 s, yellow from 10 s, red from 15 s,"
                " the default period (alert SpotdCollectionSlow).",
                unit="s",
                decimals=2,
            ),
            Query(f"max({of('spotd_collection_duration_seconds')})"),
            steps=at_least(warn=10, bad=15),
        ),
        number(
            Meaning(
                title="Configuration",
                description="Whether the last reload succeeded everywhere. Green: yes. Red: no, and the"
                " configuration before it is still in force (alert SpotdReloadFailed).",
            ),
            Query(f"min({of('spotd_config_last_reload_successful')})"),
            steps=wanted(),
            meanings={"0": ("refused", BAD), "1": ("good", GOOD)},
        ),
        number(
            Meaning(title="Version", description="Versions of spotd that run."),
            Query(max_by("version", of("spotd_build_info"))),
            show_label="version",
        ),
    )


def _agents() -> Question:
    each = "instance, agent"
    table = rows(
        Meaning(
            title="Agents",
            description="Last run of each agent. Answer: good or failed. Age: since the last whole answer;"
            " the inventory and the aggregates are asked seldom on purpose. Runs and failed: in the time"
            " shown. `unknown`: never yet.",
        ),
        (
            Column(field="instance", title="Instance"),
            Column(field="agent", title="Agent"),
            Column(field="Value #A", title="Answer", width=90, words=OK),
            Column(field="Value #B", title="Took", width=90, unit="s", decimals=2),
            Column(field="Value #C", title="Age", width=90, unit="s", decimals=0),
            Column(field="Value #D", title="Runs", width=80, decimals=0),
            Column(field="Value #E", title="Failed", width=80, decimals=0),
        ),
        Query(max_by(each, of("spotd_agent_success"))),
        Query(max_by(each, of("spotd_agent_duration_seconds"))),
        Query(f"time() - {max_by(each, of('spotd_agent_last_success_timestamp_seconds'))}"),
        Query(sum_by(each, in_range("spotd_agent_runs_total"))),
        Query(sum_by(each, in_range("spotd_agent_failures_total"))),
        sort_by="Agent",
        falling=False,
    )
    age = graph(
        Meaning(
            title="Age of what is shown",
            description="Age of the reading of each source at the scrape; past its maximum age the line ends"
            " and its facts are unknown. Dashed, for the live sources: yellow 1 min, red 5 min.",
            unit="s",
        ),
        Query(
            f"time() - {max_by('instance, source', of('spotd_reading_timestamp_seconds', LIVE))}",
            "{{source}}",
        ),
        colours=SOURCES,
        steps=OLD,
    )
    duration = graph(
        Meaning(title="Duration of agents", description="Time of each agent's last run.", unit="s"),
        Query(max_by("agent", of("spotd_agent_duration_seconds")), "{{agent}}"),
        colours=SOURCES,
    )
    failures = graph(
        Meaning(
            title="Failed runs by agent",
            description="Runs without a whole answer, for each step of the graph. A flat zero line is good:"
            " no gaps.",
        ),
        Query(sum_by("agent", increase("spotd_agent_failures_total")), "{{agent}}"),
        colours=SOURCES,
        counts=True,
    )
    reasons = bars(
        Meaning(
            title="Failed runs by reason",
            description="Runs without a whole answer in the time shown, by reason; extrapolated.",
            empty="none, or unknown",
            decimals=0,
        ),
        "reason",
        Query(f"{sum_by('reason', in_range('spotd_agent_failures_total'))} > 0"),
        heading="Reason",
        value="Runs",
    )
    return Question(
        asks="Does it see the clouds?",
        panels=(
            *(Placed(panel=panel, width=4, height=4) for panel in _numbers()),
            Placed(panel=table, width=12, height=8),
            Placed(panel=age, width=12, height=8),
            Placed(panel=duration, width=10, height=7),
            Placed(panel=failures, width=8, height=7),
            Placed(panel=reasons, width=6, height=7),
        ),
    )


def _requests() -> Question:
    requests = graph(
        Meaning(
            title="Requests to clouds by service and code",
            description="Answers of each HTTP status, or failures where no status came, per second.",
            unit="reqps",
        ),
        Query(sum_by("service, code", rate("spotd_cloud_requests_total")), "{{service}} {{code}}"),
    )
    slow = graph(
        Meaning(
            title="Slowest requests, 99 %",
            description="99 % of the requests of the operation took at most so long.",
            unit="s",
        ),
        Query(
            quantile(0.99, "service, operation", "spotd_cloud_request_duration_seconds"),
            "{{service}} {{operation}}",
        ),
    )
    traffic = graph(
        Meaning(title="Bytes from clouds", description="Bodies of answers, after decompression.", unit="Bps"),
        Query(sum_by("service", rate("spotd_cloud_response_bytes_total")), "{{service}}"),
        colours=CLOUDS,
    )
    hits = graph(
        Meaning(
            title="Cache hit ratio by layer",
            description="Questions that the cache layer answered, over its questions; servers, services and"
            " GPUs are asked each time on purpose. Gaps: nobody asked. Dashed: below 80 % the inventory and"
            " aggregates cost too many requests (red line, alert SpotdCacheHitRatioCollapsed).",
            unit="percentunit",
        ),
        Query(
            f"{sum_by('layer', rate('spotd_cache_hits_total'))}"
            f" / ({sum_by('layer', rate('spotd_cache_requests_total'))} > 0)",
            "{{layer}}",
        ),
        colours=SOURCES,
        steps=((float("-inf"), BAD), (0.8, GOOD)),
        full=1,
    )
    cache_age = rows(
        Meaning(
            title="Cache layers",
            description="What each layer holds now, and for how long it has held it.",
        ),
        (
            Column(field="instance", title="Instance"),
            Column(field="layer", title="Layer"),
            Column(field="Value #A", title="Age", width=90, unit="s", decimals=0),
            Column(field="Value #B", title="Entries", width=90),
            Column(
                field="Value #C",
                title="Hits since start",
                width=150,
                unit="percentunit",
                decimals=0,
                bar_to=1,
            ),
        ),
        Query(max_by("instance, layer", of("spotd_cache_age_seconds"))),
        Query(max_by("instance, layer", of("spotd_cache_entries"))),
        Query(max_by("instance, layer", of("spotd_cache_hit_ratio"))),
        sort_by="Layer",
        falling=False,
    )
    return Question(
        asks="What does it ask of the clouds, and what does the cache save?",
        panels=(
            Placed(panel=requests, width=8, height=9),
            Placed(panel=slow, width=16, height=9),
            Placed(panel=traffic, width=6, height=9),
            Placed(panel=hits, width=8, height=9),
            Placed(panel=cache_age, width=10, height=9),
        ),
    )
