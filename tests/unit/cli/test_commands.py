"""The command line by itself: what its help teaches, and which names it lists."""

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from spotd.cli import main
from spotd.metrics.names import METRICS


def said(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_help_names_every_command_with_a_sentence(flag: str) -> None:
    text = said(flag)

    for name, command in main.commands.items():
        assert re.search(rf"^  {name} +\S", text, re.MULTILINE), name
        assert command.get_short_help_str()
    assert "spotd demo" in text
    assert "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration." in " ".join(text.split())
    assert "\\b" not in text


@pytest.mark.parametrize("name", list(main.commands))
def test_each_command_explains_itself_and_its_options(name: str) -> None:
    text = said(name, "--help")

    assert len(text.splitlines()) > 4
    for parameter in main.commands[name].params:
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in text
            assert getattr(parameter, "help", None) or parameter.name in ("output", "help"), parameter.name


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["collect", "--format", "xml"],
        ["demo", "--hosts", "1"],
        ["demo", "--web.listen-address", "127.0.0.1:99999"],
        ["demo", "--web.listen-address", f"{'a' * 64}:80"],
    ],
)
def test_a_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments)

    assert done.exit_code == 2
    assert "Usage: " in done.stderr


def test_every_metric_is_listed_as_text() -> None:
    text = said("metrics")

    for metric in METRICS:
        assert f"{metric.name}{{{', '.join(metric.labels)}}} ({metric.kind})\n    {metric.help}\n" in text


def test_every_metric_is_a_row_of_a_markdown_table() -> None:
    rows = said("metrics", "--format", "markdown").splitlines()

    for metric in METRICS:
        assert sum(row.startswith(f"| `{metric.name}` | {metric.kind} |") for row in rows) == 1
    assert {row.count(" | ") for row in rows} == {3}


def test_a_daemon_holds_no_library_that_only_others_need() -> None:
    """The embedded cloud is the demo's, CEL is that of rules: together 10 MB."""
    asks = "import sys, spotd.cli; print(*{name.rpartition('.')[0] or name for name in sys.modules})"

    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)

    assert {"spotd.sim", "cel_expr_python"} & set(done.stdout.split()) == set()
    assert "spotd.daemon" in done.stdout.split()
