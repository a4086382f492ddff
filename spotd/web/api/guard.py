"""The one guard of the API: it sits on the router, so that a route cannot be without it.

What a route does not say is refused to all but an admin.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from fastapi import Request, Response
from fastapi.routing import APIRoute

from spotd.web.api.audit import DONE, SAFE, Auditor, outcome_of
from spotd.web.api.auth import Credentials, Principal, Role, unauthorized
from spotd.web.api.busy import Places
from spotd.web.api.envelope import Code, Refusal
from spotd.web.api.throttle import Kind, Throttle, client_of
from spotd.web.turns import Crowded, Turns

WAITING_FOR_THE_JOURNAL = frozenset({"moves", "rules"})
"""Tags of routes whose threads wait where the journal's database does."""
JOURNAL_PLACES = 16
"""So many at once: the other threads are left to what needs no journal."""
KEYSTONE_THREADS = 4
MOST_WAITING = 256
MOST_OF_ONE = 32
"""Tokens of one client that Keystone has yet to be asked for; those it knew lately do not wait."""
CROWDED_SECONDS = "5"
_ROLE = "x-spotd-role"
_KIND = "x-spotd-counted-as"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def allowed(role: Role, kind: Kind | None = None) -> dict[str, Any]:
    """For a route's `openapi_extra`: who may use it, and how its requests are counted."""
    return {_ROLE: role.name.lower()} | ({_KIND: kind.value} if kind is not None else {})


class Guard:
    """Lets a request in or refuses it; leaves who it is in `request.state.principal`."""

    def __init__(self, credentials: Credentials, throttle: Throttle, auditor: Auditor) -> None:
        self._credentials = credentials
        self._auditor = auditor
        self._throttle = throttle
        self._keystone_threads = CapacityLimiter(KEYSTONE_THREADS)
        self._keystone_turns = Turns(KEYSTONE_THREADS, most_waiting=MOST_WAITING, most_of_one=MOST_OF_ONE)

    async def admit(self, request: Request, role: Role, kind: Kind) -> None:
        """Returns where the request may go on.

        Raises:
            Refusal: 401, 403 or 429.
        """
        client = client_of(request)
        asks_keystone = self._credentials.needs_keystone(request)
        if asks_keystone:
            # Guessing one of spotd's own tokens is hopeless; here each guess would be a request to Keystone.
            self._throttle.check(Kind.FAILED_LOGIN, client)
        if request.method not in SAFE and is_cross_site(request):
            raise Refusal(Code.CROSS_SITE, "A page of another site may not do this.")
        try:
            principal = await self._principal(request, asks_keystone=asks_keystone)
        except Refusal as refusal:
            if refusal.code is Code.UNAUTHORIZED and not asks_keystone:
                self._throttle.count(Kind.FAILED_LOGIN, client)
            raise
        request.state.principal = principal
        is_by_name = principal is not None and principal.kind not in {"loopback", "anyone"}
        request.state.client = (
            f"{principal.kind} {principal.name}" if principal is not None and is_by_name else client
        )
        self._throttle.count(kind, request.state.client)
        if principal is None:
            raise unauthorized("This needs a credential: Authorization: Bearer TOKEN.")
        if principal.role < role:
            if principal.kind in {"loopback", "anyone"}:
                raise unauthorized(f"This needs a credential with the role {role.name.lower()}.")
            sentence = f"{principal.name} is {principal.role.name.lower()}; this needs {role.name.lower()}."
            raise Refusal(Code.FORBIDDEN, sentence)

    async def is_still_admitted(self, request: Request, role: Role) -> bool:
        """Whether what the request showed is still good; where nobody can tell, it is."""
        try:
            asks_keystone = self._credentials.needs_keystone(request)
            principal = await self._principal(request, asks_keystone=asks_keystone)
        except Refusal as refusal:
            return refusal.code not in {Code.UNAUTHORIZED, Code.FORBIDDEN}
        return principal is not None and principal.role >= role

    async def audited(self, request: Request, handler: Handler) -> Response:
        """Runs what was asked for; a write is written down with who, from where, what and the outcome."""
        if request.method in SAFE:
            return await handler(request)
        try:
            response = await handler(request)
        except Exception as error:
            await self._auditor.ended(request, outcome_of(error))
            raise
        await self._auditor.ended(request, DONE)
        return response

    async def _principal(self, request: Request, *, asks_keystone: bool) -> Principal | None:
        if not self._credentials.is_of_keystone(request):
            return self._credentials.principal(request)
        if not asks_keystone:
            return await to_thread.run_sync(self._credentials.principal, request)
        client = client_of(request)
        try:
            async with self._keystone_turns.turn(client):
                # Those that waited with this one may have been wrong.
                self._throttle.check(Kind.FAILED_LOGIN, client)
                return await self._asked_keystone(request, client)
        except Crowded:
            sentence = "Too many tokens wait for Keystone."
            raise Refusal(Code.RATE_LIMITED, sentence, headers={"Retry-After": CROWDED_SECONDS}) from None

    async def _asked_keystone(self, request: Request, client: str) -> Principal | None:
        try:
            return await to_thread.run_sync(
                self._credentials.principal, request, limiter=self._keystone_threads
            )
        except Refusal as refusal:
            # Counted before the turn goes on: else many that came at once would all be asked for.
            if refusal.code is Code.UNAUTHORIZED:
                self._throttle.charge(Kind.FAILED_LOGIN, client, 1)
            raise


def is_cross_site(request: Request) -> bool:
    """Whether a browser says that a page of another site made it send this."""
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_foreign = origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    return is_foreign or site in {"cross-site", "same-site"}


def guarded_by(guard: Guard) -> type[APIRoute]:
    """The class of routes that this guard stands before: for a router's `route_class`."""
    journal = Places(JOURNAL_PLACES, "the journal")

    class GuardedRoute(APIRoute):
        """A route that nobody reaches but through the guard, before its body is read."""

        def get_route_handler(self) -> Handler:
            """The handler behind the guard."""
            handler = super().get_route_handler()
            role, kind = role_needed(self), counted_as(self)
            if WAITING_FOR_THE_JOURNAL & set(self.tags):
                handler = _in_places(journal, handler)

            async def guarded(request: Request) -> Response:
                """The guard first, then the route."""
                await guard.admit(request, role, kind)
                request.state.is_still_admitted = partial(guard.is_still_admitted, request, role)
                return await guard.audited(request, handler)

            return guarded

    return GuardedRoute


def _in_places(places: Places, handler: Handler) -> Handler:
    async def placed(request: Request) -> Response:
        with places.taken():
            return await handler(request)

    return placed


def role_needed(route: APIRoute) -> Role:
    """Who may use the route; reads that say nothing are a viewer's, all else an admin's."""
    told = (route.openapi_extra or {}).get(_ROLE)
    if told is not None:
        return Role[told.upper()]
    return Role.VIEWER if (route.methods or set()) <= SAFE else Role.ADMIN


def counted_as(route: APIRoute) -> Kind:
    """How the route's requests are counted."""
    told = (route.openapi_extra or {}).get(_KIND)
    if told is not None:
        return Kind(told)
    return Kind.READ if (route.methods or set()) <= SAFE else Kind.WRITE
