"""What the daemon asks of the C library."""

import platform

from spotd.daemon.allocator import return_large_blocks


def test_asks_glibc_and_nobody_else_to_return_large_blocks() -> None:
    asked = return_large_blocks()

    assert asked == (platform.libc_ver()[0] == "glibc")
