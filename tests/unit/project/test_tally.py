"""The last lines of CI say how many tests ran, and which only passed when they were repeated."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TALLY = Path(__file__).parents[3] / ".ci" / "tally.py"


def told(
    tmp_path: Path, first: str, again: str | None = None, *, failed: str = "", still: str = ""
) -> list[str]:
    arguments = [tmp_path / "first"]
    arguments[0].write_text(f"1 passed in 2.0s of something else\n=== {first} in 63.20s (0:01:03) ===\n")
    (tmp_path / "first.failed").write_text(json.dumps(dict.fromkeys(failed.split(), True)))
    if again is not None:
        arguments.append(tmp_path / "again")
        arguments[1].write_text(f"=== {again} in 3.20s ===\n")
        if still:
            (tmp_path / "again.failed").write_text(json.dumps(dict.fromkeys(still.split(), True)))
    command = [sys.executable, str(TALLY), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.skipif(not TALLY.exists(), reason="the folder .ci is not in a source distribution")
def test_a_run_is_counted_with_what_only_passed_when_it_was_repeated(tmp_path: Path) -> None:
    assert ["Tests that ran: 5", "5 passed, 0 failed, 2 skipped"] == told(tmp_path, "5 passed, 2 skipped")
    assert [
        "Passed only when it was repeated: a::b",
        "Tests that ran: 8",
        "7 passed, 1 failed, 2 skipped",
    ] == told(
        tmp_path,
        "1 failed, 6 passed, 2 skipped, 1 error",
        "1 failed, 1 passed",
        failed="a::b c::d",
        still="c::d",
    )
    assert ["Tests that ran: 0", "0 passed, 0 failed, 0 skipped"] == told(tmp_path, "no tests ran")
