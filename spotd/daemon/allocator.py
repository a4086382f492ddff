"""How the C library keeps memory that Python has freed."""

import ctypes

LARGE_BYTES = 128 * 1024
"""glibc's own first limit, which it would raise by itself."""

ARENAS = 1
"""Python allocates under one lock anyway: more arenas would only hold more free memory."""

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def return_freed_memory() -> bool:
    """Has glibc keep little of what is freed; False where there is no glibc. To be called before threads run.

    By default glibc gives threads arenas of their own, each with what was freed in it, and keeps blocks up to
    the largest that was ever freed. Answers of megabytes, read in changing threads, then leave holes that
    small blocks which live on hold open: with 1,000 hosts the daemon held 150 MB instead of 127 and crept
    upwards for hours. Source: mallopt(3), M_MMAP_THRESHOLD and M_ARENA_MAX.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)) and bool(mallopt(_M_ARENA_MAX, ARENAS))
