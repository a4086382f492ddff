"""Ten thousand mutations of each list that spotd reads: none crashes it, none makes a number up, all heal."""

import json
import re
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from clouds_under_test import StandingClock, watching
from fleets import default_interpretation
from hypothesis import HealthCheck, given, settings
from mutations import Mutation, encoded, mutations
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from spotd.agents.belief import Belief
from spotd.agents.state import Changes
from spotd.clouds.errors import CloudError
from spotd.daemon.region import Region
from spotd.fleet.assemble import assemble
from spotd.fleet.readings import Reading, Source
from spotd.fleet.snapshot import FleetSnapshot, Readings
from spotd.fleet.totals import contract_totals, out_of_stock_totals, pool_totals
from spotd.sim import CloudSize, EmbeddedCloud

CASES = 10_000
MOST_MEMORY_BYTES = 64 * 1024 * 1024
MAX_AGES = dict.fromkeys(set(Source) - {Source.CONFIGURATION}, 900.0)
UNKNOWN = (404, {"Content-Type": "application/json"}, b'{"errors": [{"detail": "no such thing"}]}')
KINDS = (
    ("token", r"/auth/tokens$"),
    ("services", r"/os-services"),
    ("changes", r"/servers/detail\?.*changes-since"),
    ("walk", r"/servers/detail"),
    ("aggregates", r"/os-aggregates"),
    ("providers", r"/resource_providers(\?|$)"),
    ("tree", r"/allocation_candidates\?.*in_tree"),
    ("summaries", r"/allocation_candidates"),
    ("tenants", r"/tenancy/tenants/"),
    ("deletions", r"/object-changes/"),
    ("device changes", r"/dcim/devices/.*last_updated__gte"),
    ("devices", r"/dcim/devices/"),
)
"""Requests by what they ask for; the first that fits."""
FREE = {
    # What a person or a server may leave out, or write as it likes: another value there is another truth.
    "task_state", "OS-EXT-STS:task_state", "disabled_reason", "forced_down", "availability_zone", "zone",
    "metadata", "hosts", "tags", "custom_fields", "tenant", "site", "rack", "role", "name", "status", "value",
    "extra_specs", "flavor", "original_name", "updated", "updated_at", "group", "slug", "display", "label",
    "OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname", "parent_provider_uuid", "last_updated",
    "root_provider_uuid", "generation", "next", "previous", "count", "action", "changed_object_id", "host",
}  # fmt: skip


class Wire(BaseAdapter):
    """Answers every request of a session from the documents that a clean run brought."""

    def __init__(self, inner: BaseAdapter) -> None:
        super().__init__()
        self.inner: BaseAdapter | None = inner
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.lies: dict[str, bytes] = {}

    def send(self, request: requests.PreparedRequest, *_: Any, **keywords: Any) -> requests.Response:
        kind = kind_of(request.url or "")
        if kind not in self.answers and self.inner is not None:
            found = self.inner.send(request, **keywords)
            self.answers[kind] = found.status_code, dict(found.headers), found.content
            return found
        status, headers, body = self.answers.get(kind, UNKNOWN)
        body = self.lies.get(kind, body)
        response = requests.Response()
        response.status_code, response.url, response.request = status, request.url or "", request
        response.headers.update({**headers, "Content-Length": str(len(body))})
        response.raw = HTTPResponse(body=BytesIO(body), status=status, preload_content=False)
        response._content = body
        return response

    def close(self) -> None:
        pass


def kind_of(url: str) -> str:
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return next((kind for kind, pattern in KINDS if re.search(pattern, target)), target)


@dataclass
class Fuzzed:
    """The agents of a region whose answers come from memory."""

    region: Region
    clock: StandingClock
    wires: tuple[Wire, ...]
    clean: Readings

    def document(self, kind: str) -> Any:
        return json.loads(next(wire.answers[kind][2] for wire in self.wires if kind in wire.answers))

    def lie(self, kind: str, body: bytes) -> None:
        for wire in self.wires:
            wire.lies = {kind: body}

    def tell_the_truth(self) -> None:
        for wire in self.wires:
            wire.lies = {}

    def snapshot(self, fresh: dict[str, Reading[object]]) -> FleetSnapshot:
        now = self.clock.now()
        belief = Belief()
        belief.of(self.clean, now, MAX_AGES)
        readings: Any = replace(self.clean, **fresh)
        return assemble(belief.of(readings, now, MAX_AGES), default_interpretation(), now)


