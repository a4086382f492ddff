"""A client's address: one client has one, however it reached this machine."""

from ipaddress import IPv4Address, IPv6Address, ip_address

_PROVIDER_BITS = 64


def plain_address(host: str) -> str:
    """The address of a connection: what a socket of both families calls `::ffff:192.0.2.1` is `192.0.2.1`."""
    address = _parsed(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return host


def counted_address(host: str) -> str:
    """An address as clients are counted: of IPv6 the network that one customer has."""
    address = _parsed(host)
    if address is None:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{int(address) >> (128 - _PROVIDER_BITS):x}::/64"
    return str(address)


def is_loopback(host: str) -> bool:
    """Whether the address is this machine's own, in either writing."""
    address = _parsed(plain_address(host))
    return address is not None and address.is_loopback


def _parsed(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None
