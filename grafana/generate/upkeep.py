"""Whether the process is well: its jobs, threads, memory and answers."""

from generate.colours import BAD, CALM, WARN
from generate.frame import Placed, Question
from generate.panels import Meaning, at_least, graph
from generate.queries import Query, increase, max_by, of, quantile, rate, sum_by


def upkeep() -> Question:
    """The question of whoever is called when spotd is slow or gone."""
    runs = graph(
        Meaning(
            title="Scheduled jobs",
            description="Runs of each job, and runs that were due and missed (red), per minute.",
        ),
        Query(f"60 * {sum_by('task', rate('spotd_scheduler_job_runs_total'))}", "{{task}}"),
        Query(f"60 * sum({rate('spotd_scheduler_jobs_missed_total')})", "missed"),
        colours={"missed": BAD},
    )
    collection = graph(
        Meaning(
            title="Collections",
            description="How long collections take. Dashed: yellow from 10 s, red from 15 s, the default"
            " period.",
            unit="s",
        ),
        Query(max_by("instance", of("spotd_collection_duration_seconds")), "{{instance}}"),
        steps=at_least(warn=10, bad=15),
    )
    missed = graph(
        Meaning(
            title="Collections that brought nothing",
            description="Collections that were due and brought no snapshot, by reason, in each step of the"
            " graph.",
        ),
        Query(sum_by("reason", increase("spotd_collections_missed_total")), "{{reason}}"),
        counts=True,
    )
    threads = graph(
        Meaning(
            title="Thread pool",
            description="Threads at work for agents, runs that wait for one, and runs that were given up and"
            " still hold one (red); grey: all threads.",
        ),
        Query(f"sum({of('spotd_thread_pool_threads_max')})", "all"),
        Query(f"sum({of('spotd_thread_pool_busy')})", "busy"),
        Query(f"sum({of('spotd_thread_pool_queue')})", "waiting"),
        Query(f"sum({of('spotd_abandoned_calls')})", "given up"),
        colours={"all": "#8E8E8E", "busy": CALM, "waiting": WARN, "given up": BAD},
    )
    memory = graph(
        Meaning(title="Memory", description="Resident memory of each daemon.", unit="bytes"),
        Query(max_by("instance", of("process_resident_memory_bytes")), "{{instance}}"),
    )
    cpu = graph(
        Meaning(
            title="CPU", description="CPU seconds used in each second: 100 % is one core.", unit="percentunit"
        ),
        Query(sum_by("instance", rate("process_cpu_seconds_total")), "{{instance}}"),
    )
    answers = graph(
        Meaning(
            title="Requests that spotd answers",
            description="Scrapes, health checks, pages and the API, by route and status, per second.",
            unit="reqps",
        ),
        Query(sum_by("route, code", rate("spotd_http_requests_total")), "{{route}} {{code}}"),
    )
    latency = graph(
        Meaning(
            title="Time to answer, 99 %",
            description="99 % of the requests to the route were answered in at most so long.",
            unit="s",
        ),
        Query(quantile(0.99, "route", "spotd_http_request_duration_seconds"), "{{route}}"),
    )
    panels = (runs, collection, missed, threads, memory, cpu, answers, latency)
    return Question(
        asks="Is the process well?",
        panels=tuple(Placed(panel=panel, width=6, height=9) for panel in panels),
    )
