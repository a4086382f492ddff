"""Everybody has a turn, in bounded time, whoever else asks."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotd.web.turns import Crowded, Turns


async def take(turns: Turns, client: str, order: list[str]) -> None:
    async with turns.turn(client):
        order.append(client)
        await asyncio.sleep(0)


def order_of(clients: list[str], at_once: int = 1) -> list[str]:
    """In which order those are let on who came in this one, while the first was there."""

    async def run() -> list[str]:
        turns = Turns(at_once, most_waiting=1000, most_of_one=1000)
        order: list[str] = []
        await asyncio.gather(*(take(turns, client, order) for client in clients))
        return order

    return asyncio.run(run())


def test_whoever_asks_once_waits_for_one_of_each_other_client() -> None:
    assert order_of(["guesser"] * 100 + ["good"])[:4] == ["guesser", "guesser", "good", "guesser"]


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=60), st.integers(1, 4))
def test_nobody_is_left_out_or_let_on_far_before_the_others(clients: list[str], at_once: int) -> None:
    order = order_of(clients, at_once)

    assert sorted(order) == sorted(clients)
    for client in set(clients[at_once:]):
        # Whoever waits is let on before anybody who waits is let on a second time.
        first = order.index(client, *([at_once] if client in order[at_once:] else []))
        assert all(order[at_once:first].count(other) <= 1 for other in set(clients) - {client})


def test_the_queue_is_bounded_for_one_and_for_all() -> None:
    async def run() -> list[str]:
        turns = Turns(1, most_waiting=3, most_of_one=2)
        order: list[str] = []
        async with turns.turn("first"):
            waiting = [
                asyncio.ensure_future(take(turns, client, order)) for client in ["a", "a", "a", "b", "c"]
            ]
            await asyncio.sleep(0)
            refused = [task.exception() for task in waiting if task.done()]
            assert [type(error) for error in refused] == [Crowded, Crowded]
        await asyncio.gather(*waiting, return_exceptions=True)
        await take(turns, "c", order)
        return order

    assert asyncio.run(run()) == ["a", "b", "a", "c"]


@pytest.mark.parametrize("called", [False, True])
def test_whoever_leaves_the_queue_holds_up_nobody(called: bool) -> None:
    async def run() -> list[str]:
        turns = Turns(1, most_waiting=9, most_of_one=9)
        order: list[str] = []
        async with turns.turn("first"):
            leaver = asyncio.ensure_future(take(turns, "leaver", order))
            stayer = asyncio.ensure_future(take(turns, "stayer", order))
            await asyncio.sleep(0)
            if not called:
                leaver.cancel()
        leaver.cancel()
        with suppress(asyncio.CancelledError):
            await leaver
        await stayer
        await take(turns, "later", order)
        return order

    assert asyncio.run(run()) == ["stayer", "later"]


def test_a_turn_that_fails_is_handed_on() -> None:
    async def run() -> list[str]:
        turns = Turns(1, most_waiting=9, most_of_one=9)
        with suppress(RuntimeError):
            async with turns.turn("a"):
                raise RuntimeError
        order: list[str] = []
        await take(turns, "b", order)
        return order

    assert asyncio.run(run()) == ["b"]
