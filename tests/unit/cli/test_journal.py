"""`spotd journal`, `freeze` and `unfreeze`, as an operator runs them on a real file."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from orders import LATER, NOW, order

from spotd.cli import main
from spotd.cli.following import follow_decisions, follow_moves
from spotd.store import Store, open_store
from spotd.store.records import DecisionRecord, MoveRecord, MoveState

REFUSED = DecisionRecord(
    at=NOW,
    rule="lend",
    gpu_type="H100",
    host="gpu-1",
    decision="refuse",
    code="servers_present",
    sentence="2 servers",
)


def spotd(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "250", "SUDO_USER": "ada"})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The journal of a daemon whose state directory the command is told."""
    monkeypatch.setenv("SPOTD_COLLECTION__STATE_DIRECTORY", str(tmp_path))
    with open_store(f"sqlite:///{tmp_path}/journal.sqlite") as opened:
        yield opened


@pytest.fixture
def token(store: Store) -> int:
    token = store.lease("the daemon", timedelta(minutes=5)).try_acquire()
    assert token is not None
    return token


@pytest.fixture
def moved(store: Store, token: int) -> MoveRecord:
    """One move that failed and was taken back, told with what would break a table or a terminal."""
    move = store.journal.begin(order(), token=token, now=NOW)
    number = store.journal.step_began(move.id, "leave", "do", token=token, now=NOW)
    store.journal.step_ended(
        move.id, number, "failed", token=token, now=LATER, detail="[/red] HTTP\x1b[31m 500"
    )
    store.journal.step_began(move.id, "leave", "undo", token=token, now=LATER)
    return store.journal.finish(
        move.id, MoveState.UNDONE, "Nova said no", token=token, now=LATER, code="a_code"
    )


def test_an_empty_journal_says_so(store: Store) -> None:
    assert "No moves.\n" == spotd("journal").output
    assert "No decisions.\n" == spotd("journal", "--decisions").output
    assert "No audit entries.\n" == spotd("journal", "--audit").output
    assert "[]\n" == spotd("journal", "--format", "json").output


def test_moves_are_a_table_with_the_newest_last(store: Store, token: int, moved: MoveRecord) -> None:
    store.journal.begin(order("gpu-2", rule=None, asked_by="cli ada"), token=token, now=LATER)

    done = spotd("journal")

    assert done.exit_code == 0
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in done.output.splitlines()
        if "gpu-" in line
    ]
    assert [
        ["1", "2026-03-04 05:06:07Z", "gpu-1", "H100-n3 -> H100-n3-spot", "undone", "90.0 s"],
        ["2", "2026-03-04 05:07:37Z", "gpu-2", "H100-n3 -> H100-n3-spot", "running", ""],
    ] == [row[:6] for row in rows]
    assert [["rule lend", "Nova said no (a_code)"], ["cli ada", "7 free hosts"]] == [row[6:] for row in rows]


def test_a_narrow_terminal_cuts_nothing(store: Store, token: int) -> None:
    store.journal.begin(order("a-host-with-a-name-of-some-length"), token=token, now=NOW)

    done = CliRunner().invoke(main, ["journal"], env={"COLUMNS": "60"})

    columns = zip(
        *(line.strip("│").split("│") for line in done.output.splitlines() if "│" in line), strict=True
    )
    assert "a-host-with-a-name-of-some-length" in ["".join(map(str.strip, column)) for column in columns]


def test_steps_stand_below_their_move(moved: MoveRecord) -> None:
    text = spotd("journal", "--steps").output

    assert text.index("Nova said no") < text.index("  leave") < text.index("  undo leave")
    assert r"[/red] HTTP\x1b[31m 500" in text
    assert "\x1b" not in text


