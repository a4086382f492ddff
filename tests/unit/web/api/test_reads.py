"""Every answer in its envelope, from the snapshot; unknown is null, never zero."""

from typing import Any

import pytest
import requests
from fleets import FleetBuilder, gpu_flavor

from spotd.clouds.errors import CloudError, Failure
from spotd.fleet.readings import Source
from spotd.fleet.values import Server

TIMEOUT = 5
READS = (
    "/api/gpu-types",
    "/api/aggregates/H100",
    "/api/aggregates/H100/spot",
    "/api/contract-aggregates/H100",
    "/api/hosts",
    "/api/hosts/gpu-1",
    "/api/host-vms/gpu-1",
    "/api/out-of-stock",
    "/api/sources",
    "/api/cache-stats",
    "/api/cache-status",
    "/api/config",
)
LISTS = ("/api/gpu-types", "/api/hosts", "/api/sources", "/api/cache-stats", "/api/cache-status")


def get(url: str, path: str, **query: Any) -> Any:
    answer = requests.get(f"{url}{path}", params=query, timeout=TIMEOUT)
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def fleet() -> FleetBuilder:
    return (
        FleetBuilder()
        .host("gpu-1", "H100-n3", gpus=8, servers=(4,))
        .host("gpu-2", "H100-n3-spot", gpus=8)
        .host("gpu-3", "H100-n3", gpus=4, status="disabled")
        .host("gpu-4", "Contract-ACME-16xH100", gpus=8)
        .host("gpu-5", "RTX-A6000-n3", gpu_type="RTX-A6000", gpus=8)
    )


@pytest.mark.parametrize("path", READS)
def test_every_answer_has_the_envelope(url: str, path: str) -> None:
    answer = get(url, path)

    assert {"success", "data", "error", "metadata"} == set(answer)
    assert (answer["success"], answer["error"]) == (True, None)
    assert 0 <= answer["metadata"]["execution_time"] < 5
    assert answer["metadata"]["timestamp"] > 1_700_000_000


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/nothing", 404, "not_found"),
        ("/api/", 404, "not_found"),
        ("/api/hosts/nobody", 404, "unknown_host"),
        ("/api/host-vms/nobody", 404, "unknown_host"),
        ("/api/hosts/..%2F..%2Fetc%2Fpasswd", 404, "not_found"),
        ("/api/hosts/%2e%2e", 404, "unknown_host"),
        ("/api/hosts/%00", 404, "unknown_host"),
        ("/api/aggregates/B200", 404, "unknown_gpu_type"),
        ("/api/aggregates/H100/gold", 422, "invalid_request"),
        ("/api/hosts?limit=0", 422, "invalid_request"),
        ("/api/hosts?limit=1001", 422, "invalid_request"),
        ("/api/hosts?offset=-1", 422, "invalid_request"),
        ("/api/hosts?sort=tenant", 422, "invalid_request"),
        (f"/api/hosts/{'x' * 256}", 422, "invalid_request"),
    ],
)
def test_a_refusal_has_the_envelope_a_status_and_a_code(url: str, path: str, status: int, code: str) -> None:
    answer = requests.get(f"{url}{path}", timeout=TIMEOUT)

    body = answer.json()
    assert (answer.status_code, body["success"], body["data"]) == (status, False, None)
    assert body["error"]["code"] == code
    assert "\n" not in body["error"]["message"]


def test_a_method_that_a_path_does_not_know_is_a_405(url: str) -> None:
    answer = requests.delete(f"{url}/api/hosts", timeout=TIMEOUT)

    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize("path", [read for read in READS if "config" not in read and "so" not in read[5:8]])
def test_without_a_snapshot_nothing_is_told_of_the_fleet(face: Any, url: str, path: str) -> None:
    face.snapshot = None

    answer = requests.get(f"{url}{path}", timeout=TIMEOUT)

    expected = 200 if "cache" in path else 503
    assert answer.status_code == expected
    if expected == 503:
        assert answer.json()["error"]["code"] == "not_known_now"


@pytest.mark.parametrize(
    "path", ["/api/gpu-types", "/api/aggregates/H100", "/api/contract-aggregates/H100", "/api/out-of-stock"]
)
def test_while_membership_is_unknown_no_pool_is_shown(face: Any, url: str, path: str) -> None:
    face.snapshot = fleet().without(Source.AGGREGATES).snapshot()

    assert requests.get(f"{url}{path}", timeout=TIMEOUT).status_code == 503


def test_unknown_numbers_are_null_and_not_zero(face: Any, url: str) -> None:
    face.snapshot = fleet().without(Source.SERVERS).without(Source.GPUS).snapshot()

    host = get(url, "/api/hosts/gpu-1")["data"]
    pools = get(url, "/api/gpu-types")["data"]["items"][0]["pools"]

    assert (host["servers"], host["server_ids"], host["gpus"], host["gpus_used"]) == (None, None, None, None)
    assert {pool["gpus_used"] for pool in pools} == {None}


