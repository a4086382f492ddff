"""What the daemon asks of the C library."""

import platform

from spotd.daemon.allocator import return_freed_memory


def test_asks_glibc_and_nobody_else_to_return_freed_memory() -> None:
    asked = return_freed_memory()

    assert asked == (platform.libc_ver()[0] == "glibc")
