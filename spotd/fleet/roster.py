"""Who is who: one name for each host, and what each source has under it."""

import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from spotd.fleet.gpu_names import GpuNames
from spotd.fleet.joins import join
from spotd.fleet.membership import NOWHERE, Membership, memberships
from spotd.fleet.snapshot import ClassifiedAggregate, Contradiction, ContradictionKind, Readings
from spotd.fleet.values import ComputeService, Device, Gpus, ProviderTree
from spotd.fleet.workload import IDLE, Running, Workload, workload

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Nova names the hypervisor of a bare-metal node by the node's uuid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Every host that any source names, by its one name; also those without GPUs."""

    names: tuple[str, ...]
    services: Mapping[str, ComputeService]
    memberships: Mapping[str, Membership]
    workload: Workload
    changed: frozenset[str]
    """Hosts whose servers changed since the reading before."""
    devices: Mapping[str, Device]
    possible_devices: Mapping[str, tuple[Device, ...]]
    """Where more than one device fits a name, or one device more than one name."""
    trees: Mapping[str, ProviderTree]
    possible_trees: Mapping[str, tuple[ProviderTree, ...]]
    """Where more than one tree fits a name, or one tree more than one name."""
    unread: frozenset[str]
    """Hosts whose provider tree could not be read."""
    doubts: Mapping[str, tuple[str, ...]]
    """What is ambiguous about a name, in sentences."""
    left_over_trees: tuple[ProviderTree, ...]
    bare_metal: frozenset[str]
    """Hosts that are compute services for bare-metal nodes: each node is a hypervisor and a provider."""

    def membership(self, name: str) -> Membership:
        """The aggregates that hold the host."""
        return self.memberships.get(name, NOWHERE)

    def running(self, name: str) -> Running:
        """The servers on the host, provided that servers are known."""
        return self.workload.by_host.get(name, IDLE)


def enroll(readings: Readings, aggregates: Iterable[ClassifiedAggregate], names: GpuNames) -> Roster:
    """Give each host one name and join the sources by it; what is ambiguous is joined to nothing."""
    services = _services(readings)
    servers = readings.servers.value if readings.servers is not None else None
    as_service = _tolerant(services)
    work = workload(servers.servers.values() if servers is not None else (), names, as_service)
    members = memberships(aggregates, names, _tolerant([*services, *work.by_host]))
    nova = {*services, *work.by_host, *members}

    doubts: dict[str, list[str]] = {}
    inventory = readings.netbox.value.devices if readings.netbox is not None else {}
    devices, possible, inventoried = _join_devices(nova, inventory, doubts)
    gpus = readings.gpus.value if readings.gpus is not None else None
    bare_metal = _node_computes(work, gpus)
    providers = _join_providers(nova - bare_metal, inventoried, work, gpus, doubts)
    unoccupied = services.keys() - work.by_host.keys() - devices.keys()
    return Roster(
        names=tuple(sorted(nova | inventoried)),
        services=services,
        memberships=members,
        workload=work,
        changed=frozenset(map(as_service, servers.changed_hosts)) if servers is not None else frozenset(),
        devices=devices,
        possible_devices=possible,
        trees=providers.trees,
        possible_trees=providers.possible,
        unread=providers.unread,
        doubts={name: tuple(sorted(sentences)) for name, sentences in doubts.items()},
        left_over_trees=providers.left_over,
        bare_metal=frozenset(bare_metal | _idle_computes(unoccupied, gpus, providers)),
    )


def strangers(roster: Roster) -> list[Contradiction]:
    """What is on hosts that no service stands for; true only while services are known."""
    found: list[Contradiction] = []
    for name, running in roster.workload.by_host.items():
        if name not in roster.services:
            detail = f"{len(running.ids)} servers run on it and Nova has no compute service for it"
            found.append(Contradiction(kind=ContradictionKind.UNKNOWN_HOST, host=name, detail=detail))
    for name, membership in roster.memberships.items():
        if name not in roster.services:
            told = ", ".join(membership.aggregates)
            detail = f"aggregates {told} name it and Nova has no compute service for it"
            found.append(Contradiction(kind=ContradictionKind.NO_COMPUTE_SERVICE, host=name, detail=detail))
    for tree in roster.left_over_trees:
        detail = f"provider {tree.uuid} has GPUs and its name fits no host"
        found.append(Contradiction(kind=ContradictionKind.UNKNOWN_PROVIDER, host=tree.name, detail=detail))
    return found


def _services(readings: Readings) -> dict[str, ComputeService]:
    if readings.services is None:
        return {}
    # Should a host come twice, the record that keeps it out of sale counts.
    ordered = sorted(
        readings.services.value.services,
        key=lambda service: (service.status != "enabled", service.state != "up", service.id),
    )
    return {service.host: service for service in ordered}


def _tolerant(known: Iterable[str]) -> Callable[[str], str]:
    """Spell a name as it is known, where exactly one known name differs from it by case alone."""
    exact = set(known)
    by_fold: dict[str, set[str]] = {}
    for name in exact:
        by_fold.setdefault(name.casefold(), set()).add(name)

    def spell(name: str) -> str:
        if name in exact:
            return name
        fitting = by_fold.get(name.casefold(), ())
        return next(iter(fitting)) if len(fitting) == 1 else name

    return spell


