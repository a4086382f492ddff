"""What the journal holds, as tables or as JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from spotd.cli.printing import Grid, line, say, show
from spotd.store.records import AuditRecord, DecisionRecord, MoveRecord, StepRecord

Record = MoveRecord | DecisionRecord | AuditRecord


def print_moves(moves: Sequence[MoveRecord], *, as_json: bool, steps: bool) -> None:
    """Writes moves on standard output, the newest last."""
    if as_json:
        _print_json(moves)
        return
    table = Grid("#", "began", "host", "move", "state", "took", "asked by", "why")
    for move in reversed(moves):
        order = move.order
        table.row(
            str(move.number),
            written(move.started_at or move.asked_at),
            order.host,
            f"{order.origin.name} -> {order.destination.name}",
            _state(move),
            _took(move.started_at, move.finished_at),
            order.asked_by,
            _why(move),
        )
        for step in move.steps if steps else ():
            took = _took(step.began_at, step.ended_at)
            cells = ("", f"  {step_name(step)}", step.outcome, took, "", step.detail)
            table.row("", written(step.began_at), *cells)
    _print_table(table, "No moves.", moves)


def print_decisions(decisions: Sequence[DecisionRecord], *, as_json: bool) -> None:
    """Writes decisions on standard output, the newest last."""
    if as_json:
        _print_json(decisions)
        return
    table = Grid("at", "rule", "GPU type", "host", "decision", "code", "why")
    for found in reversed(decisions):
        table.row(
            written(found.at),
            found.rule,
            found.gpu_type,
            found.host or "",
            found.decision,
            found.code,
            found.sentence,
        )
    _print_table(table, "No decisions.", decisions)


def print_audit(entries: Sequence[AuditRecord], *, as_json: bool) -> None:
    """Writes audit entries on standard output, the newest last."""
    if as_json:
        _print_json(entries)
        return
    table = Grid("at", "who", "from", "what", "target", "outcome", "detail")
    for entry in reversed(entries):
        table.row(
            written(entry.at),
            entry.who,
            entry.from_where,
            entry.what,
            entry.target,
            entry.outcome,
            entry.detail,
        )
    _print_table(table, "No audit entries.", entries)


def move_line(move: MoveRecord) -> str:
    """One line that says how far the move is."""
    order = move.order
    at = move.resolved_at or move.finished_at or move.started_at or move.asked_at
    way = f"{order.origin.name} -> {order.destination.name}"
    return line(f"{written(at)}  {order.host}  {way}  {_state(move)}  {order.asked_by}: {_why(move)}")


def step_line(move: MoveRecord, step: StepRecord) -> str:
    """One line that says how far the step is."""
    detail = f": {step.detail}" if step.detail else ""
    at = written(step.ended_at or step.began_at)
    return line(f"{at}  {move.order.host}    {step_name(step)} {step.outcome}{detail}")


def decision_line(decision: DecisionRecord) -> str:
    """One line for a decision."""
    subject = decision.host or decision.gpu_type
    return line(
        f"{written(decision.at)}  {subject}  {decision.rule}: {decision.decision} "
        f"({decision.code}): {decision.sentence}"
    )


def document(record: Record) -> dict[str, Any]:
    """A record for scripts."""
    return asdict(record)


def json_line(record: Record) -> str:
    """The record as JSON on one line."""
    return json.dumps(document(record), default=_plain)


def written(time: datetime) -> str:
    """A time for people, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def step_name(step: StepRecord) -> str:
    """The step, marked where it is taken back."""
    return step.step if step.phase == "do" else f"undo {step.step}"


def _state(move: MoveRecord) -> str:
    return f"{move.state}, resolved" if move.resolved_at is not None else str(move.state)


def _why(move: MoveRecord) -> str:
    told = [move.sentence or move.order.reason]
    if move.code is not None:
        told.append(f"({move.code})")
    if move.resolution:
        told.append(f"Resolved: {move.resolution}")
    return " ".join(told)


def _took(began: datetime | None, ended: datetime | None) -> str:
    return f"{(ended - began).total_seconds():.1f} s" if began is not None and ended is not None else ""


def _print_json(records: Iterable[Record]) -> None:
    json.dump([document(record) for record in records], sys.stdout, indent=2, default=_plain)
    sys.stdout.write("\n")


def _print_table(table: Grid, nothing: str, records: Sequence[object]) -> None:
    if records:
        show(table)
    else:
        say(nothing)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else str(value)
