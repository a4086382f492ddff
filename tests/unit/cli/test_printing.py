"""What clouds and people wrote steers no terminal: it is shown, whatever it holds, and never carried out."""

import ast
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from orders import LATER, NOW, order
from rich.console import Console

import spotd.cli
from spotd.cli import main
from spotd.cli.options import fail
from spotd.cli.printing import LONGEST_CELL, LONGEST_LINE, Grid, say, show
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind
from spotd.store import open_store
from spotd.store.records import AuditRecord, DecisionRecord, MoveState

EVIL = (
    "[red]x[/red] [link=http://e]y[/link] :smile: \x1b[2J\x1b]0;t\x07\x9b31m\x7f"
    "\u202e\u2066\u200b\u2028\nspotd: z"
)
"""Markup, an emoji code, sequences that clear, name and colour a terminal, DEL, bidi, zero width, lines."""
SHOWN = (
    r"[red]x[/red] [link=http://e]y[/link] :smile: \x1b[2J\x1b]0;t\x07\x9b31m\x7f"
    r"\u202e\u2066\u200b\u2028\nspotd: z"
)
TEXTS = st.text() | st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Zs", "Cs", "Co", "Cn"]))


def is_safe(output: str) -> bool:
    """Whether nothing but lines of printable text comes out."""
    return all(text.isprintable() for text in output.split("\n"))


def rows(output: str) -> str:
    """The cells of a table put together again that were folded."""
    return "".join(part.strip() for text in output.splitlines() for part in text.split("│"))


@given(TEXTS)
def test_a_line_is_one_line_of_printable_text(text: str) -> None:
    with CliRunner().isolation() as (out, _err, _both):
        say(text)
        shown = out.getvalue().decode()

    assert shown.endswith("\n")
    assert shown[:-1].isprintable()


@given(TEXTS, TEXTS)
def test_a_table_holds_printable_text_and_what_can_be_printed_as_it_is(name: str, title: str) -> None:
    grid = Grid("name", title=title)
    grid.row(name)
    console = Console(width=2000, color_system=None)

    with console.capture() as captured:
        console.print(grid)

    assert is_safe(captured.get())
    if name.isprintable() and name.isascii() and name.strip() == name and len(name) < LONGEST_CELL:
        assert name in captured.get()


def test_a_name_of_ten_thousand_characters_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    grid = Grid("name", title="n" * 10_000)
    grid.row("\x1b" * 10_000)
    show(grid)
    table = capsys.readouterr().out
    say("l" * 10_000)
    text = capsys.readouterr().out

    assert table.count("n") < 2 * LONGEST_CELL
    assert rows(table).count("\\x1b") <= LONGEST_CELL // 4
    assert text == "l" * (LONGEST_LINE - 1) + "…\n"


def test_a_failure_makes_no_line_that_it_does_not_mean(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fail("gpus failed: no\u2028spotd: all is well\x85spotd: really\x1b[1A", 1)

    assert capsys.readouterr().err == (
        "spotd: gpus failed: no\\u2028spotd: all is well\\x85spotd: really\\x1b[1A\n"
    )


def test_nothing_in_the_commands_prints_by_another_way() -> None:
    found = []
    for path in Path(spotd.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in ("print", "Table", "Table.grid", "console.print", "click.secho", "click.echo"):
                found.append((path.name, name))

    # Help, JSON, tokens and what is made here; colours of `preflight`, and lines that were made by `line`.
    assert set(found) == {
        ("commands.py", "click.echo"),
        ("journal.py", "click.echo"),
        ("options.py", "click.echo"),
        ("preflight.py", "console.print"),
        ("printing.py", "click.echo"),
        ("printing.py", "console.print"),
        ("rules.py", "click.echo"),
        ("serving.py", "click.echo"),
        ("tokens.py", "click.echo"),
    }


def spotd_in(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        main, arguments, env={"COLUMNS": "4000", "SPOTD_COLLECTION__STATE_DIRECTORY": str(folder)}
    )


@pytest.fixture
def _journal(tmp_path: Path) -> None:
    """A journal in which everything that others wrote is evil."""
    with open_store(f"sqlite:///{tmp_path}/journal.sqlite") as store:
        token = store.lease("d", timedelta(minutes=5)).try_acquire()
        assert token is not None
        move = store.journal.begin(order("gpu-1", asked_by=EVIL), token=token, now=NOW)
        number = store.journal.step_began(move.id, "leave", "do", token=token, now=NOW)
        store.journal.step_ended(move.id, number, "failed", token=token, now=LATER, detail=EVIL)
        store.journal.finish(move.id, MoveState.UNDONE, EVIL, token=token, now=LATER)
        decision = DecisionRecord(
            at=NOW, rule=EVIL, gpu_type=EVIL, host=EVIL, decision="refuse", code="c", sentence=EVIL
        )
        store.journal.record_decisions([decision], token=token)
        store.journal.record_audit(
            AuditRecord(
                at=NOW, who=EVIL, from_where=EVIL, what=EVIL, target=EVIL, outcome="done", detail=EVIL
            )
        )


@pytest.mark.usefixtures("_journal")
@pytest.mark.parametrize(("arguments", "times"), [(["--steps"], 3), (["--decisions"], 4), (["--audit"], 5)])
def test_the_journal_shows_what_others_wrote(tmp_path: Path, arguments: list[str], times: int) -> None:
    done = spotd_in(tmp_path, "journal", *arguments)

    assert done.exit_code == 0
    assert is_safe(done.output)
    assert rows(done.output).count(SHOWN) >= times - 1


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=20), seed=1) as cloud:
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


@pytest.mark.parametrize("command", ["collect", "preflight"])
def test_a_clouds_error_is_shown(cloud: EmbeddedCloud, tmp_path: Path, command: str) -> None:
    body = json.dumps({"forbidden": {"code": 403, "message": EVIL}})
    for path in ("/os-aggregates", "/os-services"):
        cloud.faults.add(Fault(kind=FaultKind.STATUS, service="nova", path=path, status=403, body=body))

    done = spotd_in(tmp_path, command)

    assert done.exit_code == 1
    assert is_safe(done.output)
    assert r"answered 403: [red]x[/red] [link=http://e]y[/link] :smile: \x1b[2J\x1b]0;t" in done.output


def test_reasons_and_names_of_the_fleet_are_shown(cloud: EmbeddedCloud, tmp_path: Path) -> None:
    aggregate = cloud.world.aggregate("H100-n3")
    host = aggregate.hosts[0]
    aggregate.metadata |= {"spotd:pool": "contract", "spotd:contract": EVIL, "spotd:gpu_type": "H[red]100"}
    aggregate.name = f"{EVIL}{'n' * 10_000}"
    cloud.world.disable(host, EVIL)
    rules = tmp_path / "rules.yml"
    rules.write_text("rules: [{name: lend, from: [contract], contract: c, to: spot, when: 'true'}]")

    told = [
        spotd_in(tmp_path, "collect"),
        spotd_in(tmp_path, "plan", "--rules.file", str(rules)),
        spotd_in(tmp_path, "explain", host, "--rules.file", str(rules)),
        spotd_in(tmp_path, "move", host, "--to", aggregate.name),
    ]

    assert [is_safe(done.output) for done in told] == [True] * 4
    assert all("n" * LONGEST_LINE not in done.output for done in told)
    assert SHOWN in told[2].output
