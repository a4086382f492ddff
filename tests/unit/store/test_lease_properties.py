"""Under any order of taking, renewing, lapsing and giving up there is one holder at most."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from orders import NOW, TTL, order
from standing import Clock

from spotd.store import LeaseLost, open_store

DAEMONS = st.integers(0, 2)


class Daemons(RuleBasedStateMachine):
    """Three daemons on one database; a small model says who holds the lease."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = open_store("sqlite://", clock=self.clock)
        self.leases = [self.store.lease("a daemon", TTL) for _ in range(3)]
        self.last_tokens: list[int | None] = [None, None, None]
        self.given_out: list[int] = []
        self.holder: int | None = None
        self.ends_at = self.clock.seconds

    def holds(self, daemon: int) -> bool:
        return self.holder == daemon and self.clock.seconds < self.ends_at

    @rule(daemon=DAEMONS)
    def tries(self, daemon: int) -> None:
        is_free = self.holder is None or self.clock.seconds >= self.ends_at
        renews = self.holds(daemon)

        token = self.leases[daemon].try_acquire()

        if not is_free and not renews:
            assert token is None
            return
        assert token is not None
        if renews:
            assert token == self.last_tokens[daemon]
        else:
            assert token > max(self.given_out, default=0)
            self.given_out.append(token)
        self.holder, self.last_tokens[daemon] = daemon, token
        self.ends_at = self.clock.seconds + TTL.total_seconds()

    @rule(daemon=DAEMONS)
    def gives_up(self, daemon: int) -> None:
        had_it = self.holder == daemon and self.leases[daemon].token is not None
        self.leases[daemon].release()
        if had_it:
            self.holder = None

    @rule(seconds=st.sampled_from([1.0, 4.0, 9.5, 10.0, 25.0]))
    def passes(self, seconds: float) -> None:
        self.clock.move(seconds)

    @rule(daemon=DAEMONS)
    def dies_and_starts_again(self, daemon: int) -> None:
        self.leases[daemon] = self.store.lease("a daemon", TTL)
        if self.holder == daemon:
            self.holder = -1  # nobody knows the token any more; it only lapses

    @rule(daemon=DAEMONS)
    def writes(self, daemon: int) -> None:
        token = self.last_tokens[daemon]
        if token is None:
            return
        may = token == max(self.given_out) and self.holder is not None and self.clock.seconds < self.ends_at
        try:
            self.store.journal.begin(
                order(f"gpu-{len(self.store.journal.moves(1000))}"), token=token, now=NOW
            )
        except LeaseLost:
            assert not may
        else:
            assert may

    @invariant()
    def one_holder_at_most(self) -> None:
        holding = [daemon for daemon, lease in enumerate(self.leases) if lease.token is not None]
        assert holding == [daemon for daemon in range(3) if self.holds(daemon)]
        assert len(holding) <= 1

    def teardown(self) -> None:
        self.store.close()


TestDaemons = Daemons.TestCase
TestDaemons.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
