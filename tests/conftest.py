"""Which tests run, and which of them one after the other when several processes share them."""

import os

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
