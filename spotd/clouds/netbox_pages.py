"""Pages of NetBox's lists: by id, so that rows which come and go meanwhile shift nothing."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from spotd.clouds.errors import malformed
from spotd.clouds.shape import optional_text, whole_number

Params = Sequence[tuple[str, str]]

_LEAST_ID = "id__gte"
BY_ID: Params = (("ordering", "id"), (_LEAST_ID, "0"))
"""Asks for a walk by id. NetBox's own, `start`, came with 4.6; these filters every release has."""


def is_by_id(page: Params) -> bool:
    """Whether a page is one of such a walk: its count is then of what is left from it on."""
    return any(key == _LEAST_ID for key, _ in page)


def next_page(document: Mapping[str, Any], path: str, what: str) -> Params | None:
    """The query of the next page; None after the last.

    Behind a proxy the address may have another's host, which is never asked: its path must be the list's.

    Raises:
        CloudError: It is missing, no address, or of another list.
    """
    if "next" not in document:
        raise malformed(f"{what}: the answer does not say whether there is a next page")
    following = optional_text(document, "next", what)
    if following is None:
        return None
    try:
        address = urlsplit(following)
    except ValueError:
        raise malformed(f"{what}: 'next' is no address") from None
    if not address.path.endswith(path) or not address.query:
        raise malformed(f"{what}: 'next' is of another list")
    return tuple(parse_qsl(address.query, keep_blank_values=True))


def from_last_id(page: Params, rows: Sequence[Mapping[str, Any]]) -> Params:
    """The next page, from the last id on where the walk is by id: what is there at its offset may have moved.

    Raises:
        CloudError: The last row has no id.
    """
    if not rows or not is_by_id(page):
        return page
    following = whole_number(rows[-1], "id", "netbox: the last row of a page") + 1
    kept = [(key, value) for key, value in page if key not in (_LEAST_ID, "offset")]
    return (*kept, (_LEAST_ID, str(following)))
