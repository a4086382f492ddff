"""The socket that is listened on, for an address as Prometheus' exporters take it.

`:PORT` and `[::]:PORT` listen on IPv4 and IPv6, `0.0.0.0:PORT` on IPv4 alone. A name means one of its
addresses, the first of IPv4 where it has one, as Go's `net.Listen` has it.
"""

import errno
import socket
from ipaddress import IPv6Address, ip_address

_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


class ListenError(Exception):
    """The address cannot be listened on; `str()` names it and says why."""


def listening_socket(listen_address: str) -> socket.socket:
    """A bound socket.

    Raises:
        ListenError: It cannot be bound.
    """
    host, _, port = listen_address.rpartition(":")
    try:
        return _bound(_plain(host.removeprefix("[").removesuffix("]")), int(port))
    except (OSError, OverflowError, ValueError) as error:  # ValueError: no name of a host can be so
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = reason.partition(" (while attempting")[0]  # what follows repeats the address
        raise ListenError(f"cannot listen on {listen_address}: {reason}") from error


def _bound(host: str, port: int) -> socket.socket:
    if host in {"", "::"}:
        return _on_every_address(host, port)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return socket.create_server(address, family=family)


def _on_every_address(host: str, port: int) -> socket.socket:
    """Of both families; an empty host is content with IPv4 where the machine has no IPv6."""
    if not host and not socket.has_dualstack_ipv6():
        return socket.create_server(("", port))
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError) as error:
        if host and isinstance(error, ValueError):
            raise OSError(
                errno.EAFNOSUPPORT, "this machine has no IPv6: use :PORT or 0.0.0.0:PORT"
            ) from error
        if host or getattr(error, "errno", None) not in _NO_IPV6:
            raise
        return socket.create_server(("", port))


def _plain(host: str) -> str:
    """An IPv4 address in IPv6's writing is the IPv4 address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return "::" if isinstance(address, IPv6Address) and address.is_unspecified else host
