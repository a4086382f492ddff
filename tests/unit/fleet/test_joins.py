"""Joining names of two sources."""

import pytest

from spotd.fleet.joins import Join, join


def joined(names: list[str], things: list[str]) -> Join[str]:
    return join(names, {thing: thing for thing in things})


@pytest.mark.parametrize(
    ("names", "things", "pairs"),
    [
        pytest.param(["a"], ["a"], {"a": "a"}, id="exactly"),
        pytest.param(["GPU-1"], ["gpu-1"], {"GPU-1": "gpu-1"}, id="but for case"),
        pytest.param(
            ["gpu-1"], ["GPU-1.example.com"], {"gpu-1": "GPU-1.example.com"}, id="but for the domain"
        ),
        pytest.param(
            ["gpu-1.example.com"], ["gpu-1"], {"gpu-1.example.com": "gpu-1"}, id="the other's domain"
        ),
        pytest.param(["H1", "h1"], ["h1"], {"h1": "h1"}, id="the exact one goes first"),
        pytest.param(["h1", "h1.a"], ["h1", "h1.a"], {"h1": "h1", "h1.a": "h1.a"}, id="short and long"),
        pytest.param(["h1", "h1.a"], ["h1.b"], {"h1": "h1.b"}, id="only the short one may have the domain"),
        pytest.param(["node1.a"], ["node1.b"], {}, id="two domains are two machines"),
        pytest.param([".a"], [".b"], {}, id="no short name"),
        pytest.param(["a"], ["b"], {}, id="strangers"),
        pytest.param([], ["b"], {}, id="nobody"),
    ],
)
def test_pairs_what_is_sure(names: list[str], things: list[str], pairs: dict[str, str]) -> None:
    assert pairs == joined(names, things).pairs


@pytest.mark.parametrize(
    ("names", "things", "ambiguous"),
    [
        pytest.param(["Gpu"], ["GPU", "gpu"], {"Gpu": {"GPU", "gpu"}}, id="two things but for case"),
        pytest.param(["n.a", "n.b"], ["n"], {"n.a": {"n"}, "n.b": {"n"}}, id="two names for one thing"),
        pytest.param(["n"], ["n.a", "n.b"], {"n": {"n.a", "n.b"}}, id="two things for one name"),
    ],
)
def test_never_chooses_between_two(
    names: list[str], things: list[str], ambiguous: dict[str, set[str]]
) -> None:
    found = joined(names, things)

    assert ambiguous == {name: set(fitting) for name, fitting in found.ambiguous.items()}
    assert not (found.ambiguous.keys() & found.pairs.keys())


def test_two_things_of_one_name_are_ambiguous() -> None:
    found = join(["h1"], {1: "h1", 2: "h1"})

    assert found.ambiguous == {"h1": (1, 2)}
    assert found.left_over == {}


def test_keeps_what_no_name_fits() -> None:
    assert join(["a"], {1: "a", 2: "b"}).left_over == {2: "b"}
