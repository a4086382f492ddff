"""Pages of lists: which part, in which order."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

T = TypeVar("T")
LARGEST_PAGE = 1000
USUAL_PAGE = 100
LARGEST_OFFSET = 1_000_000


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    total: int = Field(description="How many there are in the whole list.", ge=0)
    limit: int = Field(description="How many were asked for at most.", ge=1, le=LARGEST_PAGE)
    offset: int = Field(description="How many were left out at the beginning.", ge=0)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a list that a request asks for."""

    limit: int
    offset: int

    def of(self, items: list[Any]) -> Page[Any]:
        """That part of these items."""
        page = items[self.offset : self.offset + self.limit]
        return Page.model_construct(items=page, total=len(items), limit=self.limit, offset=self.offset)


async def part(
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many items at most.")] = USUAL_PAGE,
    offset: Annotated[int, Query(ge=0, le=LARGEST_OFFSET, description="How many items to leave out.")] = 0,
) -> Part:
    """The part that the query asks for; a coroutine, so that no thread is needed to say so."""
    return Part(limit, offset)


def sort_pattern(keys: Iterable[str]) -> str:
    """What the query parameter `sort` must look like: a key, with `-` before it for the largest first."""
    return f"^-?({'|'.join(keys)})$"


def ordered(items: Iterable[T], sort: str, keys: Mapping[str, Callable[[T], Any]]) -> list[T]:
    """The items by the key; what is unknown comes last in either order."""
    key = keys[sort.removeprefix("-")]
    pairs = [(key(item), item) for item in items]
    known = sorted(
        ((value, item) for value, item in pairs if value is not None),
        key=lambda pair: pair[0],
        reverse=sort.startswith("-"),
    )
    return [item for _, item in known] + [item for value, item in pairs if value is None]
