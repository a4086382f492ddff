"""What the embedded cloud's parts refuse, with the real servers' words; the HTTP faces give it its shape."""


class RefusedError(Exception):
    """A request that the cloud answers with an error: `status` is the HTTP status, `message` its text."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequestError(RefusedError):
    """The request makes no sense (400)."""

    status = 400


class UnauthorizedError(RefusedError):
    """No token, or one that is unknown, expired or revoked (401)."""

    status = 401


class ForbiddenError(RefusedError):
    """The caller's roles do not allow this (403)."""

    status = 403


class NotFoundError(RefusedError):
    """There is no such thing (404)."""

    status = 404


class ConflictError(RefusedError):
    """The present state does not allow this (409)."""

    status = 409


class FailedError(RefusedError):
    """The server failed inside (500); a write may have taken effect."""

    status = 500
