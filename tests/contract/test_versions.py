import pytest
from contract.under_test import CloudUnderTest


def test_nova_tells_its_range_of_microversions(cloud: CloudUnderTest) -> None:
    version = cloud.nova("GET", "/", None).json()["version"]

    assert set(version) == {"id", "status", "version", "min_version", "updated", "links", "media-types"}
    assert version["id"] == "v2.1"
    assert version["min_version"] == "2.1"


def test_novas_root_lists_versions_to_anybody(cloud: CloudUnderTest) -> None:
    root = cloud.url("compute").removesuffix("/v2.1")

    versions = cloud.http.get(root + "/", timeout=30).json()["versions"]

    assert [version["id"] for version in versions] == ["v2.0", "v2.1"]


def test_placement_tells_its_range_of_microversions(cloud: CloudUnderTest) -> None:
    version = cloud.http.get(cloud.url("placement") + "/", timeout=30).json()["versions"][0]

    assert set(version) == {"id", "max_version", "min_version", "status", "links"}
    assert version["min_version"] == "1.0"


@pytest.mark.parametrize("version", ["2.1", "2.53", "2.96"])
def test_nova_repeats_the_version_it_spoke(cloud: CloudUnderTest, version: str) -> None:
    headers = cloud.nova("GET", "/servers?limit=1", version).headers

    assert headers["OpenStack-API-Version"] == f"compute {version}"
    assert headers["X-OpenStack-Nova-API-Version"] == version
    assert headers["x-openstack-request-id"] == headers["x-compute-request-id"]
    assert headers["Content-Type"] == "application/json"


def test_nova_understands_the_old_version_header(cloud: CloudUnderTest) -> None:
    old = {"X-OpenStack-Nova-API-Version": "2.41"}

    answer = cloud.nova("GET", "/os-aggregates", None, headers=old)

    assert answer.headers["X-OpenStack-Nova-API-Version"] == "2.41"


def test_nova_refuses_a_version_it_does_not_have(cloud: CloudUnderTest) -> None:
    highest = cloud.nova("GET", "/", None).json()["version"]["version"]

    answer = cloud.nova("GET", "/servers", "2.999")

    text = f"Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is {highest}."
    assert answer.status_code == 406
    assert answer.json() == {"computeFault": {"code": 406, "message": text}}


def test_nova_refuses_a_version_it_cannot_read(cloud: CloudUnderTest) -> None:
    answer = cloud.nova("GET", "/servers", "abc")

    text = "API Version String abc is of invalid format. Must be of format MajorNum.MinorNum."
    assert answer.status_code == 400
    assert answer.json() == {"badRequest": {"code": 400, "message": text}}


def test_placement_refuses_a_version_it_does_not_have(cloud: CloudUnderTest) -> None:
    answer = cloud.placement("GET", "/resource_providers", "1.99")

    error = answer.json()["errors"][0]
    assert answer.status_code == 406
    assert set(error) == {"status", "title", "detail", "request_id", "max_version", "min_version"}
    assert error["detail"].endswith("Invalid microversion: Unacceptable version header: 1.99")


def test_placement_repeats_the_version_it_spoke(cloud: CloudUnderTest) -> None:
    answer = cloud.placement("GET", "/resource_providers", "1.29")

    assert answer.headers["openstack-api-version"] == "placement 1.29"


def test_an_unknown_path_of_nova_is_an_html_page(cloud: CloudUnderTest) -> None:
    answer = cloud.nova("GET", "/nosuch")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


def test_an_unknown_path_of_placement_is_a_json_error(cloud: CloudUnderTest) -> None:
    answer = cloud.placement("GET", "/nosuch")

    assert answer.status_code == 404
    assert answer.json()["errors"][0]["detail"] == "The resource could not be found.\n\n   "
