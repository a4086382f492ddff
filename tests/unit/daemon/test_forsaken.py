"""A host that spotd closed and forgot is told of: a journal may be lost, restored, or not the only one."""

from datetime import timedelta

import pytest
from fleets import NOW, FleetBuilder
from structlog.testing import capture_logs

from spotd.daemon.forsaken import SURE_AFTER, Forsaken
from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot

OURS = "spotd:move-1 moving to H100-n3-spot"


def seen(at: timedelta, reason: str | None = OURS, status: str = "disabled") -> FleetSnapshot:
    builder = FleetBuilder().aggregate("H100-n3", "gpu-1").tree("gpu-1", CUSTOM_GPU_H100=(8, 0))
    builder.service("gpu-1", status=status, disabled_reason=reason)
    return builder.read(Source.SERVICES, NOW + at).snapshot()


def test_tells_of_a_host_whose_move_no_journal_has() -> None:
    """Once in the log, and as long as it lasts in the count."""
    forsaken = Forsaken()

    with capture_logs() as told:
        found = [forsaken.look(seen(SURE_AFTER * times), ()) for times in (0, 1, 2)]

    assert [(), ("gpu-1",), ("gpu-1",)] == found
    assert [("gpu-1", "move-1", "error")] == [
        (line["host"], line["move_id"], line["log_level"]) for line in told
    ]


@pytest.mark.parametrize(
    ("reason", "status"),
    [(OURS, "enabled"), ("maintenance", "disabled"), (None, "disabled"), ("spotd preflight", "disabled")],
)
def test_leaves_alone_what_is_open_or_somebody_elses(reason: str | None, status: str) -> None:
    forsaken = Forsaken()

    found = [forsaken.look(seen(SURE_AFTER * times, reason, status), ()) for times in (0, 1)]

    assert [(), ()] == found


def test_a_host_whose_move_is_open_is_not_forsaken() -> None:
    forsaken = Forsaken()

    found = [forsaken.look(seen(SURE_AFTER * times), {"move-1"}) for times in (0, 1)]

    assert [(), ()] == found


def test_a_reading_from_before_the_end_of_a_move_counts_for_nothing() -> None:
    """The move is over in the journal at once, and in the snapshot with the next reading."""
    forsaken = Forsaken()

    found = [
        forsaken.look(seen(timedelta(0)), ()),
        forsaken.look(seen(timedelta(0)), ()),
        forsaken.look(seen(timedelta(seconds=15), status="enabled", reason=None), ()),
        forsaken.look(seen(SURE_AFTER * 2), ()),
    ]

    assert [()] * 4 == found


def test_says_nothing_while_the_services_are_unknown() -> None:
    forsaken = Forsaken()
    forsaken.look(seen(timedelta(0)), ())

    assert () == forsaken.look(FleetBuilder().without(Source.SERVICES).snapshot(), ())
