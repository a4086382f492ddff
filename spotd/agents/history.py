"""The last runs of the agents: failures, which are rarer and asked for, are remembered longer."""

import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime

from spotd.agents.state import AgentName

SUCCESSES_KEPT = 5
FAILURES_KEPT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """How one run ended."""

    ended_at: datetime
    seconds: float
    reason: str | None = None
    """Code of the failure; None where it brought a whole answer."""
    message: str | None = None


class History:
    """Keeps a bounded number of each agent's runs; safe to use from several threads."""

    def __init__(self) -> None:
        self._successes: dict[AgentName, deque[PastRun]] = {}
        self._failures: dict[AgentName, deque[PastRun]] = {}
        self._lock = threading.Lock()

    def ended(self, agent: AgentName, run: PastRun) -> None:
        """Keeps the run in place of the oldest of its kind."""
        is_failure = run.reason is not None
        runs = self._failures if is_failure else self._successes
        with self._lock:
            kept = runs.setdefault(agent, deque(maxlen=FAILURES_KEPT if is_failure else SUCCESSES_KEPT))
            kept.appendleft(run)

    def successes(self, agent: AgentName) -> tuple[PastRun, ...]:
        """Newest first."""
        with self._lock:
            return tuple(self._successes.get(agent, ()))

    def failures(self, agent: AgentName) -> tuple[PastRun, ...]:
        """Newest first."""
        with self._lock:
            return tuple(self._failures.get(agent, ()))
