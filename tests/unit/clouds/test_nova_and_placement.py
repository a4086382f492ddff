"""Nova's and Placement's answers are read whole or refused; nothing is filled in."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.nova import Nova
from spotd.clouds.placement import Placement
from spotd.fleet.values import Flavor, GpuCount

SINCE = datetime(2030, 1, 1, tzinfo=UTC)
HOST = "OS-EXT-SRV-ATTR:host"


class FakeSession:
    """Answers each request with the next document."""

    def __init__(self, *documents: Any) -> None:
        self.documents = list(documents)
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def get(self, service: str, path: str, **keywords: Any) -> tuple[Any, Mapping[str, str]]:
        self.asked.append((path, keywords.get("params") or {}))
        document = self.documents.pop(0)
        if isinstance(document, Exception):
            raise document
        return document, {}


def nova(*documents: Any) -> Nova:
    session: Any = FakeSession(*documents)
    return Nova(session, page_size=2, page_timeout_seconds=90)


def placement(*documents: Any) -> Placement:
    session: Any = FakeSession(*documents)
    return Placement(session)


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"s{number}",
        "name": "vm",
        HOST: "h1",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": "h1",
        "status": "ACTIVE",
        "OS-EXT-STS:task_state": None,
        "tenant_id": "p",
        "flavor": {"original_name": "f", "extra_specs": {}},
        "updated": "2030-01-01T00:00:00Z",
    } | fields


def page(*rows: dict[str, Any], marker: str | None = None) -> dict[str, Any]:
    links = [{"rel": "next", "href": f"http://elsewhere/servers?limit=2&marker={marker}"}] if marker else []
    return {"servers": list(rows), "servers_links": links}


def service(host: str, **fields: Any) -> dict[str, Any]:
    return {"id": host, "host": host, "status": "enabled", "state": "up"} | fields


def refused(call: Any) -> Failure:
    with pytest.raises(CloudError) as caught:
        call()
    return caught.value.reason


def test_all_pages_are_walked_by_their_marker() -> None:
    """The link's host is a proxy's affair."""
    asked = nova(page(row(1), row(2), marker="s2"), page(row(3)))

    pages = list(asked.server_pages())

    assert [["s1", "s2"], ["s3"]] == [[server.id for server in servers] for servers in pages]


@pytest.mark.parametrize(
    "documents",
    [
        pytest.param([page(row(1), marker="s1"), page(row(1), marker="s1")], id="same-page"),
        pytest.param([page(marker="s1")], id="empty-with-next"),
        pytest.param([{"servers": [], "servers_links": [{"rel": "next", "href": "/x"}]}], id="no-marker"),
        pytest.param([{"servers": {}}], id="no-list"),
        pytest.param([[]], id="no-object"),
        pytest.param([page({**row(1), "id": 7})], id="id-no-text"),
        pytest.param([page({**row(1), "flavor": "f"})], id="flavor-no-object"),
        pytest.param([page({**row(1), "flavor": {"extra_specs": []}})], id="specs-no-object"),
    ],
)
def test_pages_in_circles_or_of_another_shape_are_refused(documents: list[Any]) -> None:
    """None of them is taken for the end of the list."""
    assert Failure.MALFORMED == refused(lambda: list(nova(*documents).server_pages()))


def test_changes_in_circles_are_refused() -> None:
    """The same marker again."""
    circle = page(row(1), marker="s1")

    assert Failure.MALFORMED == refused(lambda: nova(circle, circle).server_changes(SINCE))


def test_changes_tell_deletions_apart() -> None:
    """A deleted server may lack its host."""
    deleted = {"id": "s9", "status": "DELETED"}

    changes = nova(page(row(1), marker="s1"), page(deleted)).server_changes(SINCE)

    assert (["s1"], {"s9"}) == ([server.id for server in changes.changed], set(changes.deleted))


def test_a_server_without_the_host_field_is_a_missing_right() -> None:
    """A null host is something else: none was chosen yet."""
    hidden = row(1)
    del hidden[HOST]

    assert Failure.FORBIDDEN == refused(lambda: list(nova(page(hidden)).server_pages()))
    assert next(nova(page(row(1, **{HOST: None}))).server_pages())[0].host is None


def test_flavors_tell_what_they_ask_for() -> None:
    """By resource class, granular or not, and by PCI alias; hidden specs are unknown."""
    specs = {
        "resources:CUSTOM_GPU_H100": "2",
        "resources1:CUSTOM_GPU_A100": "1",
        "pci_passthrough:alias": "h100:4, a100:1",
        "resources:VCPU": "8",
        "hw:x": "y",
    }
    seen = row(1, flavor={"original_name": "big", "extra_specs": specs})
    hidden = row(2, flavor={"original_name": "big"})

    flavors = [server.flavor for server in next(nova(page(seen, hidden)).server_pages())]

    assert {("CUSTOM_GPU_H100", 2), ("CUSTOM_GPU_A100", 1), ("VCPU", 8)} == set(flavors[0].resources)
    assert (("h100", 4), ("a100", 1)) == flavors[0].pci_aliases
    assert [True, False] == [flavor.extra_specs_known for flavor in flavors]


def test_equal_flavors_are_one_object() -> None:
    """10,000 servers embed some ten of them."""
    servers = next(nova(page(row(1), row(2))).server_pages())

    assert servers[0].flavor is servers[1].flavor


def test_a_cell_that_is_down_makes_the_services_incomplete() -> None:
    """Nova answers 200 with nothing but names."""
    rows = [service("h1"), {"binary": "nova-compute", "host": "h2", "status": "UNKNOWN"}]

    assert Failure.INCOMPLETE == refused(nova({"services": rows}).compute_services)


def test_novas_time_is_the_median_heartbeat_of_services_that_are_up() -> None:
    """One host whose clock runs ahead moves nothing, nor one that is down."""
    times = ["2030-01-01T00:00:00.000000", "2030-01-01T00:00:05.000000", "2031-01-01T00:00:00.000000"]
    rows = [service(f"h{n}", updated_at=time) for n, time in enumerate(times)]
    rows.append(service("h9", state="down", updated_at="2020-01-01T00:00:00"))

    answer = nova({"services": rows}).compute_services()

    assert datetime(2030, 1, 1, 0, 0, 5, tzinfo=UTC) == answer.heartbeat


def test_without_services_that_are_up_novas_time_is_unknown() -> None:
    """A heartbeat that cannot be read counts as none."""
    rows = [service("h1", state="down"), service("h2", updated_at="soon")]

    assert nova({"services": rows}).compute_services().heartbeat is None


@pytest.mark.parametrize("missing", ["host", "status", "state"])
def test_a_service_that_lacks_a_fact_is_refused(missing: str) -> None:
    """It is not taken for enabled, or up."""
    rows = [{key: value for key, value in service("h1").items() if key != missing}]

    assert Failure.MALFORMED == refused(nova({"services": rows}).compute_services)


@pytest.mark.parametrize(
    "row",
    [
        {"id": 1, "name": "n", "hosts": "h1", "metadata": {}},
        {"id": 1, "name": "n", "hosts": [1], "metadata": {}},
        {"id": 1, "name": "n", "hosts": [], "metadata": None},
        {"id": True, "name": "n", "hosts": [], "metadata": {}},
        {"id": 1, "hosts": [], "metadata": {}},
    ],
    ids=["hosts-text", "hosts-numbers", "metadata", "id", "name"],
)
def test_an_aggregate_of_another_shape_is_refused(row: dict[str, Any]) -> None:
    """An aggregate without hosts would empty a pool."""
    assert Failure.MALFORMED == refused(nova({"aggregates": [row]}).aggregates)


def test_a_server_that_cannot_be_shown_is_gone_only_where_nova_says_so() -> None:
    """404 and DELETED are; every other failure is one."""
    gone, broken = CloudError(Failure.NOT_FOUND, "404"), CloudError(Failure.SERVER_ERROR, "500")

    assert not nova(gone).server_exists("s1")
    assert not nova({"server": {"status": "DELETED"}}).server_exists("s1")
    assert nova({"server": {"status": "ACTIVE"}}).server_exists("s1")
    assert Failure.SERVER_ERROR == refused(lambda: nova(broken).server_exists("s1"))


def test_a_trees_providers_are_summed() -> None:
    """Eight GPUs are eight child providers."""
    summary = {"root_provider_uuid": "r", "resources": {"CUSTOM_GPU_H100": {"capacity": 1, "used": 1}}}
    root = {"root_provider_uuid": "r", "resources": {"VCPU": {"capacity": 4, "used": 0}}}

    trees = placement({"provider_summaries": {"a": summary, "b": summary, "r": root}}).summaries("VCPU")

    assert GpuCount(capacity=2, used=2) == trees["r"].classes["CUSTOM_GPU_H100"]


@pytest.mark.parametrize(
    "summary",
    [
        7,
        {"resources": {}},
        {"root_provider_uuid": "r"},
        {"root_provider_uuid": "r", "resources": {"VCPU": 4}},
        {"root_provider_uuid": "r", "resources": {"VCPU": {"capacity": 4}}},
        {"root_provider_uuid": "r", "resources": {"VCPU": {"capacity": "4", "used": 0}}},
    ],
)
def test_a_summary_of_another_shape_is_refused(summary: Any) -> None:
    """A missing `used` is not none used."""
    asked = placement({"provider_summaries": {"a": summary}})

    assert Failure.MALFORMED == refused(lambda: asked.summaries("VCPU"))


@pytest.mark.parametrize(
    ("providers", "count"),
    [
        pytest.param([(1, 0), (1, 1)], GpuCount(capacity=2, used=1), id="cards"),
        pytest.param([(0, 1)], GpuCount(capacity=1, used=1), id="a one-time-use device in use"),
        pytest.param([(0, 0)], GpuCount(capacity=0, used=0, reserved=1), id="one that waits to be cleaned"),
        pytest.param(
            [(0, 1), (0, 0), (1, 0)],
            GpuCount(capacity=2, used=1, reserved=1),
            id="one of each, and a clean one",
        ),
        pytest.param([(16, 3)], GpuCount(capacity=16, used=3), id="sold twice"),
        pytest.param([(8, 12)], GpuCount(capacity=8, used=12), id="more in use than an earlier ratio left"),
        pytest.param([(0, 8)], GpuCount(capacity=8, used=8), id="all of one provider reserved and in use"),
    ],
)
def test_gpus_are_counted_provider_by_provider(providers: list[tuple[int, int]], count: GpuCount) -> None:
    """Summaries tell capacity, which is what reservation and ratio leave of the total, and use."""
    summaries = {
        f"p{number}": {
            "root_provider_uuid": "r",
            "resources": {"VGPU": {"capacity": capacity, "used": used}, "VCPU": {"capacity": 4, "used": 0}},
        }
        for number, (capacity, used) in enumerate(providers)
    }

    (tree,) = placement({"provider_summaries": summaries}).summaries("VCPU").values()

    assert tree.classes["VGPU"] == count


@pytest.mark.parametrize("ratio", [None, "2", True, -1.0, float("inf"), float("nan")])
def test_an_allocation_ratio_that_is_none_is_refused(ratio: Any) -> None:
    provider = {"uuid": "r", "name": "h", "generation": 1, "root_provider_uuid": "r"}
    inventory = {"total": 10, "reserved": 2, "allocation_ratio": ratio}
    asked = placement(
        {"resource_providers": [provider]}, {"inventories": {"VCPU": inventory}}, {"usages": {"VCPU": 3}}
    )

    assert Failure.MALFORMED == refused(lambda: asked.tree("r"))


def test_a_tree_read_by_itself_counts_reserved_and_ratio() -> None:
    """As Placement's summaries do."""
    provider = {"uuid": "r", "name": "h", "generation": 1, "root_provider_uuid": "r"}
    asked = placement(
        {"resource_providers": [provider]},
        {"inventories": {"VCPU": {"total": 10, "reserved": 2, "allocation_ratio": 1.5}}},
        {"usages": {"VCPU": 3}},
    )

    assert GpuCount(capacity=12, used=3) == asked.tree("r").classes["VCPU"]


