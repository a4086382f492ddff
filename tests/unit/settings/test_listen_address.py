"""What `web.listen_address` may be."""

import pytest

from spotd.settings.checks import is_listen_address


@pytest.mark.parametrize(
    "address",
    [":8080", "[::]:8080", "0.0.0.0:0", "[::1]:8080", "[fe80::1%eth0]:8080", "gpu-mon_1.example:65535"],
)
def test_an_address_that_can_be_listened_on_is_taken(address: str) -> None:
    assert is_listen_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "*:8080",
        "http://x:80",
        "x\0y:80",
        "x:" + "9" * 5000,
        "x:+80",
        "x:8 0",
        "x:",
        f"{'a' * 300}:80",
        "[x]:80",
    ],
)
def test_an_address_that_nobody_can_listen_on_is_refused_in_one_sentence(address: str) -> None:
    with pytest.raises(ValueError, match="must be HOST:PORT with a port of 0 to 65535"):
        is_listen_address(address)
