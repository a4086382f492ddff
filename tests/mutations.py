"""Mutates JSON documents structurally: one place of a real answer becomes what no server should say."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0.5,
    2**63,
    10**30,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\x00\x1b[31m",
    "\ud800",
    "9" * 5000,
    [],
    [None],
    {},
    {"unexpected": {"deeper": [1]}},
)
"""What stands in the place of a value."""
OPERATIONS = ("replace", "remove", "double", "halve", "empty", "wrap")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of one place."""

    operation: str
    path: Path
    value: Any = None

    @property
    def key(self) -> str:
        """The last key on the way to the place."""
        return next((part for part in reversed(self.path) if isinstance(part, str)), "")

    def of(self, document: Any) -> Any:
        """The document with the change made; the one given stays as it is."""
        # Only what holds the place is copied: documents are large, and mutations many.
        changed = parent = copy.copy(document)
        for part in self.path[:-1]:
            parent[part] = copy.copy(parent[part])
            parent = parent[part]
        self._change(parent, self.path[-1])
        return changed

    def _change(self, parent: Any, place: Any) -> None:
        if self.operation == "replace":
            parent[place] = self.value
        elif self.operation == "remove":
            del parent[place]
        elif self.operation == "double" and isinstance(parent, list):
            parent.insert(place, copy.deepcopy(parent[place]))
        elif self.operation == "halve" and isinstance(parent[place], list):
            parent[place] = parent[place][: len(parent[place]) // 2]
        elif self.operation == "empty" and isinstance(parent[place], list | dict):
            parent[place] = type(parent[place])()
        elif self.operation == "wrap":
            parent[place] = [parent[place]]


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """The way to every place of a document, itself first."""
    yield here
    if isinstance(value, dict):
        for key, part in value.items():
            yield from paths(part, (*here, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from paths(part, (*here, index))


def mutations(document: Any) -> st.SearchStrategy[Mutation]:
    """Every place of the document with every change."""
    places = [path for path in paths(document) if path]
    return st.builds(Mutation, st.sampled_from(OPERATIONS), st.sampled_from(places), st.sampled_from(ODD))


def encoded(document: Any) -> bytes:
    """The document as a careless server would send it: NaN and halves of surrogate pairs too."""
    return json.dumps(document).encode()
