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
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.retry_after_seconds = retry_after_seconds


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
