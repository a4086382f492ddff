"""The table of every metric that spotd exposes: the fleet's, spotd's own, and the Python process's."""

from spotd.metrics.acting_names import ACTING_METRICS
from spotd.metrics.description import Description, counter, gauge
from spotd.metrics.fleet_names import FLEET_METRICS
from spotd.metrics.own_names import OWN_METRICS

PROCESS_METRICS: tuple[Description, ...] = (
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes. Source: /proc (prometheus_client)."),
    gauge(
        "process_resident_memory_bytes", "Resident memory size in bytes. Source: /proc (prometheus_client)."
    ),
    gauge(
        "process_start_time_seconds", "Unix time of the start in seconds. Source: /proc (prometheus_client)."
    ),
    counter("process_cpu_seconds_total", "CPU time spent in seconds. Source: /proc (prometheus_client)."),
    gauge("process_open_fds", "Open file descriptors. Source: /proc (prometheus_client)."),
    gauge("process_max_fds", "Most file descriptors allowed. Source: /proc (prometheus_client)."),
    gauge(
        "python_info",
        "Python's version as labels, value 1. Source: prometheus_client.",
        *("version", "implementation", "major", "minor", "patchlevel"),
    ),
    counter(
        "python_gc_objects_collected_total", "Objects freed by Python's garbage collector.", "generation"
    ),
    counter("python_gc_objects_uncollectable_total", "Objects that it could not free.", "generation"),
    counter("python_gc_collections_total", "Runs of Python's garbage collector.", "generation"),
)
"""Names and types are prometheus_client's, whose own, shorter help is what `/metrics` shows."""

METRICS: tuple[Description, ...] = (*FLEET_METRICS, *OWN_METRICS, *ACTING_METRICS, *PROCESS_METRICS)
"""Every metric, in the order in which they are exposed."""
