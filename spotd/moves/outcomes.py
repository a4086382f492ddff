"""How a step can end other than well."""

from spotd.planning.refusals import Code, Refusal


class MoveRefused(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """A guard says no before anything was written."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


class StepFailed(Exception):  # noqa: N818 - named for what happened
    """The step was not done, which was read back or never tried; what was done before is taken back.

    `is_final`: the cloud refused the write (a 4xx), so that trying again will not help.
    """

    def __init__(self, sentence: str, *, is_final: bool = True) -> None:
        super().__init__(sentence)
        self.is_final = is_final


class Unsettled(Exception):  # noqa: N818 - named for what is so
    """Nobody can tell whether a write took effect, or will; the move stays open and is settled later."""


class GaveWay(StepFailed):
    """Nothing failed: the move made way for somebody, and what was done is taken back.

    `code`: why, as the journal keeps it; such a move counts for no freeze.
    """

    def __init__(self, sentence: str, *, code: str = Code.SERVERS_PRESENT, is_final: bool = True) -> None:
        super().__init__(sentence, is_final=is_final)
        self.code: str = code


class Interrupted(GaveWay):
    """The process is leaving."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, code="interrupted", is_final=False)
