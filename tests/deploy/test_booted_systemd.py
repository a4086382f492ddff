"""The unit file under a real systemd 252: every promise that it and the guide make, on a running service."""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from booted import SCRIPT, Machine, booted, ended
from daemons import Face
from waiting import until

from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind, fault_on
from spotd.sim.operator import HostTruth

pytestmark = [pytest.mark.lab, pytest.mark.thorough, pytest.mark.timeout(900)]

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD = "Zq7-swordfish/pass&word"
NETBOX_TOKEN = "0123456789abcdeffedcba98765432100badc0de"
ORIGIN, DESTINATION = "H100-n3", "H100-n3-spot"
DATAGRAM_BYTES = 212_992
"""Linux's default for the largest datagram."""
# Of the unit only its times are changed, so that this takes seconds.
QUICKLY = "[Service]\nRestartSec=1\nWatchdogSec=15\n"
MOVES = {"settle_seconds": 4, "proof_gap_seconds": 0.5, "quiet_seconds": 10}


def why_not() -> str | None:
    if not os.environ.get(SCRIPT):
        return f"set {SCRIPT} to a script that boots a systemd: build, up, run COMMAND, down"
    if os.geteuid() != 0:
        return "only root may boot a systemd"
    missing = [program for program in ("systemd-nspawn", "debootstrap") if shutil.which(program) is None]
    return f"install systemd-container and debootstrap: no {missing[0]} on PATH" if missing else None


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    if reason := why_not():
        pytest.skip(reason)
    with booted(Path(os.environ[SCRIPT])) as up:
        yield up


@pytest.fixture(scope="module")
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=24, servers=0, projects=2), seed=3) as started:
        users = started.world.identity.users
        users["admin"] = replace(users["admin"], password=PASSWORD)
        started.world.netbox.tokens.add(NETBOX_TOKEN)
        yield started


@dataclass(frozen=True)
class Service:
    """spotd as the guide installs it, with nothing in its state directory."""

    machine: Machine
    cloud: EmbeddedCloud
    face: Face
    since: float
    example: Mapping[str, Any]

    def configure(self, **groups: Any) -> None:
        """The example configuration, with these groups changed."""
        document = {**self.example, **groups}
        self.machine.write("/etc/spotd/spotd.yml", yaml.safe_dump(document))

    def systemctl(self, *arguments: str) -> None:
        self.machine.run("systemctl", *arguments)

    def start(self) -> None:
        status, _ = self.machine.status("systemctl", "start", "spotd")
        assert status == 0, "\n".join(self.messages())

    def messages(self, *filters: str) -> list[str]:
        return [entry["MESSAGE"] for entry in self.entries(*filters)]

    def entries(self, *filters: str) -> list[dict[str, Any]]:
        return self.machine.entries(self.since, *filters)

    def events(self, *filters: str) -> list[str]:
        return [entry["SPOTD_EVENT"] for entry in self.entries(*filters) if "SPOTD_EVENT" in entry]

    def until_active_again(self, restarts: int) -> None:
        def is_active() -> bool:
            show = self.machine.show
            return show("NRestarts") == str(restarts) and show("ActiveState") == "active"

        until(is_active, seconds=60, why="it was not started again")

    def until_leading(self) -> None:
        until(lambda: self.face.is_ready() and self.face.scrape().get("spotd_leader") == 1, seconds=30)

    def secrets(self) -> set[str]:
        return {PASSWORD, NETBOX_TOKEN} | set(self.cloud.world.identity.tokens)

    def empty_host(self) -> str:
        """A host that may be moved, as spotd sees it too."""
        told = {row["host"]: row for row in self.face.scrape().labels("spotd_host_info")}
        fleet = self.cloud.operator.fleet()
        return next(
            name
            for name, truth in fleet.items()
            if is_settled(truth) and truth.aggregates == (ORIGIN,) and truth.is_up and truth.is_empty
            if told[name]["netbox_status"] == "active"
        )

    def moves(self, host: str) -> list[str]:
        """The states of its moves, as a command of root's reads them."""
        told = json.loads(self.machine.spotd("journal", "--format", "json", "--host", host))
        return [move["state"] for move in told]

    def owners(self) -> set[int]:
        """Whose the state directory and the files in it are."""
        state = self.machine.root / "var/lib/private/spotd"
        return {path.stat().st_uid for path in (state, *state.iterdir())}


def is_settled(truth: HostTruth) -> bool:
    return truth.status == "enabled" and len(truth.aggregates) == 1 and truth.agrees