def aggregate(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "uuid": f"u{number}",
        "name": f"a{number}",
        "hosts": ["h1"],
        "metadata": {},
        "availability_zone": None,
    } | fields


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([service("h1"), service("h1")], id="twice"),
        pytest.param([{**service("h1"), "id": None}], id="no-id"),
        pytest.param([{**service("h1"), "id": 5}], id="id-of-an-older-version"),
        pytest.param([service("h1", id="")], id="empty-id"),
        pytest.param([service("")], id="empty-host"),
        pytest.param([service("h1", status="maybe")], id="status"),
        pytest.param([service("h1", state="UP")], id="state"),
        pytest.param([service("h1", forced_down="false")], id="forced-down"),
    ],
)
def test_a_service_row_that_cannot_be_is_refused(rows: list[dict[str, Any]]) -> None:
    assert Failure.MALFORMED == refused(nova({"services": rows}).compute_services)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([aggregate(1), aggregate(1)], id="twice"),
        pytest.param([aggregate(-1)], id="negative-id"),
        pytest.param([aggregate(10**30)], id="absurd-id"),
        pytest.param([aggregate(1, name=" ")], id="blank-name"),
        pytest.param([aggregate(1, hosts=["h1", "h1"])], id="host-twice"),
        pytest.param([aggregate(1, hosts=["h1", ""])], id="empty-host"),
    ],
)
def test_an_aggregate_row_that_cannot_be_is_refused(rows: list[dict[str, Any]]) -> None:
    assert Failure.MALFORMED == refused(nova({"aggregates": rows}).aggregates)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([row(1), row(1, **{HOST: "h2"})], id="twice"),
        pytest.param([{key: value for key, value in row(1).items() if key != "id"}], id="no-id"),
        pytest.param([row(1, id="")], id="empty-id"),
        pytest.param([row(1, flavor={"extra_specs": {"resources:VGPU": ["1"]}})], id="extra-spec-list"),
        pytest.param([row(1, flavor={"extra_specs": {"resources:VGPU": 1}})], id="extra-spec-number"),
        pytest.param([row(1, flavor={"original_name": 5, "extra_specs": {}})], id="flavor-name"),
    ],
)
def test_a_server_row_that_cannot_be_is_refused(rows: list[dict[str, Any]]) -> None:
    assert Failure.MALFORMED == refused(lambda: list(nova(page(*rows)).server_pages()))
    assert Failure.MALFORMED == refused(lambda: nova(page(*rows)).server_changes(SINCE))


