"""Placement's filters on providers: membership, traits and trees."""

import re
from collections.abc import Callable

from spotd.sim.errors import BadRequestError
from spotd.sim.ledger import Provider
from spotd.sim.placement import PlacementCall, known_traits

UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
Test = Callable[[Provider], bool]
"""Asked of the root of a provider's tree, or of the provider itself."""


def member_tests(placed: PlacementCall) -> list[Test]:
    """One test for each `member_of`."""
    return [_member_test(text) for text in placed.call.many("member_of")]


def _member_test(text: str) -> Test:
    forbidden = text.startswith("!")
    names = text.removeprefix("!").removeprefix("in:").split(",")
    if any(UUID.fullmatch(name) is None for name in names):
        got = text.removeprefix("!").removeprefix("in:")
        raise BadRequestError(
            "Invalid query string parameters: "
            f"Expected 'member_of' parameter to contain valid UUID(s). Got: {got}"
        )
    wanted = set(names)
    return lambda provider: wanted.isdisjoint(provider.aggregates) is forbidden


def trait_tests(placed: PlacementCall, name: str, lead: str) -> list[Test]:
    """One test for each trait that a query asks for or forbids."""
    tests: list[Test] = []
    for text in placed.call.many(name):
        groups = [text] if text.startswith("in:") else text.split(",")
        tests += [_trait_test(placed, group, lead) for group in groups]
    return tests


def _trait_test(placed: PlacementCall, text: str, lead: str) -> Test:
    forbidden = text.startswith("!")
    names = set(text.removeprefix("!").removeprefix("in:").split(","))
    unknown = sorted(names - known_traits(placed.world))
    if unknown:
        raise BadRequestError(f"{lead}No such trait(s): {', '.join(unknown)}.")
    return lambda provider: names.isdisjoint(provider.traits) is forbidden


def refuse_unknown(placed: PlacementCall, known: dict[str, int], words: str) -> None:
    """Refuse query parameters that do not exist at this microversion.

    Raises:
        BadRequestError: there is such a parameter.
    """
    for name, _ in placed.call.query:
        if name not in known or placed.minor < known[name]:
            raise BadRequestError(f"Invalid query string parameters: {words.format(name=name)}")
