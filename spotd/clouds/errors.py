"""What can go wrong when a cloud is asked, in words that an operator and a metric share."""

from enum import StrEnum


class Failure(StrEnum):
    """Closed set of reasons why a call brought no usable answer; metric label and log field."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    MICROVERSION = "microversion"
    CONFLICT = "conflict"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    MALFORMED = "malformed"
    INCOMPLETE = "incomplete"
    NOT_IN_CATALOG = "not_in_catalog"
    CONFIGURATION = "configuration"


_NOT_DONE = frozenset(
    {
        Failure.UNAUTHORIZED,
        Failure.FORBIDDEN,
        Failure.NOT_FOUND,
        Failure.MICROVERSION,
        Failure.CONFLICT,
        Failure.REFUSED,
        Failure.RATE_LIMITED,
        Failure.NOT_IN_CATALOG,
        Failure.CONFIGURATION,
    }
)
"""The cloud said no (every 4xx), or nothing was sent."""
_REFUSED = frozenset(
    {Failure.FORBIDDEN, Failure.NOT_FOUND, Failure.MICROVERSION, Failure.CONFLICT, Failure.REFUSED}
)
"""A no to the request itself; a 401 and a 429 are about the moment."""
_GATEWAY = frozenset({502, 503, 504})
"""Mostly a proxy's, while the service behind it may still be at work."""


class CloudError(Exception):
    """A call that brought no usable answer.

    `str()` is one sentence for an operator. It never holds a token, a password or a URL with credentials.
    """

    def __init__(
        self,
        reason: Failure,
        message: str,
        *,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        was_sent: bool = True,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.was_sent = was_sent
        """False where the call ended before its request left: Keystone gave no token for it."""

    @property
    def may_have_happened(self) -> bool:
        """Whether a write that ended so may have taken effect: then only reading back can tell.

        True after a timeout, a connection or TLS that broke, a 5xx, and a 2xx with a document that is
        not the expected one. False after a 4xx, and where nothing was sent.
        """
        return self.was_sent and self.reason not in _NOT_DONE

    @property
    def may_yet_happen(self) -> bool:
        """Whether a write that ended so may take effect later, because nobody said that it is over.

        True after a timeout, a connection or TLS that broke, and a gateway's answer in place of the
        service's. A service that answers, also with a 500, is done with the request.
        """
        unanswered = self.reason in (Failure.TIMEOUT, Failure.CONNECTION, Failure.TLS)
        return self.was_sent and (unanswered or self.status in _GATEWAY)

    @property
    def is_refusal(self) -> bool:
        """Whether the service refused this very request, so that the same one will be refused again."""
        return self.was_sent and self.reason in _REFUSED


def malformed(what: str, saw: object = None) -> CloudError:
    """The answer has another shape than the API promises; `saw` is named by its type only."""
    seen = "" if saw is None else f", got {type(saw).__name__}"
    return CloudError(Failure.MALFORMED, f"{what}{seen}")


def incomplete(what: str) -> CloudError:
    """The answer is well-formed and known to be only a part of the truth."""
    return CloudError(Failure.INCOMPLETE, what)


def without_secret(text: str, secret: str | bytes | None) -> str:
    """The other side's words without the credential that it was sent: some gateways repeat headers."""
    plain = secret.decode("latin-1") if isinstance(secret, bytes) else secret
    return text.replace(plain, "***") if plain else text
