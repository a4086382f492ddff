"""Settings of deciding and acting: where the rules are, and how long a move waits for what."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from spotd.settings import checks
from spotd.settings.group import Group

Wait = Annotated[float, checks.NOT_A_BOOLEAN, Field(ge=0, le=86_400, allow_inf_nan=False)]
WriteTime = Annotated[float, checks.NOT_A_BOOLEAN, Field(ge=5, le=3_600, allow_inf_nan=False)]
Quiet = Annotated[float, checks.NOT_A_BOOLEAN, Field(ge=10, le=86_400, allow_inf_nan=False)]
Failures = Annotated[int, checks.NOT_A_BOOLEAN, Field(ge=1, le=100)]


class RulesSettings(Group):
    """Which rules decide; without them nothing moves but what people ask for."""

    file: Path | None = None
    """YAML rules file; a relative path is taken from the working directory. Read again at every reload."""
    freeze_file: Path | None = None
    """While this file exists no move is begun; its first line is shown as the reason."""


class MovesSettings(Group):
    """How carefully a host is moved; all waits are in seconds."""

    settle_seconds: Wait = 30.0
    """From the closed host to the first proof: servers already on their way came up to 9.4 s late."""
    proof_gap_seconds: Wait = 5.0
    """Between the two proofs that the host is empty."""
    trait_seconds: Wait = 90.0
    """Longest wait until Placement shows the host as disabled; Nova repairs a lost message within 60 s."""
    write_timeout_seconds: WriteTime = 90.0
    """Longest wait for the answer to a write: Nova's own RPC timeout is 60 s."""
    quiet_seconds: Quiet = 180.0
    """How long a host stays closed after a write that nobody answered: some took effect after 150 s."""
    patience_seconds: Wait = 900.0
    """How long a move that an outage left open is settled anew before its host counts as stranded."""
    freeze_after_failures: Failures = 3
    """Moves taken back one after the other, after which spotd freezes itself."""
