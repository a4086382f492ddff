"""A room imports only rooms below it, and all is as the tools want it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "command",
    [
        ("lint-imports",),
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("interrogate", "-q", "spotd"),
        ("mypy",),
    ],
    ids=" ".join,
)
def test_the_tools_find_nothing(command: tuple[str, ...]) -> None:
    found = shutil.which(command[0], path=str(Path(sys.executable).parent)) or shutil.which(command[0])
    assert found, f"{command[0]} is in the test extra and is not installed"

    done = subprocess.run([found, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
