"""GPU type, number and use of one host, and what the sources disagree about."""

from dataclasses import dataclass

from spotd.fleet.facts import HostFacts
from spotd.fleet.gpu_names import SHARES, GpuNames
from spotd.fleet.readings import Source
from spotd.fleet.roster import Roster
from spotd.fleet.snapshot import ContradictionKind, Readings
from spotd.fleet.values import Device, GpuCount, ProviderTree

LARGEST_SKEW_SECONDS = 120.0
"""Readings further apart than this are not compared: what changed between them is no disagreement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the readings hold on GPUs, for all hosts."""

    readings: Readings
    roster: Roster
    names: GpuNames

    def is_gpu_host(self, name: str) -> bool:
        """Whether anything says that the host has GPUs."""
        roster = self.roster
        if roster.membership(name).is_gpu or roster.running(name).uses_gpus:
            return True
        # What may be the host's counts too: a GPU host whose name is in doubt must not drop out of sight.
        trees = [roster.trees[name]] if name in roster.trees else roster.possible_trees.get(name, ())
        if any(map(self.tree_counts, trees)):
            return True
        devices = [roster.devices[name]] if name in roster.devices else roster.possible_devices.get(name, ())
        return any(map(self.is_gpu_device, devices))

    def is_gpu_device(self, device: Device) -> bool:
        """Whether NetBox says that the device has GPUs: by its count, its role or a tag."""
        return (
            bool(self.device_gpus(device))
            or device.role in self.names.interpretation.gpu_roles
            or any(self.names.tag_type(tag) is not None for tag in device.tags)
        )

    def device_gpus(self, device: Device) -> int | None:
        """NetBox's number of GPUs; a number below zero is none."""
        return device.gpu_count if device.gpu_count is None or device.gpu_count >= 0 else None

    def gpu_counts(self, name: str) -> dict[str, GpuCount]:
        """The GPU classes of the host's provider tree."""
        tree = self.roster.trees.get(name)
        return self.tree_counts(tree) if tree is not None else {}

    def tree_counts(self, tree: ProviderTree) -> dict[str, GpuCount]:
        """The GPU classes of a provider tree."""
        return {name: count for name, count in tree.gpus.items() if self.names.is_gpu_class(name)}

    def unexplained(self, name: str) -> tuple[str, ...]:
        """Resource classes in use on the host of which nobody says whether they are GPUs."""
        tree = self.roster.trees.get(name)
        used = {cls for cls, count in tree.gpus.items() if count.used} if tree is not None else set()
        return tuple(
            sorted(
                {cls for cls in used if not self.names.explains(cls)}.union(
                    self.roster.running(name).unexplained
                )
            )
        )

    def all_unexplained(self) -> tuple[str, ...]:
        """Resource classes of the whole region, in use or not, of which nobody says whether they are GPUs."""
        trees = self.readings.gpus.value.trees.values() if self.readings.gpus is not None else ()
        offered = {
            cls
            for tree in trees
            for cls in tree.gpus
            if not tree.is_bare_metal and not self.names.explains(cls)
        }
        running = self.roster.workload.by_host.values()
        aliases = {f"PCI alias {alias}" for each in running for alias in each.aliases}
        return tuple(sorted(offered.union(aliases, *(each.unexplained for each in running))))


def are_simultaneous(readings: Readings) -> bool:
    """Whether servers and Placement were asked close enough to each other to be compared."""
    servers, gpus = readings.servers, readings.gpus
    return (
        servers is not None
        and gpus is not None
        and abs((servers.read_at - gpus.read_at).total_seconds()) <= LARGEST_SKEW_SECONDS
    )


def learn_gpus(facts: HostFacts, evidence: Evidence) -> None:
    """Find out the host's GPU type, how many GPUs it has and how many are used.

    A compute service for bare-metal nodes has no GPUs of its own, whatever its servers' flavors say.
    """
    if facts.name in evidence.roster.bare_metal:
        _learn_type(facts, evidence, {})
        return
    counts = evidence.gpu_counts(facts.name)
    key = _learn_type(facts, evidence, counts)
    _learn_number(facts, evidence, counts, key)
    _learn_used(facts, evidence, counts)
    _learn_allocated(facts, evidence)
    gpus, used = facts.known.get("gpus"), facts.known.get("gpus_used")
    if gpus is not None and used is not None and used > gpus:
        facts.contradict(ContradictionKind.OVERCOMMITTED, f"{used} GPUs are used of {gpus}")


