"""A move that a person asks for over HTTP: previewed by the guards, then asked for in the journal."""

from collections.abc import Callable

from fastapi import Request

from spotd.planning.budgets import Budgets
from spotd.planning.by_hand import MANUAL, GuardVerdict
from spotd.planning.surroundings import Surroundings
from spotd.store.errors import KeyReused, StoreError
from spotd.store.records import MoveRecord
from spotd.web.api import move_views, plan_views
from spotd.web.api.acting import Acting, Clock, Preview
from spotd.web.api.envelope import Code, Refusal


def asked_by(request: Request) -> str:
    """Who asks, as the journal shows it."""
    return f"api {request.state.principal.name}"


def acting_of(acting: Acting | None) -> Acting:
    """What acts.

    Raises:
        Refusal: This daemon has no journal.
    """
    if acting is None:
        raise Refusal(Code.NOT_CONFIGURED, "There is no journal: set journal.url or a state directory.")
    return acting


def surroundings(acting: Acting) -> Surroundings:
    """The fleet as guards see it.

    Raises:
        Refusal: There is no snapshot, or the journal cannot be read.
    """
    try:
        around = acting.surroundings()
    except StoreError as error:
        raise journal_failed(error) from error
    if around is None:
        raise Refusal(Code.NOT_KNOWN_NOW, "There is no snapshot that a move could be judged by.")
    return around


def journal_failed(error: StoreError) -> Refusal:
    """The journal cannot be read or written."""
    return Refusal(Code.JOURNAL_FAILED, str(error))


def preview_view(host: str, to: str, preview: Preview) -> plan_views.PreviewView:
    """A preview as it is shown."""
    order, refusal = preview.order, preview.refusal
    said = [plan_views.verdict_view(verdict) for verdict in preview.verdicts]
    return plan_views.PreviewView(
        host=host,
        target_aggregate=to,
        allowed=order is not None and refusal is None,
        refusal=next((verdict for verdict in said if not verdict.passes), None),
        origin=None if order is None else move_views.place_view(order.origin),
        destination=None if order is None else move_views.place_view(order.destination),
        steps=[] if order is None else plan_views.planned_steps(order),
        verdicts=said,
    )


def previewed(acting: Acting, around: Surroundings, host: str, to: str, *, by: str, reason: str) -> Preview:
    """What the guards say of a move.

    Raises:
        Refusal: There is no such host or aggregate.
    """
    if host not in around.snapshot.hosts:
        raise Refusal(Code.UNKNOWN_HOST, f"There is no GPU host {host!r}.")
    if to not in around.pools:
        raise Refusal(Code.UNKNOWN_AGGREGATE, f"There is no aggregate {to!r}.")
    return acting.preview(host, to, around, asked_by=by, reason=reason)


def asked_before(acting: Acting, key: str | None, host: str, to: str) -> MoveRecord | None:
    """The move that was asked for with this key, whatever became of it.

    Raises:
        Refusal: The key stands for another move, or the journal failed.
    """
    if key is None:
        return None
    try:
        found = acting.journal.asked_with(key)
    except StoreError as error:
        raise journal_failed(error) from error
    if found is not None and (found.order.host, found.order.destination.name) != (host, to):
        raise Refusal(Code.KEY_REUSED, "The Idempotency-Key stands for another move.")
    return found


def asked_once(
    acting: Acting, key: str | None, host: str, to: str, ask: Callable[[], MoveRecord]
) -> MoveRecord:
    """The move that was asked for with this key before, else what `ask` comes to.

    Of requests with one key that come at once, each but the first is refused by what the first wrote down:
    that is no refusal, but the first one's move.

    Raises:
        Refusal: As `ask` raises it, or the key stands for another move.
    """
    record = asked_before(acting, key, host, to)
    if record is not None:
        return record
    try:
        return ask()
    except Refusal as refusal:
        if refusal.code is Code.JOURNAL_FAILED:
            raise
        record = asked_before(acting, key, host, to)
        if record is None:
            raise
        return record


def ask(acting: Acting, preview: Preview, key: str | None, now: Clock) -> MoveRecord:
    """Writes down that the move is wanted, provided that no guard says no.

    Raises:
        Refusal: A guard says no, another move of the host waits or runs, or the journal failed.
    """
    order, refusal = preview.order, preview.refusal
    if refusal is not None or order is None:
        sentence = "origin or destination is not clear" if refusal is None else refusal.sentence
        code = Code.FROZEN if refusal is not None and refusal.code == "frozen" else Code.REFUSED_BY_GUARDS
        raise Refusal(code, sentence if refusal is None else f"{refusal.code}: {sentence}.")
    journal = acting.journal
    try:
        for record in (*journal.open_moves(), *journal.asked_moves()):
            if record.order.host == order.host:
                raise Refusal(Code.HOST_CLAIMED, f"Move {record.id} of this host is {record.state}.")
        asked = journal.ask(order, now=now(), idempotency_key=key)
    except KeyReused as error:
        raise Refusal(Code.KEY_REUSED, str(error)) from error
    except StoreError as error:
        raise journal_failed(error) from error
    return asked


def within_budget(budgets: Budgets) -> GuardVerdict:
    """Whether the limits over all moves allow one more; counts it where they do."""
    refusal = budgets.refusal(MANUAL)
    if refusal is None:
        budgets.spend(MANUAL.name)
    return GuardVerdict("budget", refusal)


def budgets_of(acting: Acting, around: Surroundings) -> Budgets:
    """What the limits over all moves leave; a move that waits to be begun has spent its part.

    Raises:
        Refusal: The journal cannot be read.
    """
    try:
        budgets = Budgets(around.rules.limits, acting.recent(), around.now)
        waiting = acting.journal.asked_moves()
    except StoreError as error:
        raise journal_failed(error) from error
    for _ in waiting:
        budgets.spend(MANUAL.name)
    return budgets
