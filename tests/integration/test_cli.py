"""Every command of `spotd` on an embedded cloud: what it prints, and the exit code it leaves with."""

import json
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from click.testing import CliRunner
from clouds_under_test import refuse_connections
from daemons import Face, environment, finished, process, write_clouds_file
from waiting import until

from spotd import __version__
from spotd.cli import main
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind


@pytest.fixture
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5) as started:
        yield started
        started.faults.clear()


@pytest.fixture
def environ(cloud: EmbeddedCloud, tmp_path: Path) -> dict[str, str]:
    netbox = {"SPOTD_NETBOX__URL": cloud.netbox_url, "SPOTD_NETBOX__TOKEN": cloud.netbox_token}
    return environment(write_clouds_file(cloud, tmp_path), **netbox)


def collected(environ: dict[str, str]) -> tuple[dict[str, Any], CompletedProcess[str]]:
    done = finished("collect", "--format", "json", environ=environ)
    return json.loads(done.stdout), done


# collect


def test_collect_tells_every_host_as_the_world_has_it(cloud: EmbeddedCloud, environ: dict[str, str]) -> None:
    document, done = collected(environ)

    world = cloud.world
    told = {host["name"]: host for host in document["hosts"]}
    devices = {device.name: device.status for device in world.netbox.devices.values()}
    assert (done.returncode, done.stderr) == (0, "")
    assert set(world.computes.hosts) | set(devices) == set(told)
    for name, record in world.computes.hosts.items():
        host = told[name]
        assert {
            "aggregates": sorted(world.aggregates_of(name)),
            "gpus": record.gpus,
            "used": world.ledger.providers[record.provider_uuid].used.get(record.gpu_class or "", 0),
            "servers": sorted(server.id for server in world.servers_on(name)),
            "status": record.status,
            "state": record.state,
            "netbox": devices.get(name),
        } == {
            "aggregates": sorted(host["aggregates"]),
            "gpus": host["gpus"],
            "used": host["gpus_used"],
            "servers": sorted(host["server_ids"]),
            "status": host["service_status"],
            "state": host["service_state"],
            "netbox": host["netbox_status"],
        }, name
    assert {state["succeeded"] for state in document["agents"]} == {True}
    assert document["requests"] == len(cloud.requests)


def test_collect_tells_times_as_iso_8601(environ: dict[str, str]) -> None:
    document, _ = collected(environ)

    agents = [agent["last_success"] for agent in document["agents"]]
    for told in (document["assembled_at"], *document["read_at"].values(), *agents):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", told), told


def test_collect_shows_pools_as_the_json_sums_them_up(environ: dict[str, str]) -> None:
    document, _ = collected(environ)
    done = finished("collect", environ=environ | {"COLUMNS": "200"})

    rows = {
        (cells[0], cells[1]): cells[2:6]
        for line in done.stdout.splitlines()
        if len(cells := [cell.strip() for cell in re.split("[│┃|]", line)[1:-1]]) == 7
    }
    assert (done.returncode, done.stderr) == (0, "")
    assert document["pools"]
    for pool in document["pools"]:
        numbers = [pool[key] for key in ("hosts", "free_hosts", "gpus", "gpus_used")]
        assert [str(number) for number in numbers] == rows[pool["gpu_type"], pool["pool"]]
    reasons = Counter({row["reason"]: row["hosts"] for row in document["out_of_stock"] if row["hosts"]})
    assert all(reason in done.stdout for reason in reasons)


def test_collect_shows_what_is_unknown_as_unknown(cloud: EmbeddedCloud, environ: dict[str, str]) -> None:
    cloud.faults.add(Fault(kind=FaultKind.STATUS, service="nova", path="/os-aggregates", status=500))

    document, done = collected(environ)
    table = finished("collect", environ=environ)

    assert (done.returncode, table.returncode) == (1, 1)
    assert document["pools"] is None
    assert document["out_of_stock"] is None
    assert document["read_at"]["aggregates"] is None
    assert {host["pool"] for host in document["hosts"]} == {None}
    assert "Pools: unknown" in table.stdout
    assert "aggregates failed: nova: list aggregates answered 500" in table.stderr


