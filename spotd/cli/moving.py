"""`spotd move` and `spotd recover`: one host by hand, and what a crash or an outage left half done."""

import getpass
import time
from pathlib import Path

import click

from spotd.cli.acting import Desk, desk_for, run_leading
from spotd.cli.options import EXIT_FAILED, config_option, fail, log_options, read_settings, start_logging
from spotd.cli.printing import Grid, say, show
from spotd.daemon.forsaken import closed_by_others
from spotd.daemon.orders import Preview, preview
from spotd.daemon.rebalance import ask_to_recover, is_recovering
from spotd.planning.rules import Rules
from spotd.planning.surroundings import survey
from spotd.store.errors import StoreError, StoreRefusal
from spotd.store.records import MoveOrder, MoveRecord, MoveState

POLL_SECONDS = 0.5
PICK_UP_SECONDS = 60.0
"""How long a running daemon may take to begin what was asked; it looks every two seconds."""


@click.command()
@click.argument("host")
@click.option("--to", required=True, help="Name of the aggregate that HOST shall join.")
@click.option("--yes", is_flag=True, help="Do it; without this only shown.")
@click.option("--reason", default="by hand", show_default=True, help="Kept in the journal.")
@config_option
@log_options
def move(  # noqa: PLR0917 - one argument for each flag
    host: str,
    to: str,
    yes: bool,  # noqa: FBT001 - click hands flags in by name
    reason: str,
    config_file: Path | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Move HOST to another aggregate: shows the steps and what each guard says, and with --yes does it.

    A daemon that leads carries it out, else this command does. Exit codes: 0 moved (or: could be moved),
    1 not moved, 2 wrong usage.
    """
    loaded = read_settings(config_file)
    start_logging(loaded.settings, log_level, log_format, quiet=True)
    with desk_for(loaded.settings) as desk:
        shown = _preview(desk, host, to, reason)
        _print_preview(shown)
        if shown.refusal is not None or shown.order is None:
            fail(shown.refusal.sentence if shown.refusal else "not movable", EXIT_FAILED)
        if not yes:
            say("Nothing was done; --yes does it.")
            return
        try:
            record = desk.store.journal.ask(shown.order, now=desk.clock.now())
            ended = run_leading(desk, lambda lead: lead.begin_and_run(record.id))
            record = _follow(desk, record) if ended is None else ended
        except (StoreError, StoreRefusal) as error:
            fail(str(error), EXIT_FAILED)
    _report(record)


@click.command()
@config_option
@log_options
def recover(config_file: Path | None, log_level: str | None, log_format: str | None) -> None:
    """Settle open and stranded moves by hand: forward where the destination is joined, else back.

    Says of each what it did. Exit codes: 0 nothing is left open, 1 something is.
    """
    loaded = read_settings(config_file)
    start_logging(loaded.settings, log_level, log_format, quiet=True)
    with desk_for(loaded.settings) as desk:
        try:
            journal = desk.store.journal
            waiting = (*journal.open_moves(), *journal.stranded_moves())
            forsaken = _forsaken(desk, {record.id for record in waiting})
            if not waiting:
                say("No move is open or stranded.")
                _refuse_forsaken(forsaken)
                return
            ended = run_leading(desk, lambda lead: [lead.settle(record) for record in waiting])
            if ended is None:
                ended = _recovered_by_leader(desk, waiting)
        except (StoreError, StoreRefusal) as error:
            fail(str(error), EXIT_FAILED)
    for record in ended:
        order = record.order
        said = record.resolution or record.sentence or "still open, see spotd journal"
        say(f"{order.host}: {record.state}: {said}")
    _refuse_forsaken(forsaken)
    if any(record.is_open for record in ended):
        fail("not everything could be settled", EXIT_FAILED)


def _forsaken(desk: Desk, known: set[str]) -> dict[str, str]:
    """Hosts that a move closed which had ended before they were looked at, or is not known at all."""
    snapshot = desk.region.collection.latest()
    services = None if snapshot is None else snapshot.readings.services
    if snapshot is None or services is None:
        return {}
    found = {}
    for host, move_id in closed_by_others(snapshot, known):
        record = desk.store.journal.move(move_id)
        if record is None or (record.finished_at is not None and record.finished_at < services.read_at):
            found[host] = move_id
    return found


def _refuse_forsaken(forsaken: dict[str, str]) -> None:
    """Leaves with each host that only a person can put right: nobody knows where its move came from."""
    lines = [
        f"{host} is closed by move {move_id}, which is not open in this journal: see that it is in one pool, "
        f"then openstack compute service set --enable {host} nova-compute"
        for host, move_id in sorted(forsaken.items())
    ]
    if lines:
        fail("\n".join(lines), EXIT_FAILED)


def _recovered_by_leader(desk: Desk, waiting: tuple[MoveRecord, ...]) -> list[MoveRecord]:
    """Asks the daemon that leads, and waits until it has tried."""
    journal = desk.store.journal
    ask_to_recover(journal, f"cli {getpass.getuser()}")
    give_up_at = time.monotonic() + PICK_UP_SECONDS
    while True:
        time.sleep(POLL_SECONDS)
        now = [journal.move(record.id) or record for record in waiting]
        is_late = time.monotonic() > give_up_at
        if is_late or (not is_recovering(journal) and not any(record.is_open for record in now)):
            return now


def _preview(desk: Desk, host: str, to: str, reason: str) -> Preview:
    grounds = desk.grounds()
    around = survey(Rules(), grounds.snapshot, (), desk.clock.now(), grounds.standing)
    asked_by = f"cli {getpass.getuser()}"
    return preview(host, to, around, asked_by=asked_by, reason=reason)


def _print_preview(shown: Preview) -> None:
    if (order := shown.order) is not None:
        say(f"{order.host}: {order.origin.name} -> {order.destination.name}")
        for command in commands_of(order):
            say(f"  {command}")
    table = Grid("guard", "verdict")
    for verdict in shown.verdicts:
        table.row(verdict.guard, "passes" if verdict.refusal is None else verdict.refusal.sentence)
    show(table)


def commands_of(order: MoveOrder) -> tuple[str, ...]:
    """What a person would type; spotd proves the host empty between the first and the second."""
    return (
        f"openstack compute service set --disable --disable-reason spotd:… {order.host} nova-compute",
        f"openstack aggregate remove host {order.origin.name} {order.host}",
        f"openstack aggregate add host {order.destination.name} {order.host}",
        f"openstack compute service set --enable {order.host} nova-compute",
    )


def _follow(desk: Desk, record: MoveRecord) -> MoveRecord:
    """Waits for the daemon that leads; tells each step."""
    told, give_up_at = 0, time.monotonic() + PICK_UP_SECONDS
    while True:
        now = desk.store.journal.move(record.id) or record
        for step in now.steps[told:]:
            if step.outcome == "began":
                break
            say(f"  {step.phase} {step.step}: {step.outcome} {step.detail}".rstrip())
            told += 1
        if now.state not in (MoveState.ASKED, MoveState.RUNNING):
            return now
        if now.state is MoveState.ASKED and time.monotonic() > give_up_at:
            fail(
                f"nobody began it yet; it stays asked for: spotd journal --host {now.order.host}", EXIT_FAILED
            )
        time.sleep(POLL_SECONDS)


def _report(record: MoveRecord) -> None:
    for_host = f"{record.order.host}: {record.state}: {record.sentence}"
    if record.state is MoveState.DONE:
        say(for_host)
    else:
        fail(for_host, EXIT_FAILED)
