"""The daemon moves hosts by rules and by hand; journal, /metrics and snapshot show it."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from daemons import ADMINS_TOKENS, Face, Process, environment, finished, process, write_clouds_file
from waiting import until

from spotd.sim import CloudSize, EmbeddedCloud, FaultKind, fault_on

LEND = """\
mode: {mode}
limits: {{cooldown: 0s, moves_per_hour: 1000, moves_per_day: 1000}}
rules:
  - {{name: lend, from: [ondemand], to: spot, gpu_types: [H100], variant: none, when: from.free_hosts > 0}}
"""


@pytest.fixture
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=40), seed=1) as made:
        yield made


@pytest.fixture
def environ(cloud: EmbeddedCloud, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "state").mkdir()
    return environment(
        write_clouds_file(cloud, tmp_path),
        SPOTD_WEB__LISTEN_ADDRESS="127.0.0.1:0",
        SPOTD_API__TOKENS=json.dumps(ADMINS_TOKENS),
        SPOTD_CACHE__SNAPSHOT_SECONDS="1",
        SPOTD_COLLECTION__STATE_DIRECTORY=str(tmp_path / "state"),
        SPOTD_MOVES__SETTLE_SECONDS="0.5",
        SPOTD_MOVES__PROOF_GAP_SECONDS="0.2",
        SPOTD_RULES__FREEZE_FILE=str(tmp_path / "freeze"),
    )


def rules(tmp_path: Path, mode: str) -> str:
    path = tmp_path / "rules.yml"
    path.write_text(LEND.format(mode=mode))
    return str(path)


def empty_host(cloud: EmbeddedCloud, aggregate: str) -> str:
    """A host of the aggregate on which nobody is."""
    fleet = cloud.operator.fleet()
    return next(
        name for name, host in sorted(fleet.items()) if host.aggregates == (aggregate,) and host.is_empty
    )


def in_pools(cloud: EmbeddedCloud, host: str) -> tuple[str, ...]:
    found: tuple[str, ...] = cloud.operator.truth(host).aggregates
    return found


def led(started: Process) -> Face:
    """Its face, once it leads and knows the fleet."""
    face = started.face()
    face.settle()
    until(lambda: face.scrape().get("spotd_leader") == 1, seconds=15)
    return face


def test_a_rule_in_active_mode_moves_a_host_and_everything_shows_it(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    host = empty_host(cloud, "H100-n3")

    with process("run", "--rules.file", rules(tmp_path, "active"), environ=environ) as started:
        face = led(started)
        until(lambda: in_pools(cloud, host) == ("H100-n3-spot",), seconds=30)
        until(lambda: cloud.operator.truth(host).status == "enabled", seconds=10)
        done = {"rule": "lend", "origin_pool": "ondemand", "destination_pool": "spot", "outcome": "done"}
        until(lambda: (face.scrape().get("spotd_moves_total", **done) or 0) >= 1, seconds=10)
        until(lambda: face.scrape().get("spotd_host_gpus", host=host, pool="spot") is not None, seconds=5)
        listed = finished("journal", "--format", "json", "--steps", environ=environ)

    assert listed.returncode == 0
    moved = [json.loads(line) for line in listed.stdout.splitlines() if line.startswith("{")] or json.loads(
        listed.stdout
    )
    assert host in json.dumps(moved)


def test_dry_run_plans_and_moves_nothing(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    before = {name: host.aggregates for name, host in cloud.operator.fleet().items()}

    with process("run", "--rules.file", rules(tmp_path, "dry-run"), environ=environ) as started:
        face = led(started)
        until(lambda: (face.scrape().get("spotd_plan_moves", rule="lend") or 0) >= 1, seconds=15)
        until(
            lambda: (face.scrape().get("spotd_rebalance_cycles_total", outcome="planned") or 0) >= 3,
            seconds=15,
        )

    assert {name: host.aggregates for name, host in cloud.operator.fleet().items()} == before


def test_a_freeze_file_holds_every_move_until_it_goes(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "freeze").write_text("network works\n")
    host = empty_host(cloud, "H100-n3")

    with process("run", "--rules.file", rules(tmp_path, "active"), environ=environ) as started:
        face = led(started)
        until(
            lambda: (face.scrape().get("spotd_rebalance_cycles_total", outcome="frozen") or 0) >= 2,
            seconds=15,
        )
        assert face.scrape().get("spotd_frozen") == 1
        assert in_pools(cloud, host) == ("H100-n3",)
        (tmp_path / "freeze").unlink()
        until(lambda: in_pools(cloud, host) == ("H100-n3-spot",), seconds=30)


def test_bad_rules_at_a_reload_keep_the_old_ones(environ: dict[str, str], tmp_path: Path) -> None:
    file = rules(tmp_path, "dry-run")

    with process("run", "--rules.file", file, environ=environ) as started:
        face = led(started)
        Path(file).write_text("mode: activ\n")
        answer = face.reload()
        told = face.scrape()

    assert (answer.status_code, "rules.yml:1: mode: 'activ'" in answer.text) == (500, True)
    assert told.get("spotd_rules_last_reload_successful") == 0
    assert told.get("spotd_rules_info", mode="dry-run") == 1


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param("disable_service", marks=pytest.mark.thorough),
        "list_migrations",
        pytest.param("add_host", marks=pytest.mark.thorough),
    ],
)
def test_a_reload_within_a_move_takes_no_call_from_its_hands(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path, operation: str
) -> None:
    """A call under way ends as if there had been no reload: the move need not read back or go back."""
    host = empty_host(cloud, "H100-n3")

    with process("run", "--rules.file", rules(tmp_path, "observe"), environ=environ) as started:
        face = led(started)
        slow = cloud.faults.add(fault_on(operation, FaultKind.LATENCY, seconds=3.0, times=1))
        with ThreadPoolExecutor() as pool:
            moving = pool.submit(finished, "move", host, "--to", "H100-n3-spot", "--yes", environ=environ)
            until(lambda: slow.met == 1, seconds=30)
            assert face.reload().status_code == 200
            face.collect_again()
            moved = moving.result()

    assert (moved.returncode, in_pools(cloud, host)) == (0, ("H100-n3-spot",))
    assert "read back" not in moved.stdout
    assert cloud.operator.truth(host).status == "enabled"


@pytest.mark.thorough
def test_a_call_that_a_reload_left_to_end_keeps_no_process_from_leaving(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    host = empty_host(cloud, "H100-n3")

    with process("run", "--rules.file", rules(tmp_path, "active"), environ=environ) as started:
        face = led(started)
        hanging = cloud.faults.add(fault_on("add_host", FaultKind.HANG))
        until(lambda: hanging.met >= 1, seconds=30)
        assert face.reload().status_code == 200
        started.send(signal.SIGTERM)
        code = started.left(seconds=16)

    assert (code, cloud.operator.truth(host).status) == (0, "disabled")


def test_a_daemon_that_moves_hosts_takes_up_no_other_cloud(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    """A move under way would go on with the hosts of the other, and nobody would open its own again."""
    with (
        EmbeddedCloud(CloudSize(hosts=40), seed=1) as other,
        process("run", "--rules.file", rules(tmp_path, "observe"), environ=environ) as started,
    ):
        face = led(started)
        write_clouds_file(other, tmp_path)
        answer = face.reload()
        other.requests.clear()
        told = face.collect_again()

        asked = sum(count for (service, _, _), count in other.requests.count().items() if service != "netbox")

    assert (answer.status_code, "restart spotd" in answer.text) == (500, True)
    assert told.get("spotd_config_last_reload_successful") == 0
    assert asked == 0


def test_bad_rules_at_the_start_are_told_with_their_line(environ: dict[str, str], tmp_path: Path) -> None:
    bad = tmp_path / "rules.yml"
    bad.write_text("mode: activ\n")

    told = finished("run", "--rules.file", str(bad), environ=environ)

    assert (told.returncode, "rules.yml:1: mode: 'activ'" in told.stderr) == (2, True)


def test_move_shows_what_it_would_do_and_does_it_only_with_yes(
    cloud: EmbeddedCloud, environ: dict[str, str]
) -> None:
    host = empty_host(cloud, "H100-n3")

    shown = finished("move", host, "--to", "H100-n3-spot", environ=environ)
    after_showing = in_pools(cloud, host)
    done = finished("move", host, "--to", "H100-n3-spot", "--yes", environ=environ)

    assert (shown.returncode, after_showing) == (0, ("H100-n3",))
    assert f"openstack aggregate remove host H100-n3 {host}" in shown.stdout
    assert (done.returncode, in_pools(cloud, host)) == (0, ("H100-n3-spot",))


def test_move_refuses_a_host_with_servers(cloud: EmbeddedCloud, environ: dict[str, str]) -> None:
    fleet = cloud.operator.fleet()
    host = next(name for name, h in sorted(fleet.items()) if h.aggregates == ("H100-n3",) and h.servers)

    refused = finished("move", host, "--to", "H100-n3-spot", "--yes", environ=environ)

    assert (refused.returncode, in_pools(cloud, host)) == (1, ("H100-n3",))
    assert "servers on it" in refused.stderr


def test_the_daemon_that_leads_carries_out_what_the_command_asks(
    cloud: EmbeddedCloud, environ: dict[str, str]
) -> None:
    host = empty_host(cloud, "H100-n3")

    with process("run", environ=environ) as started:
        led(started)
        done = finished("move", host, "--to", "H100-n3-spot", "--yes", environ=environ)
        began = started.event("move begun")

    assert (done.returncode, in_pools(cloud, host)) == (0, ("H100-n3-spot",))
    assert (began["host"], began["asked_by"].startswith("cli ")) == (host, True)


def test_a_daemon_killed_within_a_move_settles_it_after_its_restart(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    host = empty_host(cloud, "H100-n3")
    slow = environ | {"SPOTD_MOVES__SETTLE_SECONDS": "60"}
    file = rules(tmp_path, "active")

    with process("run", "--rules.file", file, environ=slow) as started:
        until(lambda: cloud.operator.truth(host).status == "disabled", seconds=30)
        started.send(signal.SIGKILL)
        started.left()
    rules(tmp_path, "observe")
    with process("run", "--rules.file", file, environ=environ) as started:
        ended = started.event("move ended", seconds=40)

    truth = cloud.operator.truth(host)
    assert (truth.status, truth.aggregates, ended["state"]) == ("enabled", ("H100-n3",), "undone")


def test_a_stop_within_a_move_takes_it_back_and_leaves_within_seconds(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    host = empty_host(cloud, "H100-n3")
    slow = environ | {"SPOTD_MOVES__SETTLE_SECONDS": "60"}

    with process("run", "--rules.file", rules(tmp_path, "active"), environ=slow) as started:
        until(lambda: cloud.operator.truth(host).status == "disabled", seconds=30)
        started.send(signal.SIGTERM)
        code = started.left(seconds=15)

    truth = cloud.operator.truth(host)
    assert (code, truth.status, truth.aggregates) == (0, "enabled", ("H100-n3",))


def test_ctrl_c_within_a_move_by_hand_takes_it_back(cloud: EmbeddedCloud, environ: dict[str, str]) -> None:
    """Else the host would stay closed until somebody thinks of `spotd recover`."""
    host = empty_host(cloud, "H100-n3")
    slow = environ | {"SPOTD_MOVES__SETTLE_SECONDS": "60"}

    with process("move", host, "--to", "H100-n3-spot", "--yes", environ=slow) as started:
        until(lambda: cloud.operator.truth(host).status == "disabled", seconds=30)
        started.send(signal.SIGINT)
        code = started.left(seconds=15)

    truth = cloud.operator.truth(host)
    assert (code, truth.status, truth.aggregates) == (1, "enabled", ("H100-n3",))
    assert "spotd is stopping" in "".join(started.err)


def test_a_move_by_hand_that_was_refused_is_not_done_later(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    """The command said no: a daemon that starts afterwards must not take the order up."""
    host = empty_host(cloud, "H100-n3")
    assert finished("move", host, "--to", "H100-n3-spot", "--yes", environ=environ).returncode == 0
    with sqlite3.connect(tmp_path / "state" / "journal.sqlite") as journal:
        journal.execute("UPDATE moves SET state = 'running', finished_at = NULL")

    refused = finished("move", host, "--to", "H100-n3", "--yes", environ=environ)

    with sqlite3.connect(tmp_path / "state" / "journal.sqlite") as journal:
        states = [state for (state,) in journal.execute("SELECT state FROM moves ORDER BY number")]
    assert (1, ["running", "refused"]) == (refused.returncode, states)
    assert "is held by move" in refused.stderr


def test_recover_puts_a_stranded_host_right(
    cloud: EmbeddedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    host = empty_host(cloud, "H100-n3")
    done = finished("move", host, "--to", "H100-n3-spot", "--yes", environ=environ)
    assert done.returncode == 0
    with sqlite3.connect(tmp_path / "state" / "journal.sqlite") as journal:
        (move_id,) = journal.execute("SELECT id FROM moves").fetchone()
        journal.execute("UPDATE moves SET state = 'stranded'")
    cloud.operator.disable(host, f"spotd:{move_id} moving to H100-n3-spot")

    recovered = finished("recover", environ=environ)

    assert (recovered.returncode, cloud.operator.truth(host).status) == (0, "enabled")
    assert f"{host}: stranded: done:" in recovered.stdout


def test_recover_names_a_host_that_a_move_of_another_journal_closed(
    cloud: EmbeddedCloud, environ: dict[str, str]
) -> None:
    """The journal was lost: nobody knows where the host came from, so that a person must say."""
    host = empty_host(cloud, "H100-n3")
    cloud.operator.disable(host, "spotd:c0ffee moving to H100-n3-spot")

    told = finished("recover", environ=environ)

    assert (told.returncode, cloud.operator.truth(host).status) == (1, "disabled")
    assert f"{host} is closed by move c0ffee" in told.stderr


def test_recover_says_when_there_is_nothing_to_do(environ: dict[str, str]) -> None:
    nothing = finished("recover", environ=environ)

    assert (nothing.returncode, nothing.stdout) == (0, "No move is open or stranded.\n")
