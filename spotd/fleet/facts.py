"""The facts of one host while they are gathered: only what is known, each with its source."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import Contradiction, ContradictionKind, Host


class SharedSources:
    """The sources of hosts' facts, one mapping for all hosts whose facts come from the same sources."""

    def __init__(self) -> None:
        self._by_facts: dict[tuple[tuple[str, Source], ...], Mapping[str, Source]] = {}

    def of(self, told: list[tuple[str, Source]]) -> Mapping[str, Source]:
        """The mapping of these facts to these sources."""
        key = tuple(told)
        if key not in self._by_facts:
            self._by_facts[key] = MappingProxyType(dict(key))
        return self._by_facts[key]


class HostFacts:
    """What is known of one host so far, and what its sources disagree about."""

    __slots__ = ("contradictions", "known", "name", "told")

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: dict[str, Any] = {}
        self.told: list[tuple[str, Source]] = []
        self.contradictions: list[Contradiction] = []

    def learn(self, source: Source, **facts: object) -> None:
        """Take over the facts that the source knows, which are those that are not None."""
        for fact, value in facts.items():
            if value is not None:
                self.known[fact] = value
                self.told.append((fact, source))

    def contradict(self, kind: ContradictionKind, detail: str) -> None:
        """Keep a disagreement."""
        self.contradictions.append(Contradiction(kind=kind, host=self.name, detail=detail))

    def host(self, sources: SharedSources) -> Host:
        """The host with everything that is known of it."""
        return Host(name=self.name, sources=sources.of(self.told), **self.known)