@pytest.fixture
def service(machine: Machine, cloud: EmbeddedCloud) -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    example = yaml.safe_load((DEPLOY / "spotd.example.yml").read_text(encoding="utf-8"))
    example |= {
        "openstack": {"cloud": "embedded"},
        "netbox": {**example["netbox"], "url": cloud.netbox_url, "query": {}},
        "cache": {"snapshot_seconds": 1},
        "moves": MOVES,
        "journal": {"lease_seconds": 5},
        "web": {**example["web"], "listen_address": address},
    }
    machine.status("systemctl", "stop", "spotd")
    for left in ("etc/spotd", "etc/openstack", "etc/systemd/system/spotd.service.d"):
        shutil.rmtree(machine.root / left, ignore_errors=True)
    unit = (DEPLOY / "systemd" / "spotd.service").read_text(encoding="utf-8")
    machine.write("/etc/systemd/system/spotd.service", unit)
    machine.write("/etc/systemd/system/spotd.service.d/quickly.conf", QUICKLY)
    clouds = cloud.clouds_yaml()
    clouds["clouds"]["embedded"]["auth"]["password"] = PASSWORD
    machine.write("/etc/openstack/clouds.yaml", yaml.safe_dump(clouds), 0o600)
    machine.write("/etc/spotd/netbox-token", f"{NETBOX_TOKEN}\n", 0o600)
    machine.run("systemctl", "daemon-reload")
    machine.status("systemctl", "clean", "--what=state", "spotd")
    machine.status("systemctl", "reset-failed", "spotd")
    made = Service(machine, cloud, Face(f"http://{address}"), time.time(), example)
    made.configure()
    yield made
    cloud.faults.clear()
    machine.status("systemctl", "stop", "spotd")
    told = json.dumps(made.entries())
    assert [secret for secret in made.secrets() if secret in told] == [], "a secret is in journald's log"


# Start, reload, stop


def test_a_start_waits_until_it_listens_and_the_status_tells_how_it_is(service: Service) -> None:
    service.start()

    assert service.face.get("/-/healthy").status_code == 200
    assert service.machine.show("StatusText").startswith(("watching embedded/RegionOne", "the snapshot is"))
    service.until_leading()
    until(lambda: service.machine.show("StatusText").startswith("the snapshot is"))
    assert "started" in service.events()


def test_a_bad_configuration_at_the_start_is_an_error_that_is_not_tried_again(service: Service) -> None:
    service.configure(cache={"snapshot_seconds": 0})

    status, _ = service.machine.status("systemctl", "start", "spotd")

    errors = service.messages("-p", "err")
    assert status != 0
    assert service.machine.show("ExecMainStatus") == "2"
    assert service.machine.show("ActiveState") == "failed"
    assert service.machine.show("NRestarts") == "0"
    assert any(
        text.startswith("spotd: /etc/spotd/spotd.yml:") and "snapshot_seconds" in text for text in errors
    )


def test_a_good_reload_is_taken_up_and_a_bad_one_told_of_and_refused(service: Service) -> None:
    service.start()
    service.until_leading()
    pid = service.machine.show("MainPID")

    assert "ondemand" in pools(service)
    service.configure(aggregates={"patterns": [{"name": ".*", "pool": "testing"}]})
    service.systemctl("reload", "spotd")
    until(lambda: "configuration reloaded" in service.events())
    until(lambda: pools(service) == {"testing"}, seconds=20)

    service.configure(cache={"snapshot_seconds": 0})
    service.systemctl("reload", "spotd")
    until(lambda: service.face.scrape().get("spotd_config_last_reload_successful") == 0)
    service.face.collect_again(2)

    status = service.machine.show("StatusText")
    assert "kept the old configuration: /etc/spotd/spotd.yml:" in status
    assert "cache.snapshot_seconds" in status
    assert pools(service) == {"testing"}
    assert service.machine.show("MainPID") == pid

    service.configure()
    service.systemctl("reload", "spotd")
    until(lambda: service.face.scrape().get("spotd_config_last_reload_successful") == 1)
    until(lambda: "ondemand" in pools(service), seconds=20)
    until(lambda: "kept the old" not in service.machine.show("StatusText"))


def pools(service: Service) -> set[str]:
    return {row["pool"] for row in service.face.scrape().labels("spotd_host_info") if row["pool"]}


def test_a_stop_is_clean_and_takes_seconds(service: Service) -> None:
    service.start()
    service.until_leading()

    service.systemctl("stop", "spotd")

    began, ended_at = (
        int(service.machine.show(name))
        for name in ("ActiveExitTimestampMonotonic", "InactiveEnterTimestampMonotonic")
    )
    assert service.machine.show("Result") == "success"
    assert service.machine.show("ExecMainStatus") == "0"
    assert (ended_at - began) / 1e6 < 10
    assert service.events()[-1] == "stopped"


