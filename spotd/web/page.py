"""The landing page: what runs here, how old its knowledge is, and where to go on."""

from dataclasses import dataclass
from html import escape

LINKS = (
    ("/metrics", "Metrics for Prometheus"),
    ("/-/healthy", "Whether the process is alive"),
    ("/-/ready", "Whether its knowledge is fresh"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """What the landing page tells."""

    snapshot_age_seconds: float | None = None
    """None before the first snapshot."""
    hosts: int | None = None
    """GPU hosts in it."""
    agents: tuple[tuple[str, str], ...] = ()
    """Each agent with a sentence on how it fares."""


def landing_page(version: str, facts: PageFacts) -> str:
    """The page, without anything to load from elsewhere."""
    links = "".join(f'<li><a href="{path}">{path}</a>: {escape(what)}</li>' for path, what in LINKS)
    agents = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(told)}</td></tr>" for name, told in facts.agents
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>spotd</title>'
        "<style>body{font-family:sans-serif;margin:2em}th{text-align:left;padding-right:1em}</style></head>"
        f"<body><h1>spotd</h1><p>Version {escape(version)}. {escape(_snapshot(facts))}</p>"
        f"<ul>{links}</ul>"
        f"<table>{agents}</table></body></html>\n"
    )


def _snapshot(facts: PageFacts) -> str:
    if facts.snapshot_age_seconds is None:
        return "No snapshot yet."
    hosts = "" if facts.hosts is None else f" and holds {facts.hosts} GPU hosts"
    return f"The snapshot is {facts.snapshot_age_seconds:.0f} s old{hosts}."
