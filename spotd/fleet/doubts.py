"""Readings that cannot be whole, because another source contradicts them at scale.

Nova answers 200 with an empty or a short list while a cell hangs, a proxy with half of one. A single host
on which two sources differ is a contradiction to report; many at once are no fact about hosts, but a
list with holes, and nothing of it counts as known.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from spotd.fleet.joins import short_name
from spotd.fleet.readings import Reading, Source
from spotd.fleet.snapshot import Readings
from spotd.fleet.values import ProviderTree, Server
from spotd.fleet.workload import UNSURE

SAME_MOMENT = timedelta(seconds=5)
"""Readings that were asked for so close to each other saw the same cloud; what changed later than that may be
why an older one differs."""
EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A reading that another one contradicts."""

    source: Source
    against: Source
    """Whose reading says otherwise."""
    sentence: str
    is_sure: bool
    """False where the other reading is of another moment: then the two may both have been right."""


def is_at_scale(missing: int, of: int) -> bool:
    """Whether so many missing things speak of a list with holes: half of them, or a quarter of many."""
    return (missing >= 2 and 2 * missing >= of) or (missing >= 3 and 4 * missing >= of)  # noqa: PLR2004


def doubts(readings: Readings) -> tuple[Doubt, ...]:
    """The readings that cannot be whole, each once; one that is doubted is no evidence against another."""
    found: dict[Source, Doubt] = {}
    for look in _LOOKS:
        doubt = look(readings)
        if doubt is not None and doubt.source not in found and doubt.against not in found:
            found[doubt.source] = doubt
    return tuple(found.values())


def _services_of_servers(readings: Readings) -> Doubt | None:
    """Compute services, against the hosts that servers run on."""
    services, servers = readings.services, readings.servers
    if services is None or servers is None:
        return None
    hosts = {server.host for server in servers.value.servers.values() if server.host}
    return _missing_services(readings, hosts, Source.SERVERS, "servers run on", servers)


def _services_of_aggregates(readings: Readings) -> Doubt | None:
    """Compute services, against hosts that aggregates name: Nova takes a host out when its service goes."""
    if readings.aggregates is None:
        return None
    hosts = {host for aggregate in readings.aggregates.value.aggregates for host in aggregate.hosts}
    return _missing_services(readings, hosts, Source.AGGREGATES, "aggregates name", readings.aggregates)


def _missing_services(
    readings: Readings, hosts: set[str], against: Source, evidence: str, other: Reading[object]
) -> Doubt | None:
    if readings.services is None:
        return None
    known = {service.host.casefold() for service in readings.services.value.services}
    missing = {host for host in hosts if host.casefold() not in known}
    if not missing or not (is_at_scale(len(missing), len(hosts)) or not known):
        return None
    sentence = f"nova: of {len(hosts)} hosts that {evidence}, {len(missing)} have no compute service"
    return Doubt(
        source=Source.SERVICES,
        against=against,
        sentence=f"{sentence} ({_some(missing)}): the list of services has holes",
        is_sure=_same_moment(readings.services, other),
    )


def _servers_of_gpus(readings: Readings) -> Doubt | None:
    """Servers, against hypervisors whose GPUs Placement has in use beyond what their servers hold."""
    servers, gpus = readings.servers, readings.gpus
    if servers is None or gpus is None:
        return None
    used = {
        tree.name: sum(count.used for count in tree.gpus.values())
        for tree in gpus.value.trees.values()
        if any(count.used for count in tree.gpus.values())
    }
    everyone = servers.value.servers.values()
    missing = _short_of_servers(used, gpus.value.trees, everyone)
    # A server holds its allocation before it has a host, and on two hosts while it goes from one to another.
    in_transit = sum(server.task_state is not None or server.status in UNSURE for server in everyone)
    count = len(missing) - in_transit
    if count <= 0 or not (is_at_scale(count, len(used)) or not servers.value.servers):
        return None
    return Doubt(
        source=Source.SERVERS,
        against=Source.GPUS,
        sentence=f"nova: Placement says that GPUs of {len(used)} hosts are used, on {len(missing)} of them"
        f" Nova lists too few servers ({_some(missing)}): it has holes, or allocations were left behind",
        is_sure=_same_moment(servers, gpus),
    )


