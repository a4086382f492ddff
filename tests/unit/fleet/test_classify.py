"""What an aggregate stands for."""

import re
from collections.abc import Mapping

import pytest
from fleets import default_interpretation

from spotd.fleet.classify import classify, stands_for_gpus, unknown_pool
from spotd.fleet.interpretation import NamePattern
from spotd.fleet.snapshot import ClassifiedAggregate, Pool
from spotd.fleet.values import Aggregate


def read(name: str, metadata: Mapping[str, str] | None = None, **changes: object) -> ClassifiedAggregate:
    aggregate = Aggregate(id=1, uuid=None, name=name, hosts=(), metadata=metadata or {})
    return classify(aggregate, default_interpretation(**changes))


@pytest.mark.parametrize(
    ("name", "pool", "gpu_type", "variant", "contract"),
    [
        pytest.param("H100-n3", Pool.ONDEMAND, "H100", None, None, id="on demand"),
        pytest.param("H100-n3-NVLink", Pool.ONDEMAND, "H100", "NVLink", None, id="with NVLink"),
        pytest.param("H100-n3-spot", Pool.SPOT, "H100", None, None, id="spot"),
        pytest.param("H100-n3-runpod", Pool.RUNPOD, "H100", None, None, id="runpod"),
        pytest.param("RTX-A6000-n3-spot", Pool.SPOT, "RTX-A6000", None, None, id="type with a dash"),
        pytest.param("H100-SXM5-n12", Pool.ONDEMAND, "H100-SXM5", None, None, id="two digits"),
        pytest.param("RTX-PRO6000-SE-n3", Pool.ONDEMAND, "RTX-PRO6000-SE", None, None, id="two dashes"),
        pytest.param("Contract-ACME-16xH100", Pool.CONTRACT, "H100", None, "ACME", id="contract"),
        pytest.param(
            "Contract-A-B-8xRTX-A6000", Pool.CONTRACT, "RTX-A6000", None, "A-B", id="dashes everywhere"
        ),
        pytest.param("tempest", Pool.TESTING, None, None, None, id="testing"),
        pytest.param("az-1", None, None, None, None, id="a zone"),
        pytest.param("H100-n3-spot\n", None, None, None, None, id="a newline at the end"),
        pytest.param("", None, None, None, None, id="no name"),
    ],
)
def test_reads_the_default_names(
    name: str, pool: Pool | None, gpu_type: str | None, variant: str | None, contract: str | None
) -> None:
    found = read(name)

    assert (pool, gpu_type, variant, contract) == (found.pool, found.gpu_type, found.variant, found.contract)


def test_metadata_wins_key_by_key_over_the_name() -> None:
    found = read("H100-n3-NVLink", {"spotd:pool": "spot", "spotd:gpu_type": "H200"})

    assert (found.pool, found.gpu_type, found.variant) == (Pool.SPOT, "H200", "NVLink")


def test_metadata_alone_is_enough() -> None:
    metadata = {"spotd:pool": " Contract ", "spotd:contract": "ACME", "spotd:variant": "NVLink"}

    found = read("whatever", metadata)

    assert (
        found.pool,
        found.gpu_type,
        found.variant,
        found.contract,
    ) == (Pool.CONTRACT, None, "NVLink", "ACME")


def test_an_empty_value_says_none_whatever_the_name_says() -> None:
    assert read("H100-n3-NVLink", {"spotd:variant": ""}).variant is None


def test_only_a_contract_pool_has_a_contract() -> None:
    assert read("Contract-ACME-8xH100", {"spotd:pool": "spot"}).contract is None


def test_an_unknown_pool_is_no_pool_and_is_not_guessed_from_the_name() -> None:
    found = read("H100-n3-spot", {"spotd:pool": "spto"})

    assert found.pool is None
    assert unknown_pool(found) == "spto"
    assert stands_for_gpus(found)


def test_the_first_pattern_that_fits_the_whole_name_wins() -> None:
    patterns = (
        NamePattern(name=re.compile("x"), pool="spot"),
        NamePattern(name=re.compile("x+"), pool="runpod", variant="fast"),
        NamePattern(name=re.compile("xx"), pool="ondemand"),
    )

    found = read("xx", patterns=patterns)

    assert (found.pool, found.variant) == (Pool.RUNPOD, "fast")


@pytest.mark.parametrize(
    ("name", "metadata", "expected"),
    [
        pytest.param("H100-n3", {}, True, id="a pool"),
        pytest.param("maintenance", {"spotd:gpu_type": "H100"}, True, id="a GPU type"),
        pytest.param("maintenance", {"spotd:pool": "closed"}, True, id="meant to be a pool"),
        pytest.param("maintenance", {"ssd": "true"}, False, id="neither"),
    ],
)
def test_knows_which_aggregates_hold_gpu_hosts(name: str, metadata: dict[str, str], expected: bool) -> None:
    assert expected is stands_for_gpus(read(name, metadata))
