"""`spotd journal`, `spotd freeze` and `spotd unfreeze`: what spotd did and why, and how to stop it."""

import getpass
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from spotd.cli.following import follow_decisions, follow_moves
from spotd.cli.journaling import print_audit, print_decisions, print_moves, written
from spotd.cli.options import EXIT_FAILED, EXIT_USAGE, config_option, fail, leave_for, read_settings
from spotd.cli.printing import say
from spotd.clock import SystemClock
from spotd.planning.values import Duration
from spotd.settings import journal_url, state_directory
from spotd.store import Store, StoreError, open_store
from spotd.store.records import AuditRecord, MoveState

NO_JOURNAL = (
    "no journal: set journal.url, or collection.state_directory to the daemon's state directory, or name its "
    "configuration (--config.file /etc/spotd/spotd.yml)"
)


def _length(_context: click.Context, _parameter: click.Parameter, value: str | None) -> timedelta | None:
    """A length of time as rules files write it, or a usage error that says how one is written."""
    if value is None:
        return None
    try:
        length: timedelta = TypeAdapter(Duration).validate_python(value)
    except ValidationError as error:
        raise click.BadParameter(f"{value!r} {error.errors()[0]['ctx']['error']}") from None
    return length


@contextmanager
def opened_journal(config_file: Path | None) -> Iterator[Store]:
    """The daemon's journal, or an exit with one line: 2 where none is configured, 1 where it fails.

    None is ever made here: a freeze in a journal that no daemon reads would freeze nothing.
    """
    settings = read_settings(config_file).settings
    url = journal_url(settings.journal, state_directory(settings, os.environ))
    if url is None:
        fail(NO_JOURNAL, EXIT_USAGE)
    try:
        with open_store(url, create=False) as store:
            yield store
    except StoreError as error:
        leave_for(error)


@click.command()
@config_option
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Stay, and print what comes, one line each, until Ctrl-C.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="The newest so many."
)
@click.option("--host", help="Only of this host.")
@click.option(
    "--state", type=click.Choice([str(state) for state in MoveState]), help="Only moves in this state."
)
@click.option("--steps", is_flag=True, help="Each move with its steps.")
@click.option("--decisions", is_flag=True, help="What the rules decided, in place of moves.")
@click.option("--audit", is_flag=True, help="What people and programs asked of spotd, in place of moves.")
def journal(  # noqa: PLR0917 - one argument for each flag
    config_file: Path | None,
    output: str,
    follow: bool,  # noqa: FBT001 - click hands flags in by name
    limit: int,
    host: str | None,
    state: str | None,
    steps: bool,  # noqa: FBT001
    decisions: bool,  # noqa: FBT001
    audit: bool,  # noqa: FBT001
) -> None:
    """Show what spotd did, and why: moves, the newest last; each with the rule or person that wanted it.

    \b
    What has been moved lately:      spotd journal
    Watch it at work:                spotd journal --follow --steps
    Why a host moves or stays:       spotd journal --decisions --host HOST
    Hosts that need a person:        spotd journal --state stranded
    Who froze or moved by hand:      spotd journal --audit
    """  # noqa: D301 - click wants the character itself
    if decisions and audit:
        raise click.UsageError("--decisions and --audit are both given: choose one.")
    if (decisions or audit) and (state or steps):
        raise click.UsageError("--state and --steps are for moves, not for --decisions or --audit.")
    if audit and (host or follow):
        raise click.UsageError("--host and --follow are not for --audit.")
    as_json = output == "json"
    wanted = MoveState(state) if state else None
    with opened_journal(config_file) as store:
        book = store.journal
        if audit:
            print_audit(book.audit(limit), as_json=as_json)
        elif decisions and follow:
            _each_line(follow_decisions(book, limit, host), as_json=as_json)
        elif decisions:
            print_decisions(book.decisions(limit, host=host), as_json=as_json)
        elif follow:
            _each_line(follow_moves(book, limit, host, wanted, steps=steps), as_json=as_json)
        else:
            print_moves(book.moves(limit, host=host, state=wanted), as_json=as_json, steps=steps)


@click.command()
@config_option
@click.option("--reason", required=True, help="Why; the daemon, its metrics and the journal show it.")
@click.option(
    "--for",
    "length",
    callback=_length,
    help="How long, such as 90s, 10m, 2h or 3d; default: until `spotd unfreeze`.",
)
def freeze(config_file: Path | None, reason: str, length: timedelta | None) -> None:
    """Begin no more moves, from now on, even after a restart; one that runs is finished.

    Ends by itself after --for, else by `spotd unfreeze`. A freeze that holds already is not cut short.
    """
    now = SystemClock().now()
    until = now + length if length is not None else None
    with opened_journal(config_file) as store:
        store.journal.freeze(reason, _who(), now=now, until=until)
        detail = reason if until is None else f"{reason} (until {written(until)})"
        store.journal.record_audit(_audit("freeze", detail))
        held = store.journal.current_freeze(now)
    if held is None:
        fail("somebody lifted the freeze at once: see `spotd journal --audit`", EXIT_FAILED)
    end = "`spotd unfreeze`" if held.until is None else written(held.until)
    say(f"frozen until {end}: {held.reason}")


@click.command()
@config_option
def unfreeze(config_file: Path | None) -> None:
    """Lift every freeze; the next cycle may move hosts again."""
    now = SystemClock().now()
    with opened_journal(config_file) as store:
        was_frozen = store.journal.unfreeze(_who(), now=now)
        if was_frozen:
            store.journal.record_audit(_audit("unfreeze", ""))
        stranded = [move.order.host for move in store.journal.stranded_moves()]
    say("moves are free again" if was_frozen else "nothing was frozen")
    if stranded:
        say(f"spotd: warning: still stranded: {', '.join(stranded)}", err=True)


def _each_line(lines: Iterator[tuple[str, str]], *, as_json: bool) -> None:
    try:
        for text, document in lines:
            click.echo(document if as_json else text)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return  # how one leaves a follower


def _who() -> str:
    """The person behind the command, also behind sudo."""
    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = f"uid {os.getuid()}"
    return f"cli {name}"


def _audit(what: str, detail: str) -> AuditRecord:
    return AuditRecord(
        at=SystemClock().now(),
        who=_who(),
        from_where=socket.gethostname(),
        what=what,
        target="",
        outcome="done",
        detail=detail,
    )
