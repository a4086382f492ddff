"""Joins the readings into one fleet snapshot: every GPU host once, each fact with its source."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from spotd.fleet.classify import classify, unknown_pool
from spotd.fleet.facts import HostFacts, SharedSources
from spotd.fleet.gpu_facts import Evidence, learn_gpus
from spotd.fleet.gpu_names import GpuNames
from spotd.fleet.interpretation import Interpretation
from spotd.fleet.readings import Source
from spotd.fleet.roster import enroll, strangers
from spotd.fleet.snapshot import (
    ClassifiedAggregate,
    Contradiction,
    ContradictionKind,
    FleetSnapshot,
    Host,
    OutOfStock,
    Readings,
)

FOR_SALE_IN_NETBOX = "active"


def assemble(
    readings: Readings,
    interpretation: Interpretation,
    assembled_at: datetime,
    contradictions: Iterable[Contradiction] = (),
) -> FleetSnapshot:
    """Join the readings; what no reading tells stays unknown, and the order within a reading is no matter.

    `contradictions` are known before the readings are joined: what kept a reading from being among them.
    """
    classified = _classified(readings, interpretation)
    names = GpuNames(
        interpretation,
        aggregate_types={c.gpu_type for c in classified if c.gpu_type is not None},
        resource_classes=_resource_classes(readings),
    )
    aggregates = tuple(_spelled(c, names) for c in classified)
    evidence = Evidence(readings=readings, roster=enroll(readings, aggregates, names), names=names)
    sources = SharedSources()
    hosts: dict[str, Host] = {}
    found = [*contradictions, *_unknown_pools(aggregates), *_strangers(evidence)]
    for name in evidence.roster.names:
        if evidence.is_gpu_host(name):
            facts = _facts(name, evidence)
            hosts[name] = facts.host(sources)
            found += facts.contradictions
    return FleetSnapshot(
        assembled_at=assembled_at,
        readings=readings,
        hosts=MappingProxyType(hosts),
        aggregates=aggregates,
        contradictions=tuple(sorted(found, key=lambda c: (c.kind, c.host, c.aggregate or "", c.detail))),
        unexplained_classes=evidence.all_unexplained(),
    )


def _classified(readings: Readings, interpretation: Interpretation) -> list[ClassifiedAggregate]:
    if readings.aggregates is None:
        return []
    ordered = sorted(
        readings.aggregates.value.aggregates, key=lambda aggregate: (aggregate.id, aggregate.name)
    )
    return [classify(aggregate, interpretation) for aggregate in ordered]


def _resource_classes(readings: Readings) -> set[str]:
    trees = readings.gpus.value.trees.values() if readings.gpus is not None else ()
    return {name for tree in trees if not tree.is_bare_metal for name in tree.gpus}


def _spelled(classified: ClassifiedAggregate, names: GpuNames) -> ClassifiedAggregate:
    """The aggregate with the one spelling of its GPU type, so that two spellings make no two types."""
    if classified.gpu_type is None:
        return classified
    return replace(classified, gpu_type=names.spelled(names.key(classified.gpu_type)))


def _unknown_pools(aggregates: Iterable[ClassifiedAggregate]) -> list[Contradiction]:
    return [
        Contradiction(
            kind=ContradictionKind.UNKNOWN_POOL,
            host="",
            aggregate=classified.aggregate.name,
            detail=f"its metadata names a pool {pool!r}, which does not exist",
        )
        for classified in aggregates
        if (pool := unknown_pool(classified)) is not None
    ]


def _strangers(evidence: Evidence) -> list[Contradiction]:
    if evidence.readings.services is None:
        return []
    left_over = tuple(tree for tree in evidence.roster.left_over_trees if evidence.tree_counts(tree))
    return strangers(replace(evidence.roster, left_over_trees=left_over))


def _facts(name: str, evidence: Evidence) -> HostFacts:
    """Everything that is known of one GPU host."""
    facts = HostFacts(name)
    for sentence in evidence.roster.doubts.get(name, ()):
        facts.contradict(ContradictionKind.AMBIGUOUS_NAME, sentence)
    _learn_aggregates(facts, evidence)
    _learn_nova(facts, evidence)
    _learn_provider(facts, evidence)
    _learn_device(facts, evidence)
    learn_gpus(facts, evidence)
    _learn_stock(facts, evidence)
    return facts


def _learn_aggregates(facts: HostFacts, evidence: Evidence) -> None:
    if evidence.readings.aggregates is None:
        return
    membership = evidence.roster.membership(facts.name)
    facts.learn(
        Source.AGGREGATES,
        pool=membership.pool,
        pools=membership.pools,
        variant=membership.variant,
        contract=membership.contract,
        aggregates=membership.aggregates,
    )
    if membership.is_several:
        told = ", ".join(membership.aggregates)
        facts.contradict(ContradictionKind.SEVERAL_POOLS, f"in aggregates {told}")


def _learn_nova(facts: HostFacts, evidence: Evidence) -> None:
    service = evidence.roster.services.get(facts.name)
    if service is not None:
        facts.learn(
            Source.SERVICES,
            service_status=service.status,
            service_state=service.state,
            disabled_reason=service.disabled_reason,
            availability_zone=service.zone,
        )
    if "availability_zone" not in facts.known:
        zone = evidence.roster.membership(facts.name).availability_zone
        facts.learn(Source.AGGREGATES, availability_zone=zone)
    if evidence.readings.servers is not None:
        facts.learn(Source.SERVERS, server_ids=evidence.roster.running(facts.name).ids)


def _learn_provider(facts: HostFacts, evidence: Evidence) -> None:
    named = evidence.roster.running(facts.name).hypervisors
    if facts.name in evidence.roster.bare_metal:
        return
    if len(named) == 1:
        facts.learn(Source.SERVERS, hypervisor_hostname=named[0])
    if (tree := evidence.roster.trees.get(facts.name)) is not None:
        if not named:
            facts.learn(Source.GPUS, hypervisor_hostname=tree.name)
        facts.learn(Source.GPUS, resource_provider=tree.uuid)


def _learn_device(facts: HostFacts, evidence: Evidence) -> None:
    if (device := evidence.roster.devices.get(facts.name)) is not None:
        facts.learn(
            Source.NETBOX,
            netbox_status=device.status,
            tenant=device.tenant,
            owner_group=device.tenant_group,
            site=device.site,
            rack=device.rack,
            nvlink=device.nvlink,
        )


def _learn_stock(facts: HostFacts, evidence: Evidence) -> None:
    """Why the host is not for sale: the first reason that holds, none of which a missing reading is."""
    readings = evidence.readings
    service = evidence.roster.services.get(facts.name)
    status = facts.known.get("netbox_status")
    if status is not None and status != FOR_SALE_IN_NETBOX:
        facts.learn(Source.NETBOX, out_of_stock=OutOfStock.NETBOX_STATUS)
    elif readings.services is not None and service is None:
        facts.learn(Source.SERVICES, out_of_stock=OutOfStock.NO_COMPUTE_SERVICE)
    elif facts.name in evidence.roster.bare_metal:
        source = Source.SERVERS if evidence.roster.running(facts.name).hypervisors else Source.GPUS
        facts.learn(source, out_of_stock=OutOfStock.BARE_METAL)
    elif (
        readings.aggregates is not None
        and (reason := evidence.roster.membership(facts.name).out_of_stock) is not None
    ):
        facts.learn(Source.AGGREGATES, out_of_stock=reason)
    elif service is not None and service.status != "enabled":
        facts.learn(Source.SERVICES, out_of_stock=OutOfStock.SERVICE_DISABLED)
    elif service is not None and service.state != "up":
        facts.learn(Source.SERVICES, out_of_stock=OutOfStock.SERVICE_DOWN)
