"""Keeping the process small on a computer with half a gigabyte.

What is imported when is decided where it is used; here is only how the C library hands out memory.
"""

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8  # of glibc's malloc.h


def share_one_heap() -> None:
    """Let all threads allocate from one heap, where the C library is glibc.

    By default each thread gets a heap of its own, of which the agent's few, mostly idle threads
    waste nearly a megabyte. To be called before they start.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
