"""Names of the metrics that spotd tells about itself, each with its help; nothing here is cached."""

from spotd.metrics.description import Description, counter, gauge, histogram

_SPOTD = "Source: spotd itself."

AGENT_SUCCESS = gauge(
    "spotd_agent_success",
    f"Whether the agent's last run brought a whole answer, 1 or 0; absent before its first run. {_SPOTD}",
    "agent",
)
AGENT_DURATION = gauge(
    "spotd_agent_duration_seconds",
    f"How long the agent's last run took, in seconds; absent before its first run. {_SPOTD}",
    "agent",
)
AGENT_LAST_SUCCESS = gauge(
    "spotd_agent_last_success_timestamp_seconds",
    f"Unix time in seconds at which the agent last ended with a whole answer; absent if never. {_SPOTD}",
    "agent",
)
AGENT_RUNS = counter("spotd_agent_runs_total", f"Runs of the agent, failed ones included. {_SPOTD}", "agent")
AGENT_FAILURES = counter(
    "spotd_agent_failures_total",
    f"Runs of the agent without a whole answer, by reason. {_SPOTD}",
    "agent",
    "reason",
)
AGENT_SKIPPED = counter(
    "spotd_agent_skipped_total",
    f"Collections in which the agent was not run, by reason (fresh: its answer is young enough). {_SPOTD}",
    *("agent", "reason"),
)
AGENT_ITEMS = gauge(
    "spotd_agent_items", f"Things in the agent's last whole answer, by kind. {_SPOTD}", "agent", "kind"
)
COLLECTION_DURATION = gauge(
    "spotd_collection_duration_seconds",
    f"How long the last collection took from its start to its snapshot, in seconds. {_SPOTD}",
)
COLLECTION_SPEED = gauge(
    "spotd_collection_hosts_per_second",
    f"GPU hosts in the snapshot over the seconds that the last collection took. {_SPOTD}",
)
COLLECTION_SPEEDUP = gauge(
    "spotd_collection_speedup_ratio",
    f"Sum of the agents' times over the wall time of the last collection; 1 is one after the other. {_SPOTD}",
)
COLLECTIONS = counter("spotd_collections_total", f"Collections that ended with a snapshot. {_SPOTD}")
COLLECTIONS_MISSED = counter(
    "spotd_collections_missed_total", f"Collections that brought no snapshot, by reason. {_SPOTD}", "reason"
)
CACHE_REQUESTS = counter(
    "spotd_cache_requests_total", f"How often the cache layer was asked for its answer. {_SPOTD}", "layer"
)
CACHE_HITS = counter(
    "spotd_cache_hits_total",
    f"How often the cache layer had an answer that was young enough. {_SPOTD}",
    "layer",
)
CACHE_HIT_RATIO = gauge(
    "spotd_cache_hit_ratio",
    f"Hits over requests of the cache layer since the start, 0 to 1; absent without requests. {_SPOTD}",
    "layer",
)
CACHE_AGE = gauge(
    "spotd_cache_age_seconds",
    f"Age of the answer in the cache layer at this scrape, in seconds; absent while it is empty. {_SPOTD}",
    "layer",
)
CACHE_ENTRIES = gauge(
    "spotd_cache_entries",
    f"Things in the answer in the cache layer; absent while it is empty. {_SPOTD}",
    "layer",
)
CLOUD_DURATION = histogram(
    "spotd_cloud_request_duration_seconds",
    f"Time of a request to a cloud from its start to the end of its answer, in seconds. {_SPOTD}",
    *("service", "operation"),
)
CLOUD_REQUESTS = counter(
    "spotd_cloud_requests_total",
    f"Requests to a cloud by HTTP status, or by failure where no status came. {_SPOTD}",
    *("service", "operation", "code"),
)
CLOUD_BYTES = counter(
    "spotd_cloud_response_bytes_total",
    f"Bytes of the clouds' answers, bodies after decompression. {_SPOTD}",
    *("service", "operation"),
)
HTTP_REQUESTS = counter(
    "spotd_http_requests_total", f"Requests that spotd answered. {_SPOTD}", "route", "method", "code"
)
HTTP_REFUSED = counter(
    "spotd_http_refused_total",
    f"Connections and requests that ended before spotd handled them, by reason. {_SPOTD}",
    "reason",
)
HTTP_DURATION = histogram(
    "spotd_http_request_duration_seconds",
    f"Time from a request's head to the end of spotd's answer, in seconds. {_SPOTD}",
    *("route", "method"),
)
THREADS_MAX = gauge("spotd_thread_pool_threads_max", f"Threads that agents may use at once. {_SPOTD}")
THREADS_BUSY = gauge("spotd_thread_pool_busy", f"Threads that are at work for an agent. {_SPOTD}")
THREADS_QUEUE = gauge("spotd_thread_pool_queue", f"Agent runs that wait for a thread. {_SPOTD}")
ABANDONED_CALLS = gauge(
    "spotd_abandoned_calls",
    f"Agent runs that were given up at their deadline and still hold a thread. {_SPOTD}",
)
JOB_RUNS = counter("spotd_scheduler_job_runs_total", f"Runs of the scheduled job. {_SPOTD}", "task")
JOBS_MISSED = counter(
    "spotd_scheduler_jobs_missed_total",
    f"Times that the job was due and not run, since it still ran or no thread was free. {_SPOTD}",
    "task",
)
JOB_LAST_RUN = gauge(
    "spotd_scheduler_last_run_timestamp_seconds",
    f"Unix time in seconds at which the job last ended; absent before its first run. {_SPOTD}",
    "task",
)
RELOAD_SUCCESSFUL = gauge(
    "spotd_config_last_reload_successful",
    f"Whether the last attempt to read the configuration succeeded, 1 or 0. {_SPOTD}",
)
RELOAD_TIMESTAMP = gauge(
    "spotd_config_last_reload_success_timestamp_seconds",
    f"Unix time in seconds at which the configuration was last read with success. {_SPOTD}",
)
BUILD_INFO = gauge(
    "spotd_build_info",
    f"Version of spotd and of Python as labels, value 1. {_SPOTD}",
    "version",
    "python_version",
)
METRICS_DUPLICATES = counter(
    "spotd_metrics_duplicates_total",
    f"Samples of a snapshot that were left out because their labels were there before. {_SPOTD}",
)
METRICS_ERRORS = counter(
    "spotd_metrics_errors_total",
    f"Scrapes in which a part of the metrics was left out because reading it failed. {_SPOTD}",
    "part",
)

OWN_METRICS: tuple[Description, ...] = (
    *(
        AGENT_SUCCESS,
        AGENT_DURATION,
        AGENT_LAST_SUCCESS,
        AGENT_RUNS,
        AGENT_FAILURES,
        AGENT_SKIPPED,
        AGENT_ITEMS,
    ),
    *(COLLECTION_DURATION, COLLECTION_SPEED, COLLECTION_SPEEDUP, COLLECTIONS, COLLECTIONS_MISSED),
    *(CACHE_REQUESTS, CACHE_HITS, CACHE_HIT_RATIO, CACHE_AGE, CACHE_ENTRIES),
    *(CLOUD_DURATION, CLOUD_REQUESTS, CLOUD_BYTES, HTTP_REQUESTS, HTTP_REFUSED, HTTP_DURATION),
    *(THREADS_MAX, THREADS_BUSY, THREADS_QUEUE, ABANDONED_CALLS),
    *(JOB_RUNS, JOBS_MISSED, JOB_LAST_RUN, RELOAD_SUCCESSFUL, RELOAD_TIMESTAMP, BUILD_INFO),
    *(METRICS_DUPLICATES, METRICS_ERRORS),
)