def test_json_holds_everything(store: Store, moved: MoveRecord) -> None:
    (told,) = json.loads(spotd("journal", "--format", "json").stdout)

    assert (moved.id, "undone", NOW.isoformat()) == (told["id"], told["state"], told["started_at"])
    assert "H100-n3-spot" == told["order"]["destination"]["name"]
    assert [("do", "failed"), ("undo", "began")] == [
        (step["phase"], step["outcome"]) for step in told["steps"]
    ]


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        (["--limit", "2"], [4, 3]),
        (["--host", "gpu-1"], [1]),
        (["--state", "running"], [4, 3, 2]),
        (["--state", "undone", "--host", "gpu-2"], []),
    ],
)
def test_moves_are_chosen(
    store: Store, token: int, moved: MoveRecord, arguments: list[str], numbers: list[int]
) -> None:
    for host in ("gpu-2", "gpu-3", "gpu-4"):
        store.journal.begin(order(host), token=token, now=NOW)

    told = json.loads(spotd("journal", "--format", "json", *arguments).stdout)

    assert numbers == [move["number"] for move in told]


def test_decisions_are_shown_by_host(store: Store) -> None:
    store.journal.record_decisions([REFUSED])

    assert "servers_present" in spotd("journal", "--decisions", "--host", "gpu-1").output
    assert "No decisions.\n" == spotd("journal", "--decisions", "--host", "gpu-2").output
    (told,) = json.loads(spotd("journal", "--decisions", "--format", "json").stdout)
    assert ("refuse", "2 servers") == (told["decision"], told["sentence"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--decisions", "--audit"],
        ["--decisions", "--steps"],
        ["--audit", "--state", "done"],
        ["--audit", "--follow"],
        ["--audit", "--host", "x"],
        ["--state", "lost"],
        ["--limit", "0"],
    ],
    ids=" ".join,
)
def test_what_does_not_go_together_is_wrong_usage(store: Store, arguments: list[str]) -> None:
    assert spotd("journal", *arguments).exit_code == 2


def test_a_freeze_holds_is_audited_and_is_lifted(store: Store) -> None:
    frozen = spotd("freeze", "--reason", "maintenance")
    assert (0, "frozen until `spotd unfreeze`: maintenance\n") == (frozen.exit_code, frozen.output)
    freeze = store.journal.current_freeze(NOW)
    assert freeze is not None
    assert ("maintenance", "cli ada") == (freeze.reason, freeze.by)

    assert "moves are free again\n" == spotd("unfreeze").output
    assert store.journal.current_freeze(NOW) is None
    assert "nothing was frozen\n" == spotd("unfreeze").output
    audited = [(entry.who, entry.what, entry.detail) for entry in store.journal.audit()]
    assert [("cli ada", "unfreeze", ""), ("cli ada", "freeze", "maintenance")] == audited
    assert "maintenance" in spotd("journal", "--audit").output


def test_a_freeze_with_a_length_says_when_it_ends(store: Store) -> None:
    done = spotd("freeze", "--reason", "lunch", "--for", "2h")

    (entry,) = store.journal.audit()
    freeze = store.journal.current_freeze(entry.at)
    assert freeze is not None
    assert freeze.until == freeze.since + timedelta(hours=2)
    assert f"frozen until {freeze.until:%Y-%m-%d %H:%M:%SZ}: lunch\n" == done.output


def test_a_short_freeze_says_that_a_longer_one_holds(store: Store) -> None:
    store.journal.freeze("gpu-1 is stranded", "spotd", now=NOW)

    assert (
        "frozen until `spotd unfreeze`: gpu-1 is stranded\n"
        == spotd("freeze", "--reason", "x", "--for", "1h").output
    )


@pytest.mark.parametrize("length", ["2", "2w", "-1h", "400d", ""])
def test_a_length_that_is_none_is_wrong_usage(store: Store, length: str) -> None:
    done = spotd("freeze", "--reason", "x", "--for", length)

    assert done.exit_code == 2
    assert f"{length!r} is " in done.output
    assert store.journal.current_freeze(NOW) is None


def test_unfreeze_names_hosts_that_are_still_stranded(store: Store, token: int) -> None:
    move = store.journal.begin(order(), token=token, now=NOW)
    store.journal.finish(move.id, MoveState.STRANDED, "", token=token, now=NOW)

    assert "spotd: warning: still stranded: gpu-1\n" == spotd("unfreeze").stderr


