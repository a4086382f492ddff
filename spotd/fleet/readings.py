"""What an agent brought back, when, and how it went: readings and the health of their source."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Source(StrEnum):
    """Where a fact came from: one of the four agents, the compute services, or the configuration."""

    NETBOX = "netbox"
    AGGREGATES = "aggregates"
    SERVICES = "services"
    SERVERS = "servers"
    GPUS = "gpus"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[T_co]):
    """One whole answer of a source and the wall time at which the question was asked.

    `read_at` is taken before the first request, so that the age is never told too young.
    """

    value: T_co
    read_at: datetime

    def age_seconds(self, now: datetime) -> float:
        """Seconds since the question was asked; never negative, even when the wall clock is set back."""
        return max(0.0, (now - self.read_at).total_seconds())