def _join_devices(
    nova: set[str], inventory: Mapping[int, Device], doubts: dict[str, list[str]]
) -> tuple[dict[str, Device], dict[str, tuple[Device, ...]], set[str]]:
    """Devices by host name, devices that may be a host, and the names of those that Nova does not know."""
    joined = join(nova, {number: device.name for number, device in inventory.items()})
    devices = {name: inventory[number] for name, number in joined.pairs.items()}
    possible: dict[str, tuple[Device, ...]] = {}
    for name, numbers in joined.ambiguous.items():
        possible[name] = tuple(inventory[number] for number in sorted(numbers))
        told = ", ".join(f"{device.name} (NetBox {device.id})" for device in possible[name])
        doubts.setdefault(name, []).append(f"not the only one for which NetBox's {told} may stand")
    taken = nova | set(joined.left_over.values())
    inventoried: set[str] = set()
    by_name: dict[str, list[int]] = {}
    for number, device_name in joined.left_over.items():
        by_name.setdefault(device_name, []).append(number)
    for device_name, numbers_of_name in by_name.items():
        for number in sorted(numbers_of_name):
            name = device_name
            if len(numbers_of_name) > 1:
                # Two machines of one name, in two sites, are two hosts: each needs a name of its own.
                while name in taken:
                    name = f"{name} (NetBox {number})"
                doubts.setdefault(name, []).append(f"NetBox has {len(numbers_of_name)} devices of this name")
            taken.add(name)
            inventoried.add(name)
            devices[name] = inventory[number]
    return devices, possible, inventoried


@dataclass(frozen=True, slots=True, kw_only=True)
class _Providers:
    trees: Mapping[str, ProviderTree]
    possible: Mapping[str, tuple[ProviderTree, ...]]
    unread: frozenset[str]
    left_over: tuple[ProviderTree, ...]


def _join_providers(
    nova: set[str], inventoried: set[str], work: Workload, gpus: Gpus | None, doubts: dict[str, list[str]]
) -> _Providers:
    """Provider trees by host name: by what the host's servers say, else by the names.

    Those of bare-metal nodes are no host's.
    """
    unread = frozenset() if gpus is None else frozenset(gpus.unread)
    trees = {
        name: tree
        for name, tree in (gpus.trees.items() if gpus is not None else ())
        if name not in unread and not tree.is_bare_metal
    }
    open_providers = {name: name for name in (*trees, *unread)}
    pairs, ambiguous, unnamed = _named_by_servers(nova, work, open_providers, doubts)
    for names in (unnamed, inventoried):
        joined = join(names, open_providers)
        pairs.update(joined.pairs)
        ambiguous.update(joined.ambiguous)
        for name, fitting in joined.ambiguous.items():
            told = ", ".join(sorted(fitting))
            doubts.setdefault(name, []).append(f"not the only one for which Placement's {told} may stand")
        open_providers = dict(joined.left_over)
    return _Providers(
        trees={name: trees[provider] for name, provider in pairs.items() if provider in trees},
        possible={
            name: tuple(trees[provider] for provider in providers if provider in trees)
            for name, providers in ambiguous.items()
        },
        unread=frozenset(name for name, provider in pairs.items() if provider in unread),
        left_over=tuple(trees[provider] for provider in open_providers if provider in trees),
    )


def _node_computes(work: Workload, gpus: Gpus | None) -> set[str]:
    """Hosts all of whose servers are on bare-metal nodes: their hypervisors' names are no host's.

    Several such hosts may share nodes, and a node may pass from one to another.
    """

    def is_node(hypervisor: str) -> bool:
        tree = gpus.trees.get(hypervisor) if gpus is not None else None
        return tree.is_bare_metal if tree is not None else UUID.fullmatch(hypervisor) is not None

    return {
        name
        for name, running in work.by_host.items()
        if running.hypervisors and all(map(is_node, running.hypervisors))
    }


def _idle_computes(unoccupied: AbstractSet[str], gpus: Gpus | None, providers: _Providers) -> set[str]:
    """Hosts without servers and without a provider, where only bare-metal nodes' are left to be theirs.

    Nova tells only of a node with a server which compute service stands for it.
    """
    if gpus is None or gpus.unread or providers.left_over:
        return set()
    if not any(tree.is_bare_metal for tree in gpus.trees.values()):
        return set()
    return set(unoccupied - providers.trees.keys() - providers.possible.keys())


def _named_by_servers(
    nova: set[str], work: Workload, open_providers: dict[str, str], doubts: dict[str, list[str]]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]], set[str]]:
    """Hosts whose servers name one hypervisor, hosts whose servers leave doubt, and the other hosts.

    Nova gives the provider exactly the hypervisor's name: one that Placement does not know is unknown.
    """
    hosts: dict[str, list[str]] = {}
    named: set[str] = set()
    for name, running in work.by_host.items():
        for hypervisor in running.hypervisors if name in nova else ():
            named.add(name)
            hosts.setdefault(hypervisor, []).append(name)
    pairs: dict[str, str] = {}
    ambiguous: dict[str, tuple[str, ...]] = {}
    for name in named:
        hypervisors = work.by_host[name].hypervisors
        claimants = hosts[hypervisors[0]]
        if len(hypervisors) > 1:
            ambiguous[name] = hypervisors
            doubts.setdefault(name, []).append(f"servers on it name hypervisors {', '.join(hypervisors)}")
        elif len(claimants) > 1:
            ambiguous[name] = hypervisors
            told = f"servers on {', '.join(sorted(claimants))} name hypervisor {hypervisors[0]}"
            doubts.setdefault(name, []).append(told)
        elif hypervisors[0] in open_providers:
            pairs[name] = hypervisors[0]
    for hypervisor in hosts:
        open_providers.pop(hypervisor, None)
    return pairs, ambiguous, nova - named