# What systemd does when it hangs or dies


def test_the_watchdog_ends_a_process_that_hangs_and_systemd_starts_it_again(service: Service) -> None:
    service.start()
    service.until_leading()
    pid = service.machine.show("MainPID")

    service.systemctl("kill", "-s", "STOP", "spotd")
    service.until_active_again(restarts=1)

    assert service.machine.show("MainPID") != pid
    service.until_leading()
    told = "\n".join(service.messages())
    assert "Watchdog timeout" in told
    assert "Thread 0x" in told, "it does not say where it hung"


PLACES = {"done": (DESTINATION,), "undone": (ORIGIN,)}
WHERE_IT_DIES: dict[str, tuple[Fault | None, Callable[[HostTruth], bool], set[str]]] = {
    "closed": (None, lambda truth: truth.aggregates == (ORIGIN,) and truth.status == "disabled", {"undone"}),
    # Nova carries the request out after the one that sent it has died: forward where the next daemon finds it
    # done, back where it is done just after that look.
    "in-no-pool": (
        fault_on("add_host", FaultKind.LATENCY, times=1, effect_after_seconds=5, seconds=0),
        lambda truth: truth.aggregates == (),
        {"done", "undone"},
    ),
    "joined": (
        fault_on("add_host", FaultKind.LATENCY, times=1, seconds=5),
        lambda truth: truth.aggregates == (DESTINATION,),
        {"done"},
    ),
}


@pytest.mark.parametrize(("fault", "is_there", "ends"), WHERE_IT_DIES.values(), ids=WHERE_IT_DIES)
def test_a_move_in_the_middle_of_which_it_is_killed_is_settled_after_the_restart(
    fault: Fault | None, is_there: Callable[[HostTruth], bool], ends: set[str], service: Service
) -> None:
    service.start()
    service.until_leading()
    host = service.empty_host()
    delayed = None if fault is None else service.cloud.faults.add(fault)
    truth = service.cloud.operator.truth
    order = ("spotd", "move", host, "--to", DESTINATION, "--yes", "--config.file", "/etc/spotd/spotd.yml")

    with ended(service.machine.start(*order)) as moving:
        # A request that is delayed has been sent: how the move ends depends on it.
        until(lambda: is_there(truth(host)) and (delayed is None or delayed.met), seconds=60)
        service.systemctl("kill", "-s", "KILL", "spotd")
        at_death = truth(host)
        before = service.moves(host)
        service.until_active_again(restarts=1)
        told = moving.communicate(timeout=90)[0]

    assert (at_death.status, before) == ("disabled", ["running"])
    assert is_settled(truth(host)), truth(host)
    (end,) = service.moves(host)
    assert end in ends
    assert truth(host).aggregates == PLACES[end]
    assert f"{host}: {end}" in told
    assert "settling an open move" in service.events()


def test_a_stop_in_the_middle_of_a_move_takes_it_back_first(service: Service) -> None:
    service.start()
    service.until_leading()
    host = service.empty_host()
    truth = service.cloud.operator.truth
    order = ("spotd", "move", host, "--to", DESTINATION, "--yes", "--config.file", "/etc/spotd/spotd.yml")

    with ended(service.machine.start(*order)):
        until(lambda: truth(host).status == "disabled", seconds=60)
        service.systemctl("stop", "spotd")

    assert service.machine.show("Result") == "success"
    assert is_settled(truth(host)), truth(host)
    assert truth(host).aggregates == (ORIGIN,)
    assert service.moves(host) == ["undone"]


# The log


def test_events_are_fields_by_which_journald_finds_them(service: Service) -> None:
    service.cloud.faults.add(Fault(kind=FaultKind.STATUS, service="netbox", status=500))
    service.start()
    until(lambda: "agent failed" in service.events(), seconds=20)

    own = [entry for entry in service.entries() if "SPOTD_EVENT" in entry]
    warnings = service.entries("-p", "warning")
    of_netbox = service.entries("SPOTD_AGENT=netbox")

    assert {entry["_TRANSPORT"] for entry in own} == {"journal"}
    assert {entry["SYSLOG_IDENTIFIER"] for entry in own} == {"spotd"}
    assert "6" in {entry["PRIORITY"] for entry in own}
    assert {entry["SPOTD_EVENT"] for entry in warnings} == {"agent failed"}
    assert {entry["PRIORITY"] for entry in warnings} == {"4"}
    assert {entry["SPOTD_EVENT"] for entry in of_netbox} == {"agent failed"}
    failed = of_netbox[0]
    assert failed["MESSAGE"].startswith("agent failed agent=netbox reason=server_error error=")
    assert (failed["LOGGER"], Path(failed["CODE_FILE"]).name) == ("spotd.agents.health", "health.py")
    assert not [text for text in service.messages() if text.startswith("{")]


