"""Servers by host: which, how many GPUs their flavors ask for, and whether they hold still."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from spotd.fleet.gpu_names import GpuNames
from spotd.fleet.values import Flavor, Server

IN_TRANSIT = frozenset({"BUILD", "MIGRATING", "REBUILD", "RESIZE", "REVERT_RESIZE", "VERIFY_RESIZE"})
"""Statuses in which a server's allocation may be on another host than the server, or on two."""
UNSURE = IN_TRANSIT | {"ERROR", "SHELVED_OFFLOADED", "UNKNOWN"}
"""Statuses in which a server may hold an allocation or none: no ground for a contradiction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The servers on one host."""

    ids: tuple[str, ...] = ()
    gpus: int | None = 0
    """Sum of the flavors' GPUs; None while one of them is unknown."""
    uses_gpus: bool = False
    """Whether a server's flavor proves that the host has GPUs."""
    unexplained: tuple[str, ...] = ()
    """Resource classes that flavors ask for and that nobody explains, sorted."""
    aliases: tuple[str, ...] = ()
    """PCI aliases that flavors ask for and that nobody explains, sorted."""
    is_settled: bool = True
    """Whether no server is in transit or in doubt."""
    hypervisors: tuple[str, ...] = ()
    """Hypervisor hostnames that the servers name for this host, sorted."""


IDLE = Running()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All servers by host."""

    by_host: Mapping[str, Running]
    gpus_in_transit: int | None
    """GPUs of all servers in transit, on a host or on their way to one; None while one is unknown."""


def workload(servers: Iterable[Server], names: GpuNames, host_name: Callable[[str], str]) -> Workload:
    """Group servers by the name that `host_name` gives their host; deleted ones are nowhere."""
    on_host: dict[str, list[Server]] = {}
    in_transit: list[int | None] = []
    for server in servers:
        status = server.status
        if status == "DELETED":
            continue
        if server.task_state is not None or status in IN_TRANSIT:
            in_transit.append(names.flavor_gpus(server.flavor))
        if server.host:
            on_host.setdefault(server.host, []).append(server)
    renamed: dict[str, list[Server]] = {}
    for host, theirs in on_host.items():
        renamed.setdefault(host_name(host), []).extend(theirs)
    return Workload(
        by_host={host: _running(theirs, names) for host, theirs in renamed.items()},
        gpus_in_transit=_sum(in_transit),
    )


def _running(servers: list[Server], names: GpuNames) -> Running:
    gpus = [names.flavor_gpus(server.flavor) for server in servers]
    return Running(
        ids=tuple(sorted([server.id for server in servers])),
        gpus=_sum(gpus),
        uses_gpus=_is_any(gpus) and any(names.proves_gpus(server.flavor) for server in servers),
        unexplained=_each(names.unexplained, servers) if None in gpus else (),
        aliases=_each(names.unexplained_aliases, servers) if None in gpus else (),
        is_settled=not any(server.task_state is not None or server.status in UNSURE for server in servers),
        hypervisors=tuple(sorted(_hypervisors(servers))),
    )


def _is_any(gpus: list[int | None]) -> bool:
    return any(number != 0 for number in gpus)


def _each(told: Callable[[Flavor], frozenset[str]], servers: list[Server]) -> tuple[str, ...]:
    return tuple(sorted({name for server in servers for name in told(server.flavor)}))


def _hypervisors(servers: list[Server]) -> set[str]:
    return {server.hypervisor_hostname for server in servers if server.hypervisor_hostname}


def _sum(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