def _learn_type(facts: HostFacts, evidence: Evidence, counts: dict[str, GpuCount]) -> str | None:
    """The aggregates' type, else the resource class's, else NetBox's; of two types in one source, none."""
    names = evidence.names
    device = evidence.roster.devices.get(facts.name)
    class_types = {names.key(name) for cls in counts if (name := names.class_type(cls)) is not None}
    tags = device.tags if device is not None else ()
    tag_types = {names.key(name) for tag in tags if (name := names.tag_type(tag)) is not None}
    told = (
        (Source.AGGREGATES, evidence.roster.membership(facts.name).type_keys),
        (Source.GPUS, class_types),
        (Source.NETBOX, tag_types),
    )
    if len({key for _, keys in told for key in keys}) > 1:
        says = (
            f"{source} say {', '.join(map(names.spelled, sorted(keys)))}" for source, keys in told if keys
        )
        facts.contradict(ContradictionKind.GPU_TYPE, "; ".join(says))
    for source, keys in told:
        if len(keys) == 1:
            (key,) = keys
            facts.learn(source, gpu_type=names.spelled(key))
            return key
    return None


def _learn_number(
    facts: HostFacts, evidence: Evidence, counts: dict[str, GpuCount], type_key: str | None
) -> None:
    if facts.name in evidence.roster.unread:
        return
    device = evidence.roster.devices.get(facts.name)
    in_netbox = evidence.device_gpus(device) if device is not None else None
    if counts:
        gpus = sum(count.capacity for count in counts.values())
        reserved = sum(count.reserved for count in counts.values())
        facts.learn(Source.GPUS, gpus=gpus, gpus_reserved=reserved)
        # NetBox counts cards: with shares of cards in Placement the two count different things.
        counts_cards = not any(map(SHARES.fullmatch, counts))
        if in_netbox is not None and in_netbox != gpus + reserved and counts_cards:
            detail = f"Placement has {gpus + reserved} GPUs, NetBox {in_netbox}"
            facts.contradict(ContradictionKind.GPU_COUNT, detail)
    elif in_netbox is not None:
        facts.learn(Source.NETBOX, gpus=in_netbox)
    elif type_key is not None:
        facts.learn(Source.CONFIGURATION, gpus=evidence.names.per_host(type_key))


def _learn_used(facts: HostFacts, evidence: Evidence, counts: dict[str, GpuCount]) -> None:
    if facts.name in evidence.roster.unread:
        return
    if unexplained := evidence.unexplained(facts.name):
        # What else is used may be GPUs too, so that no number here would be the whole one.
        source = Source.GPUS if facts.name in evidence.roster.trees else Source.SERVERS
        facts.learn(source, unexplained_classes=unexplained)
        return
    by_flavors = None
    if evidence.readings.servers is not None:
        by_flavors = evidence.roster.running(facts.name).gpus
    if not counts:
        facts.learn(Source.SERVERS, gpus_used=by_flavors)
        return
    used = sum(count.used for count in counts.values())
    facts.learn(Source.GPUS, gpus_used=used)
    if by_flavors is not None and used != by_flavors and _must_agree(facts.name, evidence, used - by_flavors):
        detail = f"Placement has {used} GPUs allocated, the servers' flavors ask for {by_flavors}"
        facts.contradict(ContradictionKind.GPUS_USED, detail)


def _learn_allocated(facts: HostFacts, evidence: Evidence) -> None:
    """Whether Placement has anything allocated on the host: its own tree says so, or all that may be its."""
    roster = evidence.roster
    if evidence.readings.gpus is None or facts.name in roster.unread:
        return
    if (tree := roster.trees.get(facts.name)) is not None:
        facts.learn(Source.GPUS, is_allocated=tree.is_allocated)
    elif not evidence.readings.gpus.value.unread:
        possible = (*roster.possible_trees.get(facts.name, ()), *roster.left_over_trees)
        if all(each.is_allocated is False for each in possible):
            facts.learn(Source.GPUS, is_allocated=False)


def _must_agree(name: str, evidence: Evidence, excess: int) -> bool:
    """Whether a difference cannot come from a server that is changing or on its way between hosts.

    A server's GPUs are allocated before Nova says on which host, and while a resize or a migration is
    not confirmed they are allocated on the host that it left as well: such an excess explains itself.
    """
    roster = evidence.roster
    if (
        not are_simultaneous(evidence.readings)
        or name in roster.changed
        or not roster.running(name).is_settled
    ):
        return False
    in_transit = roster.workload.gpus_in_transit
    return in_transit is not None and not 0 < excess <= in_transit
