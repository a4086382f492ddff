"""Which tests run: the thorough ones where there is time for them."""

import os

import pytest

THOROUGH = "SPOTD_TEST_THOROUGH"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what takes minutes, unless the environment asks for it, as CI's does."""
    if os.environ.get(THOROUGH):
        return
    skip = pytest.mark.skip(reason=f"takes minutes: set {THOROUGH}=1 to run it, as .ci/run does")
    for item in items:
        if "thorough" in item.keywords:
            item.add_marker(skip)
