"""What comes into the journal, as it comes: a text and a JSON document for each line."""

import time
from collections.abc import Callable, Iterator

from spotd.cli.journaling import decision_line, json_line, move_line, step_line
from spotd.store.journal import Journal
from spotd.store.records import MoveRecord, MoveState

PERIOD_SECONDS = 1.0
OVERLAP = 200
"""Entries looked at again each time: on PostgreSQL one may appear after another with a higher number."""

Sleep = Callable[[float], object]
Line = tuple[str, str]


def follow_moves(
    journal: Journal,
    limit: int,
    host: str | None,
    state: MoveState | None,
    *,
    steps: bool,
    sleep: Sleep = time.sleep,
) -> Iterator[Line]:
    """The last moves, and then a line for each move that comes or changes; with `steps` for each step too."""
    said: dict[str, frozenset[object]] = {}
    watched: dict[str, MoveRecord] = {}
    shown = journal.moves(limit, host=host)
    quiet = {move.id for move in journal.moves(max(limit, OVERLAP), host=host)} - {move.id for move in shown}
    while True:
        page = {move.id: move for move in journal.moves(max(limit, OVERLAP), host=host)}
        older = (journal.move(move_id) for move_id in watched if move_id not in page)
        current = sorted([*page.values(), *(move for move in older if move is not None)], key=_number)
        lines = {move.id: _lines(move, steps=steps) for move in current}
        for move in current:
            before = said.get(move.id, frozenset())
            is_old = move.id in quiet and not before
            if not is_old and (state is None or move.state is state):
                yield from (line for key, line in lines[move.id].items() if key not in before)
        said = {move_id: frozenset(told) for move_id, told in lines.items()}
        watched = {move.id: move for move in current if move.is_open or move.state is MoveState.ASKED}
        sleep(PERIOD_SECONDS)


def follow_decisions(
    journal: Journal, limit: int, host: str | None, *, sleep: Sleep = time.sleep
) -> Iterator[Line]:
    """The last decisions, and then each that comes."""
    page = journal.decisions(max(limit, OVERLAP), host=host)
    said = {found.number for found in page[limit:]}
    while True:
        for found in reversed(page):
            if found.number not in said:
                yield decision_line(found), json_line(found)
        said |= {found.number for found in page}
        sleep(PERIOD_SECONDS)
        page = journal.decisions(max(limit, OVERLAP), host=host)


def _lines(move: MoveRecord, *, steps: bool) -> dict[object, Line]:
    """Every line about the move as it is now, by what makes it another line."""
    document = json_line(move)
    begun: dict[object, Line] = {}
    for step in move.steps if steps else ():
        begun[step.number, step.outcome] = step_line(move, step), document
    itself = {(move.state, move.resolved_at): (move_line(move), document)}
    # The end of a move comes after its steps, its beginning before them.
    return begun | itself if move.finished_at is not None else itself | begun


def _number(move: MoveRecord) -> int:
    return move.number
