"""`spotd collect`: one collection, shown as tables or as JSON."""

import json
import sys
import time
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from spotd.agents.collection import CollectionResult
from spotd.agents.state import AgentName, AgentState
from spotd.cli.options import EXIT_FAILED, exit_for
from spotd.cli.printing import Grid, say, show
from spotd.clock import SystemClock
from spotd.clouds.errors import CloudError
from spotd.daemon.region import Region, build_region
from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot
from spotd.fleet.totals import contract_totals, out_of_stock_totals, pool_totals
from spotd.settings import Settings

UNKNOWN = "?"


class _Requests:
    """Counts what a collection cost."""

    def __init__(self) -> None:
        self.count = 0
        self.received_bytes = 0

    def cloud_answered(
        self,
        service: str,  # noqa: ARG002 - the observer's signature
        operation: str,  # noqa: ARG002 - likewise
        code: str,  # noqa: ARG002 - likewise
        seconds: float,  # noqa: ARG002 - likewise
        received_bytes: int,
    ) -> None:
        self.count += 1
        self.received_bytes += received_bytes

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_keywords: None


def print_collection(settings: Settings, *, as_json: bool) -> None:
    """Collects once and prints; exit code 1 where an agent failed."""
    notes = Console(stderr=True)
    counts = _Requests()
    try:
        region = build_region(
            settings, clock=SystemClock(), recorder=counts, observer=counts.cloud_answered, wait_for_walk=True
        )
    except CloudError as error:
        exit_for(error)
    started = time.monotonic()
    try:
        result = _collect_with_progress(region, notes)
        snapshot = region.collection.latest()
        assert snapshot is not None  # noqa: S101 - a collection always joins one
        states = region.collection.states()
        if as_json:
            document = _document(snapshot, states, result, counts)
            json.dump(document, sys.stdout, indent=2, default=_plain)
            sys.stdout.write("\n")
        else:
            _print_tables(snapshot)
            _print_agents(states, result, counts, time.monotonic() - started)
    finally:
        region.close()
    for agent, message in sorted(result.failures.items()):
        say(f"{agent} failed: {message}", err=True)
    if result.failures:
        sys.exit(EXIT_FAILED)


def _collect_with_progress(region: Region, notes: Console) -> CollectionResult:
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=notes,
        transient=True,
        disable=not notes.is_terminal,
    ) as progress:
        tasks = {}

        def tell(agent: AgentName, what: str) -> None:
            if what == "started":
                tasks[agent] = progress.add_task(f"asking {agent}", total=1)
            else:
                progress.update(tasks[agent], completed=1, description=f"{agent} answered")

        return region.collection.collect(progress=tell)


def _plain(value: object) -> str:
    """What JSON has no type for."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _print_tables(snapshot: FleetSnapshot) -> None:
    pools = pool_totals(snapshot)
    if pools is None:
        say("Pools: unknown, since aggregates or compute services could not be read.")
    else:
        table = Grid("GPU type", "pool", "hosts", "free", "GPUs", "used", "utilisation", title="Pools")
        for row in pools:
            ratio = UNKNOWN if row.utilization_ratio is None else f"{row.utilization_ratio:.0%}"
            table.row(
                row.gpu_type,
                row.pool,
                _number(row.hosts),
                _number(row.free_hosts),
                _number(row.gpus),
                _number(row.gpus_used),
                ratio,
            )
        show(table)
    contracts = contract_totals(snapshot)
    if contracts:
        table = Grid("contract", "GPU type", "hosts", "GPUs", "used", title="Contracts")
        for contract in contracts:
            table.row(
                contract.contract,
                contract.gpu_type,
                _number(contract.hosts),
                _number(contract.gpus),
                _number(contract.gpus_used),
            )
        show(table)
    out = [row for row in out_of_stock_totals(snapshot) or () if row.hosts]
    if out:
        table = Grid("GPU type", "reason", "hosts", title="Out of stock")
        for reason in out:
            table.row(reason.gpu_type, reason.reason, str(reason.hosts))
        show(table)
    if snapshot.contradictions:
        table = Grid("host", "kind", "what the sources say", title="Contradictions")
        for found in snapshot.contradictions[:20]:
            table.row(found.host, found.kind, found.detail)
        show(table)


def _print_agents(
    states: tuple[AgentState, ...],
    result: CollectionResult,
    counts: _Requests,
    seconds: float,
) -> None:
    table = Grid("agent", "answered", "seconds", title="Agents")
    spent = 0.0
    for state in states:
        answered = {True: "yes", False: f"no: {state.last_failure_reason}", None: "not asked"}[
            state.succeeded
        ]
        spent += state.duration_seconds or 0.0
        table.row(
            state.agent,
            answered,
            UNKNOWN if state.duration_seconds is None else f"{state.duration_seconds:.3f}",
        )
    show(table)
    speedup = spent / result.seconds if result.seconds else 1.0
    say(
        f"{seconds:.2f} s, {counts.count} requests, {counts.received_bytes / 1e6:.2f} MB,"
        f" {speedup:.1f} times as fast as one agent after the other"
    )


def _document(
    snapshot: FleetSnapshot, states: tuple[AgentState, ...], result: CollectionResult, counts: _Requests
) -> dict[str, Any]:
    """Everything for a script; null is unknown."""
    sources = {
        source.value: reading.read_at if (reading := snapshot.readings.of(source)) is not None else None
        for source in Source
        if source is not Source.CONFIGURATION
    }
    hosts = []
    for host in snapshot.hosts.values():
        facts = {name: getattr(host, name) for name in host.__dataclass_fields__ if name != "sources"}
        hosts.append(facts | {"sources": dict(host.sources)})
    pools, contracts, out = pool_totals(snapshot), contract_totals(snapshot), out_of_stock_totals(snapshot)
    return {
        "assembled_at": snapshot.assembled_at,
        "read_at": sources,
        "hosts": hosts,
        "pools": None if pools is None else [asdict(row) for row in pools],
        "contracts": None if contracts is None else [asdict(row) for row in contracts],
        "out_of_stock": None if out is None else [asdict(row) for row in out],
        "contradictions": [asdict(found) for found in snapshot.contradictions],
        "agents": [asdict(state) for state in states],
        "requests": counts.count,
        "received_bytes": counts.received_bytes,
        "seconds": result.seconds,
    }
