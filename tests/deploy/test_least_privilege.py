"""A user with the shipped policies and nothing more works on a real OpenStack, and each right less is named.

Needs the folder in which Nova's and Placement's API servers look for their policies, `nova/policy.yaml` and
`placement/policy.yaml`. Their content is put back afterwards; administrators keep every right meanwhile.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from contract.under_test import WHY_NO_CLOUD, CloudUnderTest, Login, real_cloud, unique
from daemons import ROOT, SPOTD

from spotd.clouds.host_calls import FINISHED

POLICIES = "SPOTD_TEST_POLICIES"
SHIPPED = {
    service: yaml.safe_load((ROOT / "deploy" / "openstack" / f"{service}-policy.yaml").read_text("utf-8"))
    for service in ("nova", "placement")
}
ADMINISTRATORS = {"nova": "rule:context_is_admin", "placement": "rule:admin_or_service_api"}
RIGHTS = [(service, right) for service, rules in SHIPPED.items() for right in rules if ":" in right]
ONLY_OLDER_NOVAS_ASK = "os_compute_api:os-flavor-extra-specs:index"
WATCHING = {
    *("os_compute_api:os-aggregates:index", "os_compute_api:os-services:list"),
    *("os_compute_api:servers:detail", "os_compute_api:servers:detail:get_all_tenants"),
    *("os_compute_api:os-extended-server-attributes", "os_compute_api:servers:show:flavor-extra-specs"),
    *("placement:resource_providers:list", "placement:allocation_candidates:list"),
    *("placement:resource_providers:inventories:list", "placement:resource_providers:usages"),
}
"""Without one of these spotd cannot even look on."""

pytestmark = [pytest.mark.lab, pytest.mark.thorough, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Policies:
    """The policy files of a real cloud."""

    folder: Path

    def write(self, without: str | None = None) -> None:
        """The shipped policies; one right may be left to administrators only."""
        for service, rules in SHIPPED.items():
            taken = {without: ADMINISTRATORS[service]} if without in rules else {}
            self.put(service, yaml.safe_dump({**rules, **taken}))

    def put(self, service: str, text: str) -> None:
        """At once, so that no server reads half of it."""
        path = self.folder / service / "policy.yaml"
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.rename(path)


@dataclass(frozen=True)
class Mover:
    """Runs spotd as the user."""

    environ: Mapping[str, str]
    login: Login

    def spotd(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*SPOTD, *arguments], env=self.environ, capture_output=True, text=True, timeout=300, check=False
        )

    def missing(self) -> tuple[int, list[str]]:
        """What a look at everything that moves need says: exit code, and the lines of what is missing."""
        done = self.spotd("preflight", "--for-moves")
        assert "found" in done.stdout, done.stderr
        return done.returncode, [line for line in done.stdout.splitlines() if line.startswith("missing")]


@pytest.fixture(scope="module")
def cloud() -> CloudUnderTest:
    found = real_cloud()
    if found is None:
        pytest.skip(WHY_NO_CLOUD)
    return found


@pytest.fixture(scope="module")
def policies(cloud: CloudUnderTest) -> Iterator[Policies]:
    folder = os.environ.get(POLICIES)
    if not folder:
        pytest.skip(f"set {POLICIES} to the folder of the real cloud's nova/policy.yaml to run this")
    found = Policies(Path(folder))
    paths = {service: found.folder / service / "policy.yaml" for service in SHIPPED}
    before = {service: path.read_text("utf-8") for service, path in paths.items() if path.exists()}
    found.write()
    yield found
    for service in SHIPPED:
        # An empty file stays where there was none: servers that read one complain when it is gone.
        found.put(service, before.get(service, "{}\n"))


def identity(cloud: CloudUnderTest, method: str, path: str, **more: Any) -> requests.Response:
    answer = requests.request(
        method,
        f"{cloud.auth_url}{path}",
        headers={"X-Auth-Token": cloud.token(cloud.admin)},
        timeout=30,
        **more,
    )
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer


def named(cloud: CloudUnderTest, kind: str, name: str) -> str | None:
    found = identity(cloud, "GET", f"/{kind}?name={name}").json()[kind]
    return str(found[0]["id"]) if found else None


@pytest.fixture(scope="module")
def mover(
    cloud: CloudUnderTest, policies: Policies, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mover]:
    """A user as the guide makes it, with the roles `spotd` and `reader`, in a project of its own."""
    name, made = unique("mover"), []

    def make(kind: str, body: dict[str, Any]) -> str:
        number = str(identity(cloud, "POST", f"/{kind}s", json={kind: body}).json()[kind]["id"])
        made.append(f"/{kind}s/{number}")
        return number

    try:
        role = named(cloud, "roles", "spotd") or make("role", {"name": "spotd"})
        project = make("project", {"name": name})
        user = make("user", {"name": name, "password": name})
        for one in (role, named(cloud, "roles", "reader")):
            identity(cloud, "PUT", f"/projects/{project}/users/{user}/roles/{one}")
        directory = tmp_path_factory.mktemp("mover")
        login = Login(name, name, name)
        yield Mover(environment(cloud, login, directory), login)
    finally:
        for path in reversed(made):
            identity(cloud, "DELETE", path)


def environment(cloud: CloudUnderTest, login: Login, directory: Path) -> dict[str, str]:
    path = directory / "clouds.yaml"
    path.write_text(cloud.as_clouds_yaml("mover", login), encoding="utf-8")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "SPOTD_"))}
    return kept | {
        "OS_CLIENT_CONFIG_FILE": str(path),
        "OS_CLOUD": "mover",
        "SPOTD_COLLECTION__STATE_DIRECTORY": str(directory),
        "SPOTD_MOVES__SETTLE_SECONDS": "3",
        "SPOTD_MOVES__PROOF_GAP_SECONDS": "1",
    }


def members(cloud: CloudUnderTest) -> dict[str, list[str]]:
    found = cloud.nova("GET", "/os-aggregates").json()["aggregates"]
    return {one["name"]: one["hosts"] for one in found}


def is_empty(cloud: CloudUnderTest, host: str) -> bool:
    service = cloud.service(host)
    if (service["status"], service["state"]) != ("enabled", "up"):
        return False
    # The resize of another test in this file leaves or reaches some host.
    migrations = cloud.nova("GET", f"/os-migrations?host={host}", "2.59").json()["migrations"]
    if any(migration["status"] not in FINISHED for migration in migrations):
        return False
    return not cloud.nova("GET", f"/servers?all_tenants=1&host={host}").json()["servers"]


@pytest.fixture
def movable(cloud: CloudUnderTest) -> Iterator[tuple[str, str, str]]:
    """A host without servers, its aggregate, and the spot aggregate beside that; a spare host is lent one."""
    pools = members(cloud)
    pairs = [(name, f"{name}-spot") for name in pools if f"{name}-spot" in pools]
    empty = [(host, *pair) for pair in pairs for host in pools[pair[0]] if is_empty(cloud, host)]
    if empty:
        yield empty[0]
        return
    host, (origin, destination) = cloud.empty_host(), pairs[0]
    assert not any(host in hosts for hosts in pools.values()), "every host of a pool has servers"
    change_members(cloud, "add_host", origin, host)
    yield host, origin, destination
    for name in [name for name, hosts in members(cloud).items() if host in hosts]:
        change_members(cloud, "remove_host", name, host)


def change_members(cloud: CloudUnderTest, action: str, aggregate: str, host: str) -> None:
    listed = cloud.nova("GET", "/os-aggregates").json()["aggregates"]
    number = next(one["id"] for one in listed if one["name"] == aggregate)
    answer = cloud.nova("POST", f"/os-aggregates/{number}/action", json={action: {"host": host}})
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def migration(cloud: CloudUnderTest) -> Iterator[None]:
    """A resize that waits to be confirmed: only a list that is not empty shows whether hosts are in it."""
    answer = cloud.nova("POST", "/servers", "2.74", json=cloud.boot_body(unique("migrating")))
    assert answer.status_code == 202, answer.text
    server = answer.json()["server"]["id"]
    try:
        assert cloud.until(lambda: cloud.server(server)["status"] == "ACTIVE")
        cloud.nova("POST", f"/servers/{server}/action", json={"migrate": None})
        assert cloud.until(lambda: cloud.server(server)["status"] == "VERIFY_RESIZE")
        yield
    finally:
        cloud.nova("DELETE", f"/servers/{server}")
        cloud.until(lambda: cloud.nova("GET", f"/servers/{server}").status_code == 404)


def test_a_right_is_for_watching_or_is_needed_by_moves_only() -> None:
    assert {right for _, right in RIGHTS} >= WATCHING


def test_nothing_is_missing_and_the_whole_fleet_is_read(mover: Mover, cloud: CloudUnderTest) -> None:
    assert mover.missing() == (0, [])

    done = mover.spotd("collect", "--format", "json")

    assert done.returncode == 0, done.stderr
    hosts = {host for hosts in members(cloud).values() for host in hosts}
    assert all(f'"{host}"' in done.stdout for host in hosts)


def test_a_host_is_moved_there_and_back(
    mover: Mover, cloud: CloudUnderTest, movable: tuple[str, str, str]
) -> None:
    host, origin, destination = movable
    for there in (destination, origin):
        done = mover.spotd("move", host, "--to", there, "--yes", "--reason", "least privilege")

        assert done.returncode == 0, done.stdout + done.stderr
        assert [name for name, hosts in members(cloud).items() if host in hosts] == [there]
        assert cloud.service(host)["status"] == "enabled"


@pytest.mark.usefixtures("migration")
@pytest.mark.parametrize(("service", "right"), RIGHTS, ids=[right for _, right in RIGHTS])
def test_a_right_that_is_taken_away_is_named(
    mover: Mover, policies: Policies, service: str, right: str
) -> None:
    policies.write(without=right)

    code, missing = mover.missing()
    policies.write()

    if right == ONLY_OLDER_NOVAS_ASK:
        assert (code, missing) == (0, [])
        return
    assert code == 1
    assert any(right in line.replace(";", " ").split() for line in missing), missing
    is_for_moves = all(line.startswith("missing  to move hosts: ") for line in missing)
    assert is_for_moves is (right not in WATCHING), missing


FORBIDDEN = [
    ("POST", "/os-aggregates", {"aggregate": {"name": "spotd-contract-nobody-makes-this"}}),
    ("POST", "/os-aggregates/{aggregate}/action", {"set_metadata": {"metadata": {"spotd:pool": "spot"}}}),
    ("PUT", "/os-aggregates/{aggregate}", {"aggregate": {"name": "spotd-contract-renamed"}}),
    ("DELETE", "/os-aggregates/{aggregate}", None),
    ("DELETE", "/os-services/{service}", None),
    ("POST", "/servers/{server}/action", {"os-stop": None}),
    ("POST", "/servers/{server}/action", {"os-migrateLive": {"host": None, "block_migration": "auto"}}),
    ("DELETE", "/servers/{server}", None),
]


@pytest.mark.parametrize(
    ("method", "path", "body"), FORBIDDEN, ids=[f"{row[0]} {row[1]}" for row in FORBIDDEN]
)
def test_the_user_may_do_nothing_else(
    mover: Mover, cloud: CloudUnderTest, method: str, path: str, body: dict[str, Any] | None
) -> None:
    aggregates = cloud.nova("GET", "/os-aggregates").json()["aggregates"]
    server = cloud.nova("GET", "/servers?all_tenants=1&limit=1").json()["servers"][0]["id"]
    services = cloud.nova("GET", "/os-services?binary=nova-compute").json()["services"]
    path = path.format(aggregate=aggregates[0]["id"], service=services[0]["id"], server=server)

    answer = cloud.nova(method, path, login=mover.login, json=body)

    assert answer.status_code in {403, 404}, answer.text  # 404: a foreign server is not even seen
    assert cloud.nova("GET", "/os-aggregates").json()["aggregates"] == aggregates
    assert cloud.nova("GET", f"/servers/{server}").status_code == 200
    assert len(cloud.nova("GET", "/os-services?binary=nova-compute").json()["services"]) == len(services)


def test_the_user_boots_no_server(mover: Mover, cloud: CloudUnderTest) -> None:
    name = unique("forbidden")

    answer = cloud.nova("POST", "/servers", login=mover.login, json=cloud.boot_body(name))

    assert answer.status_code == 403, answer.text
    assert cloud.nova("GET", f"/servers?all_tenants=1&name={name}").json()["servers"] == []
