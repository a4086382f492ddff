"""Says how many tests ran, and names those that only passed when they were repeated.

    tally.py FIRST            the output of the one run
    tally.py FIRST AGAIN      and of the repeated one; beside each, with .failed, what pytest says failed

A green run must not hide a test that fails now and then: it is the next fault.
"""

import json
import re
import sys
from pathlib import Path

CLOSING = re.compile(r"^=+ .*\b(?:passed|failed|skipped|errors?)\b.* in [0-9.]+s\b")
COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")


def counts(output: Path) -> dict[str, int]:
    """Passed, failed, skipped and error of pytest's closing line."""
    lines = [line for line in output.read_text(errors="replace").splitlines() if CLOSING.match(line)]
    return {kind: int(count) for count, kind in COUNT.findall(lines[-1])} if lines else {}


def failed(output: Path) -> set[str]:
    """Names of the tests that failed."""
    path = output.with_suffix(".failed")
    return set(json.loads(path.read_text())) if path.exists() else set()


def tally(first: Path, again: Path | None) -> list[str]:
    """The last lines of a run of CI."""
    found = counts(first)
    passed, bad = found.get("passed", 0), found.get("failed", 0) + found.get("error", 0)
    lines = []
    if again is not None:
        only_repeated = sorted(failed(first) - failed(again))
        lines = [f"Passed only when it was repeated: {name}" for name in only_repeated]
        passed, bad = passed + bad - len(failed(again)), len(failed(again))
    return [
        *lines,
        f"Tests that ran: {passed + bad}",
        f"{passed} passed, {bad} failed, {found.get('skipped', 0)} skipped",
    ]


if __name__ == "__main__":
    first, *again = map(Path, sys.argv[1:])
    print("\n".join(tally(first, again[0] if again else None)))