def test_collect_without_servers_shows_question_marks(cloud: EmbeddedCloud, environ: dict[str, str]) -> None:
    for service, path in (("nova", "/servers"), ("placement", "/")):
        cloud.faults.add(Fault(kind=FaultKind.STATUS, service=service, path=path, status=403))

    document, done = collected(environ)
    table = finished("collect", environ=environ | {"COLUMNS": "200"})

    assert done.returncode == 1
    assert {host["server_ids"] for host in document["hosts"]} == {None}
    assert {host["gpus_used"] for host in document["hosts"]} == {None}
    assert "?" in table.stdout
    assert not re.search(r"Traceback", done.stderr + table.stderr)


def test_an_error_text_with_brackets_is_shown_as_it_is(cloud: EmbeddedCloud, environ: dict[str, str]) -> None:
    body = json.dumps({"forbidden": {"code": 403, "message": "no [/red] or [bold] here [/]"}})
    cloud.faults.add(
        Fault(kind=FaultKind.STATUS, service="nova", path="/os-aggregates", status=403, body=body)
    )

    done = finished("collect", environ=environ | {"COLUMNS": "300"})

    assert done.returncode == 1
    assert "no [/red] or [bold] here [/]" in done.stderr


@pytest.mark.parametrize("command", ["collect", "run", "preflight"])
def test_an_unknown_cloud_is_a_wrong_configuration(command: str, environ: dict[str, str]) -> None:
    done = finished(command, environ=environ | {"SPOTD_OPENSTACK__CLOUD": "elsewhere"})

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "spotd: openstack.cloud: no cloud named 'elsewhere' in clouds.yaml; it has: embedded\n"
    )


# check-config


def check(file: Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["check-config", str(file)], env={"SPOTD_NETBOX__TOKEN": None})
    return done.exit_code, done.stdout, done.stderr


def test_check_config_likes_a_good_file(
    cloud: EmbeddedCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(cloud, tmp_path)))
    file = tmp_path / "spotd.yml"
    file.write_text("openstack:\n  cloud: embedded\n")

    assert check(file) == (0, f"{file}: good\n", "")


def test_check_config_looks_into_clouds_yaml(
    cloud: EmbeddedCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(cloud, tmp_path)))
    file = tmp_path / "spotd.yml"
    file.write_text("openstack:\n  cloud: mine\n")

    sentence = "openstack.cloud: no cloud named 'mine' in clouds.yaml; it has: embedded"
    assert check(file) == (2, "", f"spotd: {sentence}\n")


def test_check_config_tells_every_problem_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "spotd.yml"
    file.write_text("openstack:\n  clod: mine\ncache:\n  snapshot_seconds: 0\nlog:\n  level: loud\n")

    code, out, err = check(file)

    lines = err.splitlines()
    assert (code, out) == (2, "")
    assert [line.split(": ")[1] for line in lines] == [f"{file}:2", f"{file}:4", f"{file}:6"]
    assert "cloud" in lines[0]
    assert "debug" in lines[2]


def test_check_config_says_that_a_file_is_missing(tmp_path: Path) -> None:
    code, out, err = check(tmp_path / "gone.yml")

    assert (code, out) == (2, "")
    assert err.startswith(f"spotd: {tmp_path / 'gone.yml'}: ")
    assert len(err.splitlines()) == 1


# preflight


def test_preflight_finds_all_as_admin(environ: dict[str, str]) -> None:
    done = finished("preflight", environ=environ)

    assert (done.returncode, done.stderr) == (0, "")
    assert "missing" not in done.stdout
    assert len(done.stdout.splitlines()) == 26
    assert "NetBox answers: version" in done.stdout


def test_preflight_names_each_missing_right(cloud: EmbeddedCloud, tmp_path: Path) -> None:
    environ = environment(write_clouds_file(cloud, tmp_path, username="demo", project_name="demo"))

    done = finished("preflight", environ=environ)

    missing = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert done.returncode == 1
    for right in (
        "os_compute_api:os-aggregates:index",
        "os_compute_api:os-services:list",
        "os_compute_api:servers:detail:get_all_tenants",
        "placement:resource_providers:list",
        "placement:allocation_candidates:list",
        "placement:resource_providers:inventories:list",
        "placement:resource_providers:usages",
        "os_compute_api:os-migrations:index",
        "os_compute_api:os-aggregates:add_host",
        "os_compute_api:os-aggregates:remove_host",
        "os_compute_api:os-services:update",
        "placement:resource_providers:allocations:list",
        "placement:resource_providers:aggregates:list",
        "placement:resource_providers:traits:list",
    ):
        assert any(right in line for line in missing), right
    assert done.stderr == "spotd: something that spotd needs is missing\n"