def test_a_gpu_type_has_its_pools_aggregates_and_hosts(face: Any, url: str) -> None:
    face.snapshot = fleet().snapshot()

    data = get(url, "/api/aggregates/h100")["data"]

    assert data["gpu_type"] == "H100"
    assert [pool["pool"] for pool in data["pools"]] == ["contract", "ondemand", "spot"]
    assert sorted(a["name"] for a in data["aggregates"]) == [
        "Contract-ACME-16xH100",
        "H100-n3",
        "H100-n3-spot",
    ]
    assert [host["name"] for host in data["hosts"]["items"]] == ["gpu-1", "gpu-2", "gpu-3", "gpu-4"]


def test_one_pool_is_told_alone(face: Any, url: str) -> None:
    face.snapshot = fleet().snapshot()

    data = get(url, "/api/aggregates/H100/spot")["data"]

    assert [pool["pool"] for pool in data["pools"]] == ["spot"]
    assert [host["name"] for host in data["hosts"]["items"]] == ["gpu-2"]


def test_contracts_are_told_with_their_hosts(face: Any, url: str) -> None:
    face.snapshot = fleet().snapshot()

    data = get(url, "/api/contract-aggregates/H100")["data"]

    assert [(c["contract"], c["hosts"]) for c in data["contracts"]] == [("ACME", 1)]
    assert [host["name"] for host in data["hosts"]["items"]] == ["gpu-4"]


def test_what_is_out_of_stock_has_its_reason(face: Any, url: str) -> None:
    face.snapshot = fleet().snapshot()

    data = get(url, "/api/out-of-stock")["data"]

    assert [(h["name"], h["out_of_stock"]) for h in data["hosts"]["items"]] == [("gpu-3", "service_disabled")]
    assert [(r["gpu_type"], r["reason"], r["hosts"]) for r in data["reasons"]] == [
        ("H100", "service_disabled", 1)
    ]


def test_facts_have_their_source_and_age(face: Any, url: str) -> None:
    face.snapshot = fleet().snapshot()

    facts = get(url, "/api/hosts/gpu-1")["data"]["facts"]

    assert (facts["pool"]["value"], facts["pool"]["source"]) == ("ondemand", "aggregates")
    assert facts["pool"]["age"] >= 0


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"limit": 2}, ["gpu-1", "gpu-2"]),
        ({"limit": 2, "offset": 3}, ["gpu-4", "gpu-5"]),
        ({"offset": 9}, []),
        ({"sort": "-name", "limit": 1}, ["gpu-5"]),
        ({"sort": "gpus", "limit": 1}, ["gpu-3"]),
        ({"sort": "out_of_stock", "limit": 1}, ["gpu-3"]),
        ({"sort": "-out_of_stock", "limit": 1}, ["gpu-3"]),
        ({"gpu_type": "rtx a6000"}, ["gpu-5"]),
        ({"pool": "spot"}, ["gpu-2"]),
    ],
)
def test_lists_are_paged_and_sorted(face: Any, url: str, query: dict[str, Any], names: list[str]) -> None:
    face.snapshot = fleet().snapshot()

    data = get(url, "/api/hosts", **query)["data"]

    assert [host["name"] for host in data["items"]] == names
    assert data["limit"] == query.get("limit", 100)


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_a_page(url: str, path: str) -> None:
    assert {"items", "total", "limit", "offset"} == set(get(url, path, limit=1)["data"])


def server(number: str) -> Server:
    return Server(
        id=number,
        name="vm",
        host="gpu-1",
        hypervisor_hostname="gpu-1",
        status="ACTIVE",
        task_state=None,
        project_id="p",
        flavor=gpu_flavor(8),
        updated="2030-01-01T00:00:00Z",
    )


def test_servers_of_a_host_are_asked_each_time(face: Any, url: str) -> None:
    face.servers = lambda _host: (server("a"),)
    before = get(url, "/api/host-vms/gpu-1")["data"]["servers"]
    face.servers = lambda _host: (server("a"), server("b"))

    after = get(url, "/api/host-vms/gpu-1")["data"]["servers"]

    assert ([s["id"] for s in before], [s["id"] for s in after]) == (["a"], ["a", "b"])


def test_a_cloud_that_fails_is_a_502_and_no_empty_list(face: Any, url: str) -> None:
    def fails(_host: str) -> tuple[Server, ...]:
        raise CloudError(Failure.TIMEOUT, "nova: no answer in time from https://u:secretpw@nova/")

    face.servers = fails
    answer = requests.get(f"{url}/api/host-vms/gpu-1", timeout=TIMEOUT)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "cloud_failed")
    assert "secretpw" not in answer.text


def test_an_error_of_spotd_itself_has_the_envelope_and_no_detail(face: Any, url: str) -> None:
    def broken(_host: str) -> tuple[Server, ...]:
        raise RuntimeError("a secret detail")

    face.servers = broken
    answer = requests.get(f"{url}/api/host-vms/gpu-1", timeout=TIMEOUT)

    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "detail" not in answer.text


def test_the_last_failure_of_a_source_is_told_after_it_recovered(url: str) -> None:
    source = get(url, "/api/sources")["data"]["items"][0]

    assert (source["succeeded"], source["last_error_reason"]) == (True, "timeout")
    assert [run["reason"] for run in source["failures"]] == ["timeout"]


def test_requests_are_counted_by_the_whole_route(face: Any, url: str) -> None:
    get(url, "/api/hosts/gpu-1")

    assert face.requests("/api/hosts/{host}", "GET", 200) == 1
