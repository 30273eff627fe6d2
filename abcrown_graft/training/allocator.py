"""Memory that a training step frees is kept for the next step."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT = 2**30  # bytes


def keep_freed_memory() -> bool:
    """Lets the C library keep up to 1 GiB of freed memory instead of returning it to the system; whether it does.

    Otherwise every large tensor of every step is new memory, whose pages the system clears one by one: a seventh to a
    quarter of a step's time on a CPU. It is for the whole process, therefore commands call it and the library does not.
    Nothing happens where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(key, KEPT) == 1 for key in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
