"""A cloud's own sentence is one bounded line that steers no terminal and tells no secret."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotd.clouds.openstack_errors import MESSAGE_LIMIT, short
from spotd.logs import register_secret


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("  no\n valid\thost ", "no valid host"),
        ("no \x1b[2J\x9b31m\x7f\u202ehost\u200b", r"no \x1b[2J\x9b31m\x7f\u202ehost\u200b"),
        ("n" * 10_000, "n" * (MESSAGE_LIMIT - 1) + "…"),
        ("Flavor “größe” nicht gefunden", "Flavor “größe” nicht gefunden"),
    ],
)
def test_a_sentence_is_shown(text: str, told: str) -> None:
    assert short(text) == told


@given(st.text(max_size=600))
def test_a_sentence_is_short_and_printable(text: str) -> None:
    told = short(text)

    assert told.isprintable()
    assert len(told) <= MESSAGE_LIMIT


@pytest.mark.parametrize("before", range(MESSAGE_LIMIT - 40, MESSAGE_LIMIT + 2, 3))
def test_a_secret_is_hidden_before_the_cut_could_halve_it(before: int) -> None:
    secret = uuid4().hex
    register_secret(secret)

    assert secret[:6] not in short("x" * before + " " + secret)
