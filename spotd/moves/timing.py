"""How long a move waits, and for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All in seconds."""

    settle_seconds: float = 30.0
    """From the trait that closes the host to the first proof: requests that were on their way land first.

    Measured on a busy control plane: allocations up to 2.3 s after the disable, servers in Nova's list up
    to 9.4 s.
    """
    proof_gap_seconds: float = 5.0
    """Between the two proofs that the host is empty."""
    trait_seconds: float = 90.0
    """Longest wait for Placement to show the host as disabled: Nova repairs a lost message within 60 s."""
    readback_seconds: float = 10.0
    """How long a write of unknown outcome is read back before it counts as not done."""
    quiet_seconds: float = 180.0
    """How long a move stays open, its host closed, after a write that nobody answered and that did not show.

    Nova works on after its client has given up: an add_host that hung while RabbitMQ was down takes effect
    when that is back. Measured were calls of more than 150 s. Without this the host would be opened in its
    origin and put into a second pool afterwards.
    """
    mirror_seconds: float = 10.0
    """How long Placement's mirror of the aggregates may lag behind."""
    poll_seconds: float = 1.0
    """Between two looks while waiting."""
    drain_poll_seconds: float = 15.0
    """Between two looks while servers leave by themselves."""
    patience_seconds: float = 900.0
    """How long a daemon tries to settle a move while the cloud is down, before the host is stranded."""
