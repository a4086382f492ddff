"""The health of the agents: what is remembered of their runs, logged and counted."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from spotd.agents.history import History, PastRun
from spotd.agents.recorder import CollectionRecorder
from spotd.agents.state import AgentName, AgentState, Outcome
from spotd.clock import Clock
from spotd.clouds.errors import CloudError, Failure
from spotd.logs import mask_text

UNEXPECTED = "unexpected"
"""Failure reason of an error nobody foresaw: a fault of spotd, logged with its traceback."""

LONGEST_PAUSE_SECONDS = 300.0
"""A cloud that asks for a longer pause (Retry-After) is asked again after this."""

_FORGET_TOKEN_AFTER = {
    Failure.CONFIGURATION,
    Failure.CONNECTION,
    Failure.MALFORMED,
    Failure.MICROVERSION,
    Failure.NOT_FOUND,
    Failure.NOT_IN_CATALOG,
    Failure.UNAUTHORIZED,
}
_FORGET_TOKEN_EVERY_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Health:
    """Keeps each agent's state; safe to use from several threads."""

    def __init__(
        self,
        names: tuple[AgentName, ...],
        *,
        clock: Clock,
        recorder: CollectionRecorder,
        forget_token: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._recorder = recorder
        self._forget_token = forget_token
        self._token_forgotten_at = float("-inf")
        self._states = {name: AgentState(agent=name) for name in names}
        self._lock = threading.Lock()
        self.history = History()

    def states(self) -> tuple[AgentState, ...]:
        """The state of each agent."""
        with self._lock:
            return tuple(self._states.values())

    def is_asked_to_wait(self, name: AgentName) -> bool:
        """Whether the agent's cloud asked for a pause that is not over."""
        with self._lock:
            retry_at = self._states[name].retry_at
        return retry_at is not None and self._clock.now() < retry_at

    def began(self, name: AgentName) -> None:
        """A run began."""
        self._set(name, running_since=self._clock.now())

    def succeeded(self, name: AgentName, seconds: float, outcome: Outcome) -> None:
        """A run ended well; one that the cache answered asked nobody and says nothing of the agent."""
        if outcome.from_cache:
            self._set(name, running_since=None)
            return
        now = self._clock.now()
        before = self._set(
            name,
            running_since=None,
            last_run=now,
            last_success=now,
            duration_seconds=seconds,
            succeeded=True,
            retry_at=None,
        )
        self.history.ended(name, PastRun(ended_at=now, seconds=seconds))
        self._recorder.agent_ran(name, seconds, outcome.items)
        if before.succeeded is False:
            log.info("agent recovered", agent=name)

    def contradicted(self, name: AgentName, seconds: float | None, error: CloudError) -> None:
        """Another source shows that the reading is not whole; `seconds` None: the run counted already."""
        with self._lock:
            state = self._states[name]
        if seconds is not None:
            self.failed(name, seconds, error)
        elif state.running_since is None and state.succeeded:
            self.failed(name, state.duration_seconds or 0.0, error)

    def failed(self, name: AgentName, seconds: float, error: Exception) -> None:
        """A run ended badly; the failure is remembered after the next success too."""
        now = self._clock.now()
        retry_at = None
        if isinstance(error, CloudError):
            reason, sentence = error.reason.value, mask_text(str(error))  # a cloud may echo what it got
            log.warning("agent failed", agent=name, reason=reason, error=sentence)
            if error.retry_after_seconds is not None:
                retry_at = now + timedelta(seconds=min(error.retry_after_seconds, LONGEST_PAUSE_SECONDS))
            self._maybe_forget_token(error.reason)
        else:
            reason, sentence = UNEXPECTED, f"{type(error).__name__}: see the log"
            log.error("agent failed unexpectedly", agent=name, exc_info=error)
        self._set(
            name,
            running_since=None,
            last_run=now,
            last_failure=now,
            last_failure_reason=reason,
            last_failure_message=sentence,
            duration_seconds=seconds,
            succeeded=False,
            retry_at=retry_at,
        )
        self.history.ended(name, PastRun(ended_at=now, seconds=seconds, reason=reason, message=sentence))
        self._recorder.agent_failed(name, seconds, reason)

    def _maybe_forget_token(self, reason: Failure) -> None:
        """A moved or corrected endpoint is in a new catalog, and a catalog comes with a token.

        At the old address is nobody, somebody else, a redirect or an older API.
        """
        if reason not in _FORGET_TOKEN_AFTER:
            return
        with self._lock:
            if self._clock.monotonic() - self._token_forgotten_at < _FORGET_TOKEN_EVERY_SECONDS:
                return
            self._token_forgotten_at = self._clock.monotonic()
        self._forget_token()

    def _set(self, name: AgentName, **facts: Any) -> AgentState:
        """Changes these facts of the state; returns the state before."""
        with self._lock:
            before = self._states[name]
            self._states[name] = replace(before, **facts)
        return before
