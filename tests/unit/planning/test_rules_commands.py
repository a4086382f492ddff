"""`spotd check-rules`, `plan` and `explain`, as an operator runs them; the cloud is the embedded one."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spotd.cli import main
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind
from spotd.store import Store, open_store
from spotd.store.records import MoveOrder, MovePlace, MoveState

RULES = """\
limits: {moves_at_once: 3}
rules:
- name: lend
  from: [ondemand]
  to: spot
  when: from.hosts > 0
  for: 10m
  count: 3
  hosts: {take: drain}
"""


def spotd(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def rules_file(tmp_path: Path) -> str:
    path = tmp_path / "rules.yml"
    path.write_text(RULES)
    return str(path)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=60), seed=1) as cloud:
        clouds_file = tmp_path / "clouds.yaml"
        clouds_file.write_text(json.dumps(cloud.clouds_yaml()))
        for name, value in {
            "OS_CLIENT_CONFIG_FILE": str(clouds_file),
            "no_proxy": "*",
            "SPOTD_OPENSTACK__CLOUD": "embedded",
            "SPOTD_NETBOX__URL": cloud.netbox_url,
            "SPOTD_NETBOX__TOKEN": cloud.netbox_token,
        }.items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.fixture
def _cloud(cloud: EmbeddedCloud) -> None:
    """The cloud, for tests that only look at it."""


def test_check_rules_refuses_a_rule_that_would_burn_the_cycle(rules_file: str) -> None:
    burns = "true"
    for _ in range(7):
        burns = f"[0,1,2,3,4,5,6,7,8,9].all(x, {burns})"
    Path(rules_file).write_text(RULES.replace("from.hosts > 0", f"'{burns}'"))

    result = spotd("check-rules", rules_file)

    assert result.exit_code == 2
    assert f"{rules_file}:6: rules[0].when: costs too much: " in result.stderr


def test_check_rules_says_that_a_file_is_good(rules_file: str) -> None:
    done = spotd("check-rules", rules_file)

    assert (done.exit_code, done.output) == (0, f"{rules_file}: good, 1 rules, mode dry-run\n")


def test_check_rules_tells_every_mistake_and_leaves_with_2(tmp_path: Path) -> None:
    path = tmp_path / "bad.yml"
    path.write_text("mode: go\ntime_zone: Mars\n")

    done = spotd("check-rules", str(path))

    assert done.exit_code == 2
    assert [line.split(": ")[1].rpartition(":")[2] for line in done.output.splitlines()] == ["1", "2"]


def test_check_rules_shows_the_counter_example_and_leaves_with_1(rules_file: str) -> None:
    back = '- {name: back, from: [spot], to: ondemand, when: "true"}\n'
    Path(rules_file).write_text(RULES + back)

    done = spotd("check-rules", rules_file)
    unsearched = spotd("check-rules", rules_file, "--no-search")

    assert done.exit_code == 1
    assert "fight: lend, back: " in done.output
    assert "lend moves a host to spot" in done.output
    assert unsearched.exit_code == 0


def test_check_rules_prints_the_schema() -> None:
    done = spotd("check-rules", "--schema")

    assert json.loads(done.output)["properties"]["mode"]["default"] == "dry-run"
    assert spotd("check-rules").exit_code == 2


@pytest.mark.usefixtures("_cloud")
def test_plan_tells_every_move_and_every_refusal(rules_file: str) -> None:
    done = spotd("plan", "--rules.file", rules_file, "--as-if-held", "--format", "json")

    document = json.loads(done.stdout)
    assert done.exit_code == 0
    assert len(document["moves"]) == 3
    hosts = {pair["host"] for pair in (*document["moves"], *document["refusals"])}
    assert len(document["moves"]) + len(document["refusals"]) == len(hosts) >= 30
    assert {move["rule"] for move in document["moves"]} == {"lend"}


@pytest.mark.usefixtures("_cloud")
def test_plan_shows_tables_and_that_for_has_not_passed(rules_file: str) -> None:
    waiting = spotd("plan", "--rules.file", rules_file)
    held = spotd("plan", "--rules.file", rules_file, "--as-if-held")

    assert (waiting.exit_code, held.exit_code) == (0, 0)
    assert "No moves." in waiting.output
    assert "Moves (mode: dry-run)" in held.output
    assert "Refusals" in held.output


@pytest.mark.usefixtures("_cloud")
@pytest.mark.parametrize("command", [("plan",), ("explain", "nobody")], ids=lambda command: command[0])
def test_rules_are_those_of_the_configuration_unless_others_are_given(
    command: tuple[str, ...], rules_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text("mode: go\n")

    without = spotd(*command)
    monkeypatch.setenv("SPOTD_RULES__FILE", str(bad))
    configured = spotd(*command)
    given = spotd(*command, "--rules.file", rules_file)

    assert (without.exit_code, configured.exit_code) == (2, 2)
    assert "name a file by --rules.file" in without.output
    assert str(bad) in configured.output
    assert given.exit_code == (0 if command[0] == "plan" else 1)
    assert str(bad) not in given.output


@pytest.mark.usefixtures("_cloud")
def test_explain_tells_all_about_a_host(rules_file: str) -> None:
    planned = json.loads(spotd("plan", "--rules.file", rules_file, "--format", "json").stdout)
    host = planned["refusals"][0]["host"]

    shown = spotd("explain", host, "--rules.file", rules_file)
    document = json.loads(spotd("explain", host, "--rules.file", rules_file, "--format", "json").stdout)

    assert host in shown.output
    assert document["facts"]["service_status"]["source"] == "services"
    assert [thought["rule"] for thought in document["rules"]] == ["lend"]
    assert spotd("explain", "nobody", "--rules.file", rules_file).exit_code == 1


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/journal.sqlite"
    monkeypatch.setenv("SPOTD_JOURNAL__URL", url)
    with open_store(url) as store:
        yield store


def planned(rules_file: str, *options: str) -> dict[str, Any]:
    done = spotd("plan", "--rules.file", rules_file, "--as-if-held", "--format", "json", *options)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def move_it(store: Store, move: dict[str, Any]) -> None:
    """The move as a daemon carries it out, a moment ago."""
    now = datetime.now(UTC)
    places = (
        MovePlace(**{key: move[end][key] for key in ("id", "uuid", "name", "pool")})
        for end in ("origin", "destination")
    )
    order = MoveOrder(
        host=move["host"],
        gpu_type=move["gpu_type"],
        rule="lend",
        asked_by="rule lend",
        reason="an example",
        drain_deadline=None,
        **dict(zip(("origin", "destination"), places, strict=True)),
    )
    token = store.lease("a daemon", timedelta(minutes=1)).try_acquire()
    assert token is not None
    record = store.journal.begin(order, token=token, now=now)
    store.journal.finish(record.id, MoveState.UNDONE, "taken back", token=token, now=now)


@pytest.mark.usefixtures("_cloud")
def test_plan_and_explain_know_what_moved_lately(rules_file: str, journal: Store) -> None:
    first = planned(rules_file)["moves"][0]
    move_it(journal, first)

    refused = {pair["host"]: pair["code"] for pair in planned(rules_file)["refusals"]}
    shown = spotd("explain", first["host"], "--rules.file", rules_file)
    told = json.loads(spotd("explain", first["host"], "--rules.file", rules_file, "--format", "json").stdout)

    assert refused[first["host"]] == "cooldown"
    assert "cooldown" in [found["code"] for found in told["standing"]]
    assert [(move["state"], move["asked_by"]) for move in told["moves"]] == [("undone", "rule lend")]
    assert "rule lend" in shown.output


@pytest.mark.usefixtures("_cloud")
def test_plan_knows_of_a_freeze(rules_file: str, journal: Store) -> None:
    journal.journal.freeze("network work", "root", now=datetime.now(UTC), until=None)

    document = planned(rules_file)

    assert document["moves"] == []
    assert {pair["code"] for pair in document["refusals"]} <= {"frozen", "out_of_scope"}


@pytest.mark.usefixtures("_cloud")
def test_plan_says_when_the_journal_cannot_be_read(
    rules_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "journal.sqlite"
    broken.write_text("no database")
    monkeypatch.setenv("SPOTD_JOURNAL__URL", f"sqlite:///{broken}")

    done = spotd("plan", "--rules.file", rules_file, "--format", "json")

    assert done.exit_code == 1
    assert "earlier moves and freezes are not known" in done.stderr


@pytest.mark.usefixtures("_cloud")
def test_plan_makes_no_journal(rules_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTD_JOURNAL__URL", f"sqlite:///{tmp_path}/journal.sqlite")

    assert planned(rules_file)["moves"]
    assert not (tmp_path / "journal.sqlite").exists()


EMPTY = """\
limits: {moves_at_once: 3}
rules: [{name: lend, from: [ondemand], to: spot, when: from.hosts > 0, count: 3}]
"""


def begin_a_migration(cloud: EmbeddedCloud, host: str) -> None:
    """A server is about to come to the host and has claimed nothing on it yet: no reading tells."""
    there = next(name for name in cloud.world.computes.hosts if name != host)
    cloud.world.plant_migration(cloud.world.boot(there, "cpu-small").id, host)


def leave_a_migration(cloud: EmbeddedCloud, host: str) -> None:
    """A server without GPUs was resized away from the host and waits to be confirmed."""
    there = next(name for name in cloud.world.computes.hosts if name != host)
    server = cloud.world.boot(host, "cpu-small")
    cloud.world.resize(server.id, there)


def test_plan_asks_for_migrations_of_the_hosts_that_it_would_move(
    rules_file: str, cloud: EmbeddedCloud
) -> None:
    Path(rules_file).write_text(EMPTY)
    before = [move["host"] for move in planned(rules_file)["moves"]]
    begin_a_migration(cloud, before[0])

    after = planned(rules_file)

    moved = [move["host"] for move in after["moves"]]
    codes = {pair["host"]: pair["code"] for pair in after["refusals"]}
    assert codes[before[0]] == "migration_in_flight"
    assert moved
    assert {*moved, before[0]} == set(after["migrations"]["asked"])
    assert {} == after["migrations"]["unknown"]


def test_plan_takes_no_host_on_which_a_migration_holds_an_allocation(
    rules_file: str, cloud: EmbeddedCloud
) -> None:
    """Of processors and memory only: Placement tells, and nobody has to ask for migrations."""
    Path(rules_file).write_text(EMPTY)
    before = [move["host"] for move in planned(rules_file)["moves"]]
    leave_a_migration(cloud, before[0])

    after = planned(rules_file)

    codes = {pair["host"]: pair["code"] for pair in after["refusals"]}
    assert codes[before[0]] == "gpus_allocated"
    assert before[0] not in after["migrations"]["asked"]


def test_plan_and_explain_say_that_migrations_are_unknown(rules_file: str, cloud: EmbeddedCloud) -> None:
    """Not that there are none."""
    Path(rules_file).write_text(EMPTY)
    cloud.faults.add(Fault(kind=FaultKind.STATUS, service="nova", path="/os-migrations", status=403))

    document = planned(rules_file)
    shown = spotd("plan", "--rules.file", rules_file)
    hosts = [move["host"] for move in document["moves"]]
    explained = spotd("explain", hosts[0], "--rules.file", rules_file)
    told = json.loads(spotd("explain", hosts[0], "--rules.file", rules_file, "--format", "json").stdout)

    assert ([], set(hosts)) == (document["migrations"]["asked"], set(document["migrations"]["unknown"]))
    assert "Unfinished migrations are not known" in shown.output
    assert "Unfinished migrations are not known" in explained.output
    assert (None, 0) == (told["migrations"], explained.exit_code)


def test_explain_tells_of_a_migration(rules_file: str, cloud: EmbeddedCloud) -> None:
    Path(rules_file).write_text(EMPTY)
    host = planned(rules_file)["moves"][0]["host"]
    none = spotd("explain", host, "--rules.file", rules_file)
    leave_a_migration(cloud, host)

    shown = spotd("explain", host, "--rules.file", rules_file)
    told = json.loads(spotd("explain", host, "--rules.file", rules_file, "--format", "json").stdout)

    assert "Unfinished migrations from or to it: none." in none.output
    assert "migration_in_flight" in shown.output
    assert [host] == [one["source_host"] for one in told["migrations"]]
