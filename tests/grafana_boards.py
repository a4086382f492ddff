"""Reads the boards in `grafana/dashboards` as tests ask them: panels, queries, selectors, columns."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).parents[1] / "grafana"
BOARDS: Mapping[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}

SELECTOR = re.compile(r"\b((?:spotd|process|python)_[a-z0-9_]+|up)\b(\{[^}]*\})?")
MATCHER = re.compile(r"([\w$]+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")
GROUPING = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")
LEGEND = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One query of a board and where it stands."""

    board: str
    panel: str
    letter: str
    expr: str
    legend: str
    is_instant: bool

    @property
    def place(self) -> str:
        """For a test's name and its failure."""
        return f"{self.board}: {self.panel}: {self.letter}"


def panels(board: str) -> list[dict[str, Any]]:
    """The panels of a board, without its rows."""
    return [panel for panel in BOARDS[board]["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Asked]:
    """Every query of every panel and annotation."""
    for board, document in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Asked(
                    board=board,
                    panel=panel["title"],
                    letter=target["refId"],
                    expr=target["expr"],
                    legend=target["legendFormat"],
                    is_instant=target.get("instant", False),
                )
        for annotation in document["annotations"]["list"]:
            yield Asked(
                board=board,
                panel=f"annotation {annotation['name']}",
                letter="Anno",
                expr=annotation["expr"],
                legend=annotation["titleFormat"] + annotation["textFormat"],
                is_instant=False,
            )


def variables(board: str) -> dict[str, dict[str, Any]]:
    """The variables of a board by name."""
    return {variable["name"]: variable for variable in BOARDS[board]["templating"]["list"]}


def overrides(panel: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of the series or column, and what is set for it."""
    for override in panel["fieldConfig"]["overrides"]:
        yield override["matcher"]["options"], {each["id"]: each["value"] for each in override["properties"]}


def filled_in(expr: str, values: Mapping[str, str]) -> str:
    """The expression with its variables replaced, as Grafana does it."""
    for name, value in sorted(values.items(), key=lambda each: -len(each[0])):
        expr = expr.replace(f"${{{name}}}", value).replace(f"${name}", value)
    return expr
