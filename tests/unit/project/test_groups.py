"""Tests that share real servers run one after the other, also where several processes run tests."""

import pytest


@pytest.mark.xdist_group("together")
def test_a_group_is_in_the_name_by_which_pytest_xdist_keeps_it_together(
    request: pytest.FixtureRequest,
) -> None:
    """Where it is not, pytest and pytest-xdist do not fit together, and groups are torn apart silently."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("only one process runs tests")

    assert request.node.nodeid.endswith("@together")
