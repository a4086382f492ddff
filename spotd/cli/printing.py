"""The one way of a command's text to the terminal: what clouds and people wrote cannot steer it there.

Names and reasons come from clouds, NetBox and users of the API. Nothing of them is markup, and a name of
thousands of characters leaves room for the rest. JSON needs none of this: it escapes by itself.
"""

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spotd.logs import visible_within

LONGEST_CELL = 300
"""Longer than any name that Nova or NetBox takes, and than most reasons."""
LONGEST_LINE = 4_000


class Grid(Table):
    """A table of plain text; cells are folded where the terminal is narrow, for half a name is of no use."""

    def __init__(self, *columns: str, title: str | None = None) -> None:
        super().__init__(title=None if title is None else plain(title))
        for column in columns:
            self.add_column(column, overflow="fold")

    def row(self, *cells: str) -> None:
        """One more row."""
        self.add_row(*map(plain, cells))


def plain(text: str) -> Text:
    """The text for a cell or a title."""
    return Text(visible_within(text, LONGEST_CELL))


def say(text: str, *, err: bool = False) -> None:
    """One line of text, on standard output or standard error."""
    click.echo(line(text), err=err)


def line(text: str) -> str:
    """The text as one line."""
    return visible_within(text, LONGEST_LINE)


def show(*grids: Grid) -> None:
    """Tables on standard output."""
    console = Console(markup=False, highlight=False, emoji=False)
    for grid in grids:
        console.print(grid)
