"""Joining names of two sources that spell them differently: sure pairs, and what stays ambiguous."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Join(Generic[K]):
    """Names with the one thing each stands for, and names that fit more than one or share one."""

    pairs: Mapping[str, K]
    ambiguous: Mapping[str, tuple[K, ...]]
    """A name with all that it may stand for: nothing of it is known, since any choice would be a guess."""
    left_over: Mapping[K, str]
    """What no name fits."""


def join(names: Iterable[str], things: Mapping[K, str]) -> Join[K]:
    """Pair each name with the thing of that name: spelled so, else but for case, else but for the domain.

    A name and a thing are paired only where neither fits another, so that nothing is counted twice.
    `node1.a` and `node1.b` are never paired: one of the two must go without a domain.
    """
    open_names, open_things = set(names), dict(things)
    pairs: dict[str, K] = {}
    ambiguous: dict[str, tuple[K, ...]] = {}
    for spelling in (str, str.casefold, short_name):
        if not open_names or not open_things:
            break
        for fitting, candidates in _fits(open_names, open_things, spelling):
            if len(fitting) == len(candidates) == 1:
                pairs[fitting[0]] = candidates[0]
            else:
                ambiguous.update((name, tuple(candidates)) for name in fitting)
            open_names.difference_update(fitting)
            for candidate in candidates:
                del open_things[candidate]
    return Join(pairs, ambiguous, open_things)


def short_name(name: str) -> str:
    """The name without its domain and without regard to case."""
    return (name.partition(".")[0] or name).casefold()


def _fits(
    names: Iterable[str], things: Mapping[K, str], spelling: Callable[[str], str]
) -> list[tuple[list[str], list[K]]]:
    """Names and things that share a spelling."""
    things_by_spelling: dict[str, list[K]] = {}
    for thing, name in things.items():
        things_by_spelling.setdefault(spelling(name), []).append(thing)
    names_by_spelling: dict[str, list[str]] = {}
    for name in names:
        if (spelled := spelling(name)) in things_by_spelling:
            names_by_spelling.setdefault(spelled, []).append(name)
    fits = [(fitting, things_by_spelling[spelled]) for spelled, fitting in names_by_spelling.items()]
    if spelling is not short_name:
        return fits
    return [fit for group in fits if (fit := _one_without_domain(*group, things))]


def _one_without_domain(
    names: list[str], candidates: list[K], things: Mapping[K, str]
) -> tuple[list[str], list[K]] | None:
    """Of names and things of one short name, those that differ by a domain only one of the two tells."""
    bare_names = [name for name in names if "." not in name]
    bare_things = [thing for thing in candidates if "." not in things[thing]]
    if not bare_names and not bare_things:
        return None
    return names if bare_things else bare_names, candidates if bare_names else bare_things
