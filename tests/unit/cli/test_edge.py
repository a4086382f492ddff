"""What no command foresees is one sentence without a traceback, and without a secret."""

import io
import json

import click
import pytest
from click.testing import CliRunner

from spotd.cli.edge import Edge
from spotd.clouds.errors import CloudError, Failure
from spotd.logs import configure_logging, register_secret
from spotd.settings import ConfigurationError, Problem
from spotd.store.errors import StoreError, StoreUnusable

SECRET = "hunter2-swordfish/9"


@pytest.fixture
def log() -> io.StringIO:
    register_secret(SECRET)
    stream = io.StringIO()
    configure_logging(level="debug", format="json", stream=stream)
    return stream


def run(error: BaseException) -> tuple[int, str, str]:
    @click.group(cls=Edge)
    def group() -> None:
        pass

    @group.command()
    def dig() -> None:
        raise error

    done = CliRunner().invoke(group, ["dig"])
    return done.exit_code, done.stdout, done.stderr


FORESEEN = {
    "cloud": (CloudError(Failure.TIMEOUT, "nova: too late"), 1, "nova: too late"),
    "cloud-configuration": (
        CloudError(Failure.CONFIGURATION, "openstack.cloud: no"),
        2,
        "openstack.cloud: no",
    ),
    "configuration": (ConfigurationError([Problem(where="a.yml", message="is bad")]), 2, "a.yml: is bad"),
    "store": (StoreError("journal x: gone"), 1, "journal x: gone"),
    "store-url": (StoreUnusable("journal x: no"), 2, "journal x: no"),
    "unforeseen": (KeyError("what"), 1, "dig: an error that spotd did not foresee (KeyError)"),
    "recursion": (RecursionError("deep"), 1, "dig: an error that spotd did not foresee (RecursionError)"),
}


@pytest.mark.parametrize(("error", "code", "sentence"), FORESEEN.values(), ids=list(FORESEEN))
def test_an_exception_is_one_sentence_and_an_exit_code(error: Exception, code: int, sentence: str) -> None:
    assert run(error) == (code, "", f"spotd: {sentence}\n")


def test_a_wrong_usage_stays_click_s_own() -> None:
    code, _, told = run(click.UsageError("so not"))

    assert (code, told.splitlines()[-1]) == (2, "Error: so not")


def test_the_debug_log_has_the_traceback(log: io.StringIO) -> None:
    _, _, told = run(KeyError("what"))

    event = json.loads(log.getvalue())
    assert told.endswith("; --log.level debug shows where, for a report\n")
    assert (event["event"], event["command"]) == ("unforeseen error", "dig")
    assert "Traceback" in event["exception"]
    assert "in dig" in event["exception"]


@pytest.mark.parametrize("text", [SECRET, SECRET[3:11], f"port {SECRET[:7]!r} is no number"])
def test_no_part_of_a_secret_is_in_the_debug_log(log: io.StringIO, text: str) -> None:
    """A parser quotes what it stumbled over: the half of a password that a / or a # ends."""
    cause = ValueError(text)
    error = RuntimeError("no")
    error.__cause__ = cause

    _, _, told = run(error)

    assert "test_edge.py" in log.getvalue()
    for start in range(len(SECRET) - 5):
        assert SECRET[start : start + 6] not in log.getvalue() + told


def test_a_name_that_the_terminal_has_no_letters_for_ends_no_command() -> None:
    @click.group(cls=Edge)
    def group() -> None:
        pass

    @group.command()
    def show() -> None:
        click.echo("\N{SNOWMAN} \udcff")

    done = CliRunner(charset="latin-1").invoke(group, ["show"])

    assert (done.exit_code, done.stdout) == (0, "\\u2603 \\udcff\n")
