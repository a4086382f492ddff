"""How many connections the process has file descriptors for, beside those of its own work."""

import resource

import structlog

from spotd.web.connections import MOST_CONNECTIONS

OWN_DESCRIPTORS = 124
"""For the agents' and the moves' connections to clouds, the journal, files; what 1,024 leave over."""
_OWN_PART = 3 / 4
"""Of fewer descriptors, the daemon's own work comes first."""

log = structlog.get_logger(__name__)


def raise_limit() -> None:
    """Takes as many as the process may have: the usual 1,024 are for those who call select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in {hard, resource.RLIM_INFINITY}:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # the kernel's own limit is lower
        log.warning("limit of open files not raised", limit=soft, reason=str(error))


def most_connections() -> int:
    """What this process can hold at once; says so where it is less than usual."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = connections_within(limit)
    if most < MOST_CONNECTIONS:
        log.warning("fewer connections than usual: raise the limit of open files", limit=limit, most=most)
    return most


def connections_within(limit: int) -> int:
    """Connections that leave enough of so many descriptors to the daemon's own work."""
    if limit == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    own = min(OWN_DESCRIPTORS, int(limit * _OWN_PART))
    return max(1, min(MOST_CONNECTIONS, limit - own))