@pytest.mark.parametrize("count", ["9" * 10, "9" * 5000, "-1", "1.5", "٣", "²", ""])
@pytest.mark.parametrize("spec", ["resources:CUSTOM_GPU_H100", "pci_passthrough:alias"])
def test_an_extra_spec_whose_count_cannot_be_read_counts_for_unknown(spec: str, count: str) -> None:
    """Without it the flavor would seem to ask for none; Python reads some of these, and fails at others."""
    specs = {spec: f"h100:{count}" if "alias" in spec else count, "resources:VGPU": "1"}
    (servers,) = nova(page(row(1, flavor={"original_name": "f", "extra_specs": specs}))).server_pages()

    assert Flavor(name="f", extra_specs_known=False) == servers[0].flavor


@pytest.mark.parametrize("used", [-1, 2**63, 10**30, True, 1.0, "1", None])
def test_a_count_of_placement_that_cannot_be_is_refused(used: Any) -> None:
    summary = {
        "root_provider_uuid": "r",
        "parent_provider_uuid": None,
        "resources": {"CUSTOM_GPU_H100": {"capacity": 8, "used": used}},
    }

    assert Failure.MALFORMED == refused(
        lambda: placement({"provider_summaries": {"r": summary}}).summaries("MEMORY_MB")
    )


def test_a_provider_that_comes_twice_is_refused() -> None:
    provider = {"uuid": "r", "name": "h1", "generation": 1, "root_provider_uuid": "r"}

    assert Failure.MALFORMED == refused(
        placement({"resource_providers": [provider, {**provider, "name": "h2"}]}).providers
    )