@pytest.mark.parametrize("command", [["journal"], ["freeze", "--reason", "x"], ["unfreeze"]], ids=" ".join)
def test_without_a_journal_nothing_is_made_and_one_line_says_why(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    nowhere = spotd(*command)
    assert (2, 1) == (nowhere.exit_code, nowhere.stderr.count("\n"))
    assert nowhere.stderr.startswith("spotd: no journal: set journal.url, or collection.state_directory")

    monkeypatch.setenv("SPOTD_JOURNAL__URL", f"sqlite:///{tmp_path}/other.sqlite")
    missing = spotd(*command)
    assert (1, f"spotd: journal {tmp_path}/other.sqlite: there is no such file\n") == (
        missing.exit_code,
        missing.stderr,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTD_JOURNAL__URL", "postgresql://ada:hunter2-secret@127.0.0.1:1/spotd")

    done = spotd("journal")

    assert (1, 1) == (done.exit_code, done.stderr.count("\n"))
    assert done.stderr.startswith("spotd: journal postgresql://127.0.0.1:1/spotd: ")
    assert "hunter2" not in done.output


class Following:
    """Reads a follower, and does in each of its pauses what is next."""

    def __init__(self, *between: Callable[[], object]) -> None:
        self._between = list(between)
        self.texts: list[str] = []

    def pause(self, _seconds: float) -> None:
        if not self._between:
            raise KeyboardInterrupt
        self._between.pop(0)()

    def read(self, lines: Iterator[tuple[str, str]]) -> list[str]:
        try:
            for text, document in lines:
                json.loads(document)
                self.texts.append(text.split("  ", 1)[1])
        except KeyboardInterrupt:
            pass
        return self.texts


def test_following_shows_each_change_of_a_move_once(store: Store, token: int, moved: MoveRecord) -> None:
    journal, told = store.journal, {"token": token, "now": LATER}
    asked = journal.ask(order("gpu-2"), now=NOW)
    following = Following(
        lambda: journal.begin(asked.id, **told),
        lambda: journal.step_began(asked.id, "fence", "do", **told),
        lambda: None,
        lambda: (
            journal.step_ended(asked.id, 1, "done", **told),
            journal.finish(asked.id, MoveState.DONE, "ok", **told),
        ),
    )

    texts = following.read(follow_moves(journal, 1, None, None, steps=True, sleep=following.pause))

    assert [
        "gpu-2  H100-n3 -> H100-n3-spot  asked  rule lend: 7 free hosts",
        "gpu-2  H100-n3 -> H100-n3-spot  running  rule lend: 7 free hosts",
        "gpu-2    fence began",
        "gpu-2    fence done",
        "gpu-2  H100-n3 -> H100-n3-spot  done  rule lend: ok",
    ] == texts


def test_following_sees_how_a_move_of_long_ago_ends(store: Store, token: int) -> None:
    told = {"token": token, "now": NOW}
    long_one = store.journal.begin(order("long"), **told)

    def many_more() -> None:
        for place in range(210):
            store.journal.ask(order(f"gpu-{place}"), now=NOW)

    following = Following(
        many_more,
        lambda: store.journal.finish(long_one.id, MoveState.DONE, "at last", **told),
    )

    texts = following.read(
        follow_moves(store.journal, 5, None, MoveState.DONE, steps=False, sleep=following.pause)
    )

    assert ["long  H100-n3 -> H100-n3-spot  done  rule lend: at last"] == texts


def test_following_decisions_shows_each_once(store: Store) -> None:
    store.journal.record_decisions([REFUSED, REFUSED])
    following = Following(lambda: store.journal.record_decisions([REFUSED]), lambda: None)

    texts = following.read(follow_decisions(store.journal, 1, None, sleep=following.pause))

    assert ["gpu-1  lend: refuse (servers_present): 2 servers"] * 2 == texts


def test_the_command_follows_until_it_is_interrupted(moved: MoveRecord) -> None:
    # A shell that runs the tests in the background has them ignore Ctrl-C, and whom they start.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", f"{heeding}from spotd.cli import main; main()"]
    command += ["journal", "--follow", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)

    assert (moved.id, "", "", 0) == (first["id"], rest, errors, process.returncode)
