"""Guards of one move, which hang on the rule and on where the host goes; each returns why not, or None."""

from collections.abc import Callable
from dataclasses import dataclass

from spotd.fleet.snapshot import ClassifiedAggregate, Host
from spotd.planning.census import type_key
from spotd.planning.guards import cooldown
from spotd.planning.refusals import Code, Refusal
from spotd.planning.rules import Rule
from spotd.planning.surroundings import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A move that is asked about."""

    host: Host
    rule: Rule
    origin: ClassifiedAggregate
    destination: ClassifiedAggregate


MoveGuard = Callable[[Proposal, Surroundings], Refusal | None]


def nobody_on_it(proposal: Proposal, around: Surroundings) -> Refusal | None:  # noqa: ARG001 - likewise
    """The host is empty, or the rule waits for its servers to leave."""
    host = proposal.host
    if proposal.rule.hosts.take == "empty" and host.server_ids:
        return Refusal(Code.SERVERS_PRESENT, f"servers on it: {len(host.server_ids)}")
    if host.gpus_used and not host.server_ids:
        return Refusal(Code.GPUS_ALLOCATED, f"{host.gpus_used} GPUs are allocated though no server is on it")
    if host.is_allocated and not host.server_ids:
        return Refusal(Code.GPUS_ALLOCATED, "Placement has something allocated on it though no server is")
    if host.is_empty is None:
        return Refusal(Code.GPUS_UNKNOWN, "nobody knows whether Placement has anything allocated on it")
    return None


def nvlink_fits(proposal: Proposal, around: Surroundings) -> Refusal | None:  # noqa: ARG001 - likewise
    """The rule takes hosts with, or without, NVLink."""
    if takes_nvlink(proposal.rule, nvlink=proposal.host.nvlink):
        return None
    if proposal.host.nvlink is None:
        return Refusal(Code.NVLINK, "NetBox does not say whether it has NVLink")
    has = "has" if proposal.host.nvlink else "has no"
    return Refusal(Code.NVLINK, f"it {has} NVLink")


def takes_nvlink(rule: Rule, *, nvlink: bool | None) -> bool:
    """Whether the rule takes such hosts."""
    wanted = {"any": (True, False, None), "never": (False,), "only": (True,)}
    return nvlink in wanted[rule.hosts.nvlink]


def cooled_down_for_rule(proposal: Proposal, around: Surroundings) -> Refusal | None:
    """The last move of the host is long enough ago for this rule."""
    length = proposal.rule.limits.cooldown
    return None if length is None else cooldown(proposal.host, around, length)


def same_gpu_type(proposal: Proposal, around: Surroundings) -> Refusal | None:  # noqa: ARG001 - likewise
    """Origin and destination name the host's GPU type, contract aggregates too."""
    wanted = type_key(proposal.host.gpu_type or "")
    for classified in (proposal.origin, proposal.destination):
        if classified.gpu_type is None or type_key(classified.gpu_type) != wanted:
            says = classified.gpu_type or "no GPU type"
            name = classified.aggregate.name
            return Refusal(
                Code.GPU_TYPE_DIFFERS, f"it has {proposal.host.gpu_type}, {name} stands for {says}"
            )
    return None


def same_zone(proposal: Proposal, around: Surroundings) -> Refusal | None:
    """Nova allows one availability zone for a host, over all its aggregates."""
    zone = proposal.destination.aggregate.availability_zone
    for classified in _kept(proposal, around):
        other = classified.aggregate.availability_zone
        if None not in (zone, other) and zone != other:
            name = classified.aggregate.name
            return Refusal(
                Code.ZONE_CONFLICT, f"{name} keeps it in zone {other}, the destination is in {zone}"
            )
    return None


def flavors_find_it(proposal: Proposal, around: Surroundings) -> Refusal | None:
    """No metadata would keep the destination's flavors away from the host."""
    wanted, left = proposal.destination.aggregate.metadata, proposal.origin.aggregate.metadata
    for classified in _kept(proposal, around):
        for key, value in classified.aggregate.metadata.items():
            if _isolates(key) and wanted.get(key) != value:
                sentence = (
                    f"{classified.aggregate.name} keeps {key}={value} on it, which the destination lacks"
                )
                return Refusal(Code.METADATA_STRANDS_FLAVOR, sentence)
    for key, value in wanted.items():
        if key.startswith("trait:") and left.get(key) != value:
            sentence = f"the destination asks for {key}={value}, which the origin does not prove"
            return Refusal(Code.METADATA_STRANDS_FLAVOR, sentence)
    return None


MOVE_GUARDS: tuple[MoveGuard, ...] = (
    # People on the host go first, then the rule's own wishes, then what Nova and its schedulers need.
    nobody_on_it,
    nvlink_fits,
    cooled_down_for_rule,
    same_gpu_type,
    same_zone,
    flavors_find_it,
)


def move_refusal(proposal: Proposal, around: Surroundings) -> Refusal | None:
    """Why this rule may not take the host there now."""
    for guard in MOVE_GUARDS:
        if (found := guard(proposal, around)) is not None:
            return found
    return None


def _kept(proposal: Proposal, around: Surroundings) -> list[ClassifiedAggregate]:
    """The aggregates that hold the host besides its origin."""
    theirs = (around.pools[name] for name in proposal.host.aggregates if name in around.pools)
    return [classified for classified in theirs if classified is not proposal.origin]


def _isolates(key: str) -> bool:
    return key.startswith(("filter_tenant_id", "trait:"))