def _short_of_servers(
    used: Mapping[str, int], trees: Mapping[str, ProviderTree], servers: Iterable[Server]
) -> set[str]:
    """Hypervisors without any server, or whose servers ask for fewer GPUs than are used.

    Flavors count only by the very resource classes that Placement has there: with PCI aliases, or devices
    that another service allocates, they do not tell.
    """
    named: set[str | None] = set()
    asked: Counter[str] = Counter()
    for server in servers:
        named.add(server.host)
        named.add(server.hypervisor_hostname)
        if (tree := trees.get(server.hypervisor_hostname or "")) is not None:
            for name, count in server.flavor.resources:
                asked[tree.name] += count if name in tree.gpus else 0
    occupied = {short_name(name) for name in named if name}
    return {
        name for name, count in used.items() if short_name(name) not in occupied or 0 < asked[name] < count
    }


def _gpus_of_servers(readings: Readings) -> Doubt | None:
    """Placement's use, against servers whose flavors ask for the very classes that are said to be idle."""
    servers, gpus = readings.servers, readings.gpus
    if servers is None or gpus is None:
        return None
    trees = {name: tree for name, tree in gpus.value.trees.items() if tree.gpus}
    asking = _asking(servers.value.servers.values(), trees)
    idle = {name for name in asking if not any(count.used for count in trees[name].gpus.values())}
    if not is_at_scale(len(idle), len(asking)):
        return None
    return Doubt(
        source=Source.GPUS,
        against=Source.SERVERS,
        sentence=f"placement: servers on {len(asking)} hosts ask for GPUs, and on {len(idle)} of them"
        f" Placement says that none is used ({_some(idle)})",
        is_sure=_same_moment(servers, gpus),
    )


def _trees_of_servers(readings: Readings) -> Doubt | None:
    """Providers, against the hypervisors that servers name, which Placement knows by exactly that name."""
    servers, gpus = readings.servers, readings.gpus
    if servers is None or gpus is None:
        return None
    named = {
        server.hypervisor_hostname
        for server in servers.value.servers.values()
        if server.hypervisor_hostname and server.status not in UNSURE
    }
    missing = named - gpus.value.trees.keys() - set(gpus.value.unread)
    return _missing_trees(missing, named, Source.SERVERS, "servers run on", readings, servers)


def _trees_of_services(readings: Readings) -> Doubt | None:
    """Providers, against hosts of aggregates whose compute service is up; those of bare metal have none."""
    services, gpus, aggregates = readings.services, readings.gpus, readings.aggregates
    if services is None or gpus is None or aggregates is None:
        return None
    if any(tree.is_bare_metal for tree in gpus.value.trees.values()):
        return None
    pooled = {host for aggregate in aggregates.value.aggregates for host in aggregate.hosts}
    up = {service.host for service in services.value.services if service.state == "up"} & pooled
    known = {short_name(name) for name in (*gpus.value.trees, *gpus.value.unread)}
    missing = {host for host in up if short_name(host) not in known}
    if 2 * len(missing) < len(up):  # what is known of these names is less sure than what servers say
        return None
    return _missing_trees(missing, up, Source.SERVICES, "are in aggregates and up", readings, services)


def _missing_trees(  # noqa: PLR0917 - one call for each kind of evidence
    missing: set[str],
    named: set[str],
    against: Source,
    evidence: str,
    readings: Readings,
    other: Reading[object],
) -> Doubt | None:
    if readings.gpus is None or not is_at_scale(len(missing), len(named)):
        return None
    return Doubt(
        source=Source.GPUS,
        against=against,
        sentence=f"placement: of {len(named)} hosts that {evidence}, {len(missing)} have no resource provider"
        f" ({_some(missing)})",
        is_sure=_same_moment(readings.gpus, other),
    )


_LOOKS: tuple[Callable[[Readings], Doubt | None], ...] = (
    _services_of_aggregates,
    # Placement tells whether the servers are whole before they tell of anything else.
    _servers_of_gpus,
    _services_of_servers,
    _gpus_of_servers,
    _trees_of_servers,
    _trees_of_services,
)


def _asking(servers: Iterable[Server], trees: dict[str, ProviderTree]) -> set[str]:
    """Hypervisors with a settled server whose flavor asks for a class that their tree offers."""
    asked: dict[str, set[str]] = defaultdict(set)
    for server in servers:
        if server.hypervisor_hostname in trees and server.task_state is None and server.status not in UNSURE:
            asked[server.hypervisor_hostname].update(name for name, count in server.flavor.resources if count)
    return {name for name, classes in asked.items() if not classes.isdisjoint(trees[name].gpus)}


def _same_moment(one: Reading[object], other: Reading[object]) -> bool:
    return abs(one.read_at - other.read_at) <= SAME_MOMENT


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = "" if len(ordered) <= EXAMPLES else ", …"
    return ", ".join(ordered[:EXAMPLES]) + more
