"""The kinds of panels that the boards are made of: one number, a graph, bars, a table.

Each is asked for its question, the meaning of its colours and its unit; what is unknown shows as `unknown`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

from generate.colours import BAD, CALM, GOOD, WARN
from generate.queries import SOURCE, Query, targets

Panel: TypeAlias = stat.Panel | timeseries.Panel | table.Panel

UNKNOWN = "unknown"
"""Shown where there is no value: never 0, which would be a fact."""

Steps: TypeAlias = tuple[tuple[float, str], ...]
"""From each value on, its colour; below the first it is calm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a panel tells: its title, what it is and what its colours mean, and its unit."""

    title: str
    description: str
    unit: str = "short"
    decimals: int | None = None
    empty: str = UNKNOWN
    """Shown without any answer; other than unknown only where no answer is the good news, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: the label or `Value #A` that it shows, its heading, and how it looks."""

    field: str
    title: str
    unit: str | None = None
    width: int | None = None
    bar_to: float | None = None
    """The value of a full bar; 0: the greatest of the column; None: no bar."""
    steps: Steps = ()
    words: Mapping[str, tuple[str, str]] | None = None
    """Value to its word and colour."""
    link: tuple[str, str] | None = None
    """Title and address of the board that tells more."""
    decimals: int | None = None


def at_least(*, warn: float, bad: float) -> Steps:
    """Green, from `warn` on yellow, from `bad` on red."""
    return ((float("-inf"), GOOD), (warn, WARN), (bad, BAD))


def none_wanted(colour: str = BAD) -> Steps:
    """Green at 0; one is already too many."""
    return ((float("-inf"), GOOD), (1, colour))


def wanted(colour: str = BAD) -> Steps:
    """1 is good, 0 is not."""
    return ((float("-inf"), colour), (1, GOOD))


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """The steps as Grafana takes them; without steps everything is calm."""
    given = steps or ((float("-inf"), CALM),)
    made = [
        Threshold(value=None if value == float("-inf") else value, color=colour) for value, colour in given
    ]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def words(meanings: Mapping[str, tuple[str, str]]) -> list[ValueMapping]:
    """Words and colours for values."""
    return [
        ValueMap(
            options={
                value: ValueMappingResult(text=text, color=colour, index=index)
                for index, (value, (text, colour)) in enumerate(meanings.items())
            }
        )
    ]


def _common(panel: Any, meaning: Meaning, queries: Sequence[Query], **how: bool) -> Any:
    """What all kinds have; they are alike in this, and the library gives them no common type."""
    panel.title(meaning.title).description(meaning.description).datasource(SOURCE).unit(meaning.unit)
    panel.no_value(meaning.empty).targets(targets(tuple(queries), **how))
    return panel if meaning.decimals is None else panel.decimals(meaning.decimals)


def number(
    meaning: Meaning,
    query: Query,
    *,
    steps: Steps = (),
    meanings: Mapping[str, tuple[str, str]] | None = None,
    show_label: str | None = None,
) -> stat.Panel:
    """One number that is read from across the room, as it is now.

    Asked of this moment alone: over a range Grafana would show the last value that was known, long after it
    became unknown. `show_label`: the answer is not the number, but the label of that name.
    """
    panel: stat.Panel = _common(
        stat.Panel(), meaning, [query], as_table=show_label is not None, over_time=False
    )
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"]).values(bool(show_label))
    if show_label:
        reduce.fields(f"/^{show_label}$/")
    panel.reduce_options(reduce).thresholds(thresholds(steps)).graph_mode(shapes.BigValueGraphMode.NONE)
    panel.color_mode(shapes.BigValueColorMode.VALUE).text_mode(shapes.BigValueTextMode.AUTO)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    return panel.mappings(words(meanings)) if meanings else panel


def graph(
    meaning: Meaning,
    *queries: Query,
    colours: Mapping[str, str] | None = None,
    steps: Steps = (),
    stacked: bool = False,
    counts: bool = False,
    full: float | None = None,
    reaches: float | None = None,
) -> timeseries.Panel:
    """A course over time; where nothing was known the line is broken.

    `colours`: series name to colour. `steps` are drawn as lines. `counts`: bars, one for each step.
    `full`: the top of the axis. `reaches`: what the axis shows even while every value is less, so that a
    course of zeros is seen; 1 for `counts`.
    """
    panel: timeseries.Panel = _common(timeseries.Panel(), meaning, queries, as_table=False, over_time=True)
    panel.line_width(1.5).fill_opacity(55 if stacked or counts else 0).show_points(
        shapes.VisibilityMode.NEVER
    )
    panel.span_nulls(False).axis_soft_min(0).min(0)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    if stacked or counts:
        panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    if counts:
        panel.draw_style(shapes.GraphDrawStyle.BARS).line_width(0).fill_opacity(80)
    elif stacked:
        panel.line_interpolation(shapes.LineInterpolation.STEP_AFTER)
    if full is not None:
        panel.max(full)
    if (top := 1 if counts else reaches) is not None:
        panel.axis_soft_max(top)
    panel.thresholds(thresholds(steps))
    if steps:
        dashed = common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED)
        panel.thresholds_style(dashed)
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [_fixed(colour)])
    legend = common.VizLegendOptions().show_legend(True).display_mode(shapes.LegendDisplayMode.LIST)
    panel.legend(legend.placement(shapes.LegendPlacement.BOTTOM).calcs([]))
    tip = common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI)
    return panel.tooltip(tip.sort(shapes.SortOrder.DESCENDING))


def bars(
    meaning: Meaning,
    label: str,
    query: Query,
    *,
    heading: str,
    value: str,
    steps: Steps = (),
    label_words: Mapping[str, tuple[str, str]] | None = None,
    link: tuple[str, str] | None = None,
    full: float = 0,
) -> table.Panel:
    """A bar for each value of a label, as it is now, the longest first."""
    columns = (
        Column(field=label, title=heading, words=label_words, link=link),
        Column(
            field="Value", title=value, bar_to=full, steps=steps, unit=meaning.unit, decimals=meaning.decimals
        ),
    )
    return rows(meaning, columns, query, sort_by=value)


def rows(
    meaning: Meaning,
    columns: Sequence[Column],
    *queries: Query,
    sort_by: str | None = None,
    falling: bool = True,
) -> table.Panel:
    """A row for each set of labels; each query fills one column, a missing answer shows as unknown."""
    panel: table.Panel = _common(table.Panel(), meaning, queries, as_table=True, over_time=False)
    panel.cell_height(shapes.TableCellHeight.SM).filterable(True)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS)).thresholds(thresholds(()))
    shown = {column.field: column.title for column in columns}
    panel.transformations(
        [
            DataTransformerConfig(id_val="merge", options={}),
            # Named, so that a label that Prometheus adds (region, cluster) does not become a column.
            DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(shown)}}),
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {},
                    "indexByName": {field: index for index, field in enumerate(shown)},
                    "renameByName": shown,
                },
            ),
        ]
    )
    for column in columns:
        panel.override_by_name(column.title, _column(column))
    if sort_by:
        panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(falling)])
    return panel


def _fixed(colour: str) -> DynamicConfigValue:
    return DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def _column(column: Column) -> list[DynamicConfigValue]:
    """What sets a column apart."""
    set_to: dict[str, Any] = {"noValue": UNKNOWN}
    if column.unit:
        set_to["unit"] = column.unit
    if column.width:
        set_to["custom.width"] = column.width
    if column.decimals is not None:
        set_to["decimals"] = column.decimals
    if column.bar_to is not None:
        set_to["custom.cellOptions"] = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        set_to["min"] = 0
        if column.bar_to:
            set_to["max"] = column.bar_to
    elif column.steps or column.words:
        set_to["custom.cellOptions"] = {"type": "color-text"}
    if column.steps:
        set_to["thresholds"] = thresholds(column.steps).build()
    if column.words:
        set_to["mappings"] = words(column.words)
    if column.link:
        title, url = column.link
        set_to["links"] = [{"title": title, "url": url, "targetBlank": False}]
    return [DynamicConfigValue(id_val=name, value=value) for name, value in set_to.items()]