def numbers(snapshot: FleetSnapshot) -> dict[str, float]:
    """Every number that is shown, by a name; one that is unknown is not among them."""
    found: dict[str, float | None] = {}
    for pool in pool_totals(snapshot) or ():
        for name in ("hosts", "free_hosts", "gpus", "gpus_used", "utilization_ratio"):
            found[f"{pool.gpu_type}/{pool.pool}/{name}"] = getattr(pool, name)
    for contract in contract_totals(snapshot) or ():
        found[f"{contract.contract}/{contract.gpu_type}/gpus"] = contract.gpus
    for out in out_of_stock_totals(snapshot) or ():
        found[f"{out.gpu_type}/{out.reason}"] = out.hosts if out.is_whole else None
    for host in snapshot.hosts.values():
        found[f"{host.name}/gpus"] = host.gpus
        found[f"{host.name}/gpus_used"] = host.gpus_used
        found[f"{host.name}/servers"] = None if host.server_ids is None else len(host.server_ids)
    return {name: value for name, value in found.items() if value is not None}


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    clock = StandingClock()
    size = CloudSize(hosts=4, projects=1)
    with EmbeddedCloud(size, seed=11, now=clock) as cloud, watching(cloud, clock=clock) as watched:
        region = watched.region
        assert region.netbox is not None
        watched.settle()
        change(cloud, clock)
        sessions = (region.session._wire, region.netbox._session)
        wires = tuple(Wire(session.get_adapter("http://x")) for session in sessions)
        for session, wire in zip(sessions, wires, strict=True):
            session.mount("http://", wire)
        region.session.forget_token()
        region.gpus._names = {}
        watched.collect()
        clock.move(10)
        watched.collect()
        region.servers._walk_due_at = None
        watched.settle()
        clean = watched.snapshot().readings
        for wire in wires:
            wire.inner = None
        yield Fuzzed(region, clock, wires, clean)


def change(cloud: EmbeddedCloud, clock: StandingClock) -> None:
    """So that the lists of what changed hold something."""
    clock.time += timedelta(seconds=200)
    names = sorted(host.name for host in cloud.world.computes.hosts.values() if host.gpu_class)
    for name in names:
        for server in cloud.world.servers_on(name)[:1]:
            server.updated = clock.now()
    cloud.world.delete_server(min(cloud.world.servers.by_id))
    clock.time += timedelta(seconds=1)
    cloud.world.netbox.edit(names[0], clock.now())
    cloud.world.netbox.delete(names[-1], clock.now())


def servers(fuzzed: Fuzzed) -> dict[str, Reading[object]]:
    return told(fuzzed.region.servers.collect(Changes(), lambda _: None, wait=True))


def walk(fuzzed: Fuzzed) -> dict[str, Reading[object]]:
    fuzzed.region.servers._servers = None
    fuzzed.region.servers._drop_walk()
    fuzzed.region.servers._walk_due_at = None
    return servers(fuzzed)


def gpus(fuzzed: Fuzzed) -> dict[str, Reading[object]]:
    changes = Changes()
    changes.give_up()
    return told(fuzzed.region.gpus.collect(changes, force=True))


def providers(fuzzed: Fuzzed) -> dict[str, Reading[object]]:
    fuzzed.region.gpus._names = {}
    return gpus(fuzzed)


def cached(place: int) -> Callable[[Fuzzed], dict[str, Reading[object]]]:
    def collect(fuzzed: Fuzzed) -> dict[str, Reading[object]]:
        agent = fuzzed.region.collection._agents[place]
        return told(agent.collect(Changes(), lambda _: None, True))

    return collect


def netbox(fuzzed: Fuzzed) -> dict[str, Reading[object]]:
    fuzzed.clock.seconds += 10  # a full read is due
    return cached(3)(fuzzed)


def token(fuzzed: Fuzzed) -> dict[str, Reading[object]]:
    fuzzed.region.session.forget_token()
    return cached(2)(fuzzed)


def told(outcome: Any) -> dict[str, Reading[object]]:
    return {source.value: reading for source, reading in outcome.readings.items()}


LISTS = {
    "token": token,
    "services": servers,
    "changes": servers,
    "walk": walk,
    "aggregates": cached(2),
    "providers": providers,
    "summaries": gpus,
    "tenants": netbox,
    "devices": netbox,
    "device changes": cached(3),
    "deletions": cached(3),
}


def says_the_same(one: dict[str, Reading[object]], other: dict[str, Reading[object]]) -> bool:
    return {name: reading.value for name, reading in one.items()} == {
        name: reading.value for name, reading in other.items()
    }


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def is_another_truth(mutation: Mutation) -> bool:
    """Whether a server may well say so: then other numbers are right."""
    is_row = len(mutation.path) == 2 and mutation.operation == "remove"
    return is_row or bool(FREE & set(mutation.path))


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", LISTS)
def test_no_mutation_of_a_list_crashes_lies_or_lasts(kind: str, fuzzed: Fuzzed) -> None:
    collect = LISTS[kind]
    collect(fuzzed)
    document = fuzzed.document(kind)
    clean = collect(fuzzed)
    right = numbers(fuzzed.snapshot(clean))
    outcomes = {"refused": 0, "believed": 0}

    @settings(
        max_examples=CASES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutation=mutations(document))
    def search(mutation: Mutation) -> None:
        fuzzed.lie(kind, encoded(mutation.of(document)))
        try:
            fresh = collect(fuzzed)
            shown = right if says_the_same(clean, fresh) else numbers(fuzzed.snapshot(fresh))
        except CloudError:
            outcomes["refused"] += 1
        else:
            outcomes["believed"] += 1
            made_up = {name: value for name, value in shown.items() if right.get(name, 0) != value}
            assert is_another_truth(mutation) or made_up == {}
        finally:
            fuzzed.tell_the_truth()
        healed = collect(fuzzed)
        assert says_the_same(clean, healed) or right == numbers(fuzzed.snapshot(healed))

    before = peak_bytes()
    search()
    assert peak_bytes() - before < MOST_MEMORY_BYTES
    assert min(outcomes.values()) > 0
