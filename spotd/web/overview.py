"""The landing page: what this is, how old what it shows is, and where to look."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from spotd import __version__

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:50rem;padding:0 1rem;"
    "color-scheme:light dark}table{border-collapse:collapse}td,th{padding:.2rem 1rem .2rem 0;text-align:left}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLine:
    """An agent's row."""

    name: str
    answered: str
    """`yes`, `no: reason`, `not asked yet`."""
    age: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the page shows."""

    cloud: str
    state: str
    hosts: int | None
    agents: tuple[AgentLine, ...]


def page(overview: Overview) -> str:
    """The page as HTML; loads nothing from anywhere."""
    hosts = "unknown" if overview.hosts is None else str(overview.hosts)
    rows = "".join(_row(line) for line in overview.agents)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>spotd</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<style>{_STYLE}</style><h1>spotd {escape(__version__)}</h1>"
        f"<p>Watching {escape(overview.cloud)}: {hosts} GPU hosts; {escape(overview.state)}.</p>"
        f"<table><tr><th>agent<th>answered<th>last good answer{rows}</table>"
        "<p><a href=/metrics>/metrics</a> · <a href=/-/ready>/-/ready</a>"
        " · <a href=/-/healthy>/-/healthy</a> · <a href=/docs>/docs</a></p></html>"
    )


def _row(line: AgentLine) -> str:
    return "<tr>" + "".join(_cells((line.name, line.answered, line.age)))


def _cells(texts: Iterable[str]) -> Iterable[str]:
    return (f"<td>{escape(text)}" for text in texts)
