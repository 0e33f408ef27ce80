"""Keeping the process small on a computer with half a gigabyte.

What is imported when is decided where it is used; here is only how the C library hands out memory.
"""

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8  # of glibc's malloc.h
_M_MMAP_THRESHOLD: Final = -3
_MAPPED_BYTES: Final = 128 * 1024  # glibc's own, which stays only if it is set


def share_one_heap() -> None:
    """Let all threads allocate from one heap, where the C library is glibc.

    By default each thread gets a heap of its own, of which the agent's few, mostly idle threads
    waste nearly a megabyte. To be called before they start. Large blocks keep their own pages,
    which go back when they are freed: by default glibc moves them into the heap after a while,
    where a block of a megabyte that is made anew now and then (of Python's own, it seems) leaves
    holes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
