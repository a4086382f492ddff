"""Which tests run, and which of them one after the other when several processes share them."""

import os
from typing import Any

import pytest

THOROUGH = "SPOTD_TEST_THOROUGH"


# First, since pytest-xdist writes the group into the test's name in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what takes minutes, unless the environment asks for it; one process has all that shares a lab."""
    skip = pytest.mark.skip(reason=f"takes minutes: set {THOROUGH}=1 to run it, as .ci/run does")
    for item in items:
        if "thorough" in item.keywords and not os.environ.get(THOROUGH):
            item.add_marker(skip)
        if "lab" in item.keywords:
            item.add_marker(pytest.mark.xdist_group("real servers"))


MATRICES = {
    "fault matrix": "::test_a_fault_costs_only_the_freshness_of_what_it_hits[",
    "matrix of failing moves": "integration/test_move_faults.py::",
}
"""Tests that are counted by themselves, by a part of their names."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says of each matrix that ran how many of its cases held."""
    reports = {
        outcome: [
            report.nodeid for report in terminalreporter.getreports(outcome) if hasattr(report, "nodeid")
        ]
        for outcome in ("passed", "failed")
    }
    for name, part in MATRICES.items():
        held, broke = (sum(part in nodeid for nodeid in reports[outcome]) for outcome in ("passed", "failed"))
        if held + broke:
            terminalreporter.write_line(f"{name}: {held} of {held + broke}")
