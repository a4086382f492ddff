"""What a look before the start found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One need, whether it is met, and in plain words what was seen or is to be done."""

    need: str
    is_met: bool
    detail: str
    is_optional: bool = False
    """Whether spotd does a part of its work without it."""
