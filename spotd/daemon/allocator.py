"""How the C library keeps memory that Python has freed."""

import ctypes

LARGE_BYTES = 128 * 1024
"""glibc's own first limit, which it would raise by itself."""

_M_MMAP_THRESHOLD = -3


def return_large_blocks() -> bool:
    """Has freed blocks of 128 KiB and more given back to the system at once; False where there is no glibc.

    By default glibc raises that limit to the largest block freed so far. After the first answer of some
    megabytes each thread then keeps such blocks for itself, and small ones that live on are scattered
    among them: with 1,000 hosts the daemon held 150 MB instead of 127 and crept upwards for hours.
    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
