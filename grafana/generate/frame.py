"""What all boards share: their variables, their links to each other, the moves drawn into every graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from generate.colours import BAD, CALM
from generate.panels import Panel
from generate.queries import SOURCE, increase, of

WIDTH = 24
"""Columns of Grafana's grid."""

CARRIED_OUT = 'outcome!="refused"'

TAG = "spotd"
"""All boards have it, for whoever searches."""

NAMES: Mapping[str, tuple[str, bool]] = {
    "fleet": ("Fleet", False),
    "gpu-type": ("GPU type", False),
    "rebalancing": ("Rebalancing", True),
    "itself": ("spotd itself", True),
    "customer": ("Customer", False),
}
"""Each board's title, and whether it shows several daemons at once: those that sum hosts show one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A panel and its size on the grid."""

    panel: Panel
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A row of a board: what an operator asks, and the panels that answer it on one screen."""

    asks: str
    panels: tuple[Placed, ...]


class PromAnnotation(AnnotationQuery):
    """An annotation from Prometheus; the library knows no title and no text of it."""

    title_format: str = ""
    text_format: str = ""

    def to_json(self) -> dict[str, object]:
        """As Grafana stores it."""
        return {
            **super().to_json(),
            "titleFormat": self.title_format,
            "textFormat": self.text_format,
            "step": "60s",
        }


def annotation(name: str, expr: str, colour: str, title: str, text: str) -> dashboard.AnnotationQuery:
    """Events over time, drawn as lines into every graph of a board."""

    class _Builder(dashboard.AnnotationQuery):
        def build(self) -> AnnotationQuery:
            made = PromAnnotation(name=name, datasource=SOURCE, enable=True, icon_color=colour, expr=expr)
            made.title_format, made.text_format = title, text
            return made

    return _Builder()


def query_variable(
    name: str, label: str, query: str, *, several: bool, description: str
) -> dashboard.QueryVariable:
    """A choice among the values of a label; `several`: any number of them, at first all."""
    made = dashboard.QueryVariable(name).label(label).description(description).datasource(SOURCE)
    made.query({"query": query, "refId": name}).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    made.sort(VariableSort.NATURAL_ASC).multi(several).include_all(several)
    if several:
        made.all_value(".+").current(VariableOption(text=["All"], value=["$__all"], selected=True))
    return made


def variables(*, several_instances: bool) -> list[dashboard.DatasourceVariable | dashboard.QueryVariable]:
    """Data source, job and instance, which every board has."""
    return [
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes spotd.")
        .type("prometheus"),
        query_variable(
            "job",
            "Job",
            "label_values(spotd_build_info, job)",
            several=True,
            description="The scrape job of spotd.",
        ),
        query_variable(
            "instance",
            "Instance",
            'label_values(spotd_build_info{job=~"$job"}, instance)',
            several=several_instances,
            description="The daemons that are shown."
            if several_instances
            else "One daemon, and so one region. Two daemons of one region would count each host twice.",
        ),
    ]


def moves() -> dashboard.AnnotationQuery:
    """Moves, where they were made."""
    labels = "rule, origin_pool, destination_pool, outcome"
    return annotation(
        "Moves",
        f"sum by ({labels}) ({increase('spotd_moves_total', CARRIED_OUT)}) > 0",
        CALM,
        "Move {{outcome}}: {{origin_pool}} to {{destination_pool}}",
        "Rule {{rule}}",
    )


def freezes() -> dashboard.AnnotationQuery:
    """Times in which spotd is frozen and moves nothing."""
    return annotation(
        "Frozen", f"max({of('spotd_frozen')}) > 0", BAD, "spotd is frozen", "It moves nothing until unfrozen."
    )


def board(
    uid: str,
    description: str,
    questions: Sequence[Question],
    *,
    chosen: Sequence[dashboard.QueryVariable | dashboard.CustomVariable] = (),
    since: str = "now-6h",
) -> dashboard.Dashboard:
    """A board of questions, from top to bottom."""
    title, several_instances = NAMES[uid]
    made = dashboard.Dashboard(f"spotd / {title}").uid(f"spotd-{uid}").description(description).tags([TAG])
    made.readonly().tooltip(DashboardCursorSync.CROSSHAIR).timezone("browser").refresh("30s").time(
        since, "now"
    )
    for variable in (*variables(several_instances=several_instances), *chosen):
        made.with_variable(variable)
    made.annotation(moves()).annotation(freezes())
    for link in _links(uid):
        made.link(link)
    _lay_out(made, questions)
    return made


def _links(uid: str) -> list[dashboard.DashboardLink]:
    """Links to the other boards, at the same time; All of the instances is no choice for a board of one."""
    made = []
    for other, (title, several) in NAMES.items():
        if other == uid:
            continue
        kept = ["datasource", "job"]
        if several or not NAMES[uid][1]:
            kept.append("instance")
        url = f"/d/spotd-{other}?" + "&".join(f"${{{name}:queryparam}}" for name in kept)
        link = dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url).icon("dashboard")
        made.append(link.tooltip(f"spotd / {title}").keep_time(True).target_blank(False))
    return made


def _lay_out(made: dashboard.Dashboard, questions: Sequence[Question]) -> None:
    """Puts panels from left to right and rows below each other."""
    y, next_id = 0, 1
    for question in questions:
        made.with_row(dashboard.Row(question.asks).id(next_id).grid_pos(GridPos(h=1, w=WIDTH, x=0, y=y)))
        y, next_id, x, tallest = y + 1, next_id + 1, 0, 0
        for placed in question.panels:
            if x + placed.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            placed.panel.id(next_id).grid_pos(GridPos(h=placed.height, w=placed.width, x=x, y=y))
            made.with_panel(placed.panel)
            x, next_id, tallest = x + placed.width, next_id + 1, max(tallest, placed.height)
        y += tallest
