"""Requests that wait for a forced collection: on the event loop, so that none of them holds a thread."""

import asyncio

from fastapi import Request

from spotd.web.api.backing import Backing
from spotd.web.api.envelope import Code, Refusal
from spotd.web.api.refresh import RefreshFailed
from spotd.web.api.throttle import Kind, Throttle
from spotd.web.api.upkeep_views import Refreshed

LONGEST_WAIT_SECONDS = 180.0
"""A collection ends within its own deadlines; this is only for what nobody foresaw."""


async def collected(backing: Backing) -> Refreshed:
    """Waits for a forced collection that begins now or later.

    Raises:
        Refusal: It did not happen.
    """
    future = asyncio.wrap_future(backing.refresher.ask())
    try:
        # Shielded: one client that leaves must not cancel what the others wait for.
        return await asyncio.wait_for(asyncio.shield(future), LONGEST_WAIT_SECONDS)
    except TimeoutError as error:
        raise Refusal(Code.REFRESH_FAILED, "The collection did not end in time.") from error
    except RefreshFailed as error:
        raise Refusal(Code.REFRESH_FAILED, "The collection did not happen: see the log.") from error


async def refreshed_first(backing: Backing, request: Request, wanted: bool) -> None:  # noqa: FBT001 - a query's
    """Collects before a read, where the query asks for it; counted as a refresh."""
    if wanted:
        throttle: Throttle = request.app.state.throttle
        throttle.count(Kind.REFRESH, request.state.client)
        await collected(backing)