def test_an_event_larger_than_a_datagram_reaches_journald_out_of_the_sandbox(service: Service) -> None:
    service.start()
    service.until_leading()
    unknown = {f"key_{number}": number for number in range(3_500)}

    service.configure(cache=unknown)
    service.systemctl("reload", "spotd")
    until(lambda: "configuration not reloaded" in service.events("-p", "err"), seconds=20)

    [refused] = service.entries("-p", "err", "SPOTD_EVENT=configuration not reloaded")
    assert refused["_TRANSPORT"] == "journal"
    assert len(refused["SPOTD_ERROR"]) > DATAGRAM_BYTES
    assert "key_3499" in refused["SPOTD_ERROR"]


def test_it_outlives_journald_and_speaks_to_the_next(service: Service) -> None:
    service.start()
    service.until_leading()
    sockets = ("systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald-audit.socket")

    service.systemctl("stop", *sockets, "systemd-journald")
    service.systemctl("reload", "spotd")
    service.face.collect_again(2)
    service.systemctl("start", *sockets[:2], "systemd-journald")
    back = time.time()
    service.systemctl("reload", "spotd")
    until(lambda: "configuration reloaded" in service.events(), seconds=20)

    told = [entry for entry in service.machine.entries(back) if "SPOTD_EVENT" in entry]
    assert {entry["_TRANSPORT"] for entry in told} == {"journal"}
    assert service.machine.show("NRestarts") == "0"


def test_no_secret_is_logged_however_much_is_logged(service: Service) -> None:
    body = json.dumps({"detail": f"Invalid token {NETBOX_TOKEN}"})
    service.cloud.faults.add(Fault(kind=FaultKind.STATUS, service="netbox", status=403, body=body))
    service.configure(log={"level": "debug"})

    service.start()
    until(lambda: "agent failed" in service.events(), seconds=20)

    told = json.dumps(service.entries())
    assert "***" in told, "nothing was there to be hidden"
    assert len(service.secrets()) > 2
    assert [secret for secret in service.secrets() if secret in told] == []


# Commands of root's beside it


def test_commands_of_roots_find_the_journal_and_leave_it_to_the_service(service: Service) -> None:
    service.start()
    service.until_leading()
    owner = service.owners()

    said = service.machine.spotd("freeze", "--reason", "network work")
    until(lambda: service.face.scrape().get("spotd_frozen") == 1)
    audit = service.machine.spotd("journal", "--audit")
    service.machine.spotd("unfreeze")
    until(lambda: service.face.scrape().get("spotd_frozen") == 0)

    assert said == "frozen until `spotd unfreeze`: network work\n"
    assert "network work" in audit
    assert "good" in service.machine.run("spotd", "check-config", "/etc/spotd/spotd.yml")
    assert service.machine.spotd("preflight")
    assert len(owner) == 1
    assert 0 not in owner
    assert service.owners() == owner


def test_the_service_writes_on_after_a_command_of_roots_was_first_at_the_journal(service: Service) -> None:
    service.start()
    service.until_leading()
    owner = service.owners()
    service.systemctl("stop", "spotd")

    follow = ("spotd", "journal", "--follow", "--config.file", "/etc/spotd/spotd.yml")
    with ended(service.machine.start(*follow)):
        wal = service.machine.root / "var/lib/private/spotd/journal.sqlite-wal"
        until(wal.exists, why="the command does not hold the journal open")
        service.machine.spotd("freeze", "--reason", "network work")
        at_once = service.owners()
        service.start()
        service.until_leading()
    until(lambda: service.face.scrape().get("spotd_frozen") == 1)

    assert at_once == service.owners() == owner
    assert service.face.scrape().get("spotd_journal_up") == 1
    assert service.events("-p", "warning") == []


def test_a_journal_that_a_command_of_roots_made_is_the_services(service: Service) -> None:
    service.start()
    service.until_leading()
    owner = service.owners()
    service.systemctl("stop", "spotd")
    for file in (service.machine.root / "var/lib/private/spotd").glob("journal.sqlite*"):
        file.unlink()

    assert service.machine.spotd("recover") == "No move is open or stranded.\n"
    made = service.owners()
    service.start()
    service.until_leading()

    assert made == service.owners() == owner
    assert service.face.scrape().get("spotd_journal_up") == 1