@pytest.mark.parametrize(("flags", "code"), [((), 0), (("--for-moves",), 1)], ids=["watching", "moving"])
def test_preflight_lets_an_auditor_watch_and_not_move(
    cloud: EmbeddedCloud, tmp_path: Path, flags: tuple[str, ...], code: int
) -> None:
    cloud.world.identity.reader_sees_all = True
    environ = environment(write_clouds_file(cloud, tmp_path, username="auditor", project_name="admin"))
    before = cloud.operator.fleet()

    done = finished("preflight", *flags, environ=environ)

    missing = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert done.returncode == code, done.stdout
    assert len(missing) == 3
    assert all(line.startswith("missing  to move hosts: ") for line in missing)
    assert "it cannot move hosts yet" in done.stdout
    assert cloud.operator.fleet() == before


def test_preflight_names_a_nova_that_is_too_old(cloud: EmbeddedCloud, environ: dict[str, str]) -> None:
    cloud.world.nova_max = 60

    done = finished("preflight", environ=environ)

    missing = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert done.returncode == 1
    assert any("spotd needs Nova 2.69 (Stein, 2019) or newer; this is 2.60" in line for line in missing)


def test_preflight_names_a_service_that_is_not_in_the_catalog(
    cloud: EmbeddedCloud, environ: dict[str, str]
) -> None:
    cloud.world.identity.remove_service("placement")

    done = finished("preflight", environ=environ)

    assert done.returncode == 1
    assert "missing  Placement in the catalog: no 'placement' endpoint" in done.stdout


def test_preflight_says_so_when_keystone_is_not_there(cloud: EmbeddedCloud, environ: dict[str, str]) -> None:
    reopen = refuse_connections(cloud, "keystone")

    done = finished("preflight", environ=environ)
    reopen()

    asked = [line for line in done.stdout.splitlines() if "NetBox" not in line]
    assert done.returncode == 1
    assert ["missing  Keystone gives a token: keystone: connection refused"] == asked
    assert "Traceback" not in done.stderr


# demo


def test_the_demo_lives_changes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environ = environment(tmp_path / "none.yaml", TMPDIR=str(tmp_path), HTTP_PROXY="http://127.0.0.1:9")
    arguments = ("demo", "--hosts", "30", "--rate", "50", "--for", "5", "--web.listen-address", "127.0.0.1:0")

    with process(*arguments, environ=environ) as demo:
        face = announced(demo.out)
        first = until(lambda: face.scrape().get("spotd_fleet_servers"))
        until(lambda: face.scrape().get("spotd_fleet_servers") != first)
        keystone = next(line.split()[1] for line in demo.out if "Keystone" in line)
        code = demo.left(seconds=15)

    # A move that was under way at the end is taken back, and says so.
    said = [json.loads(line) for line in demo.err]
    assert code == 0
    assert [line for line in said if line.get("reason") != "spotd is stopping"] == []
    assert list(tmp_path.iterdir()) == []
    assert keystone.startswith("http://127.0.0.1:")


def test_ctrl_c_ends_the_demo_with_0(tmp_path: Path) -> None:
    environ = environment(tmp_path / "none.yaml", TMPDIR=str(tmp_path))

    with process("demo", "--hosts", "10", "--web.listen-address", "127.0.0.1:0", environ=environ) as demo:
        announced(demo.out)
        demo.send(signal.SIGINT)
        code = demo.left(seconds=10)

    assert code == 0
    assert not [line for line in demo.err if "error" in line or "Traceback" in line]
    assert list(tmp_path.iterdir()) == []


def announced(lines: list[str]) -> Face:
    """The face that a demo names, once it listens."""
    found = until(lambda: [line for line in lines if "/metrics" in line and "Ctrl-C" in "".join(lines)])
    return Face(found[0].split()[1].removesuffix("/metrics"))


def test_the_version_is_told() -> None:
    done = CliRunner().invoke(main, ["--version"])

    assert (done.exit_code, done.stdout.strip()) == (0, f"spotd, version {__version__}")


def test_check_config_reads_the_web_configuration_too(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text("basic_auth_users: {alice: opensesame}\n")
    file = tmp_path / "spotd.yml"
    file.write_text(f"web: {{config_file: {tmp_path / 'web.yml'}}}\n")

    done = CliRunner().invoke(main, ["check-config", str(file)])

    assert done.exit_code == 2
    assert "no bcrypt hash" in done.stderr
    assert "opensesame" not in done.stderr
