"""The C library's habits, made to fit a process of a thousand threads that mostly wait. On other libraries nothing."""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8


def one_arena() -> None:
    """glibc gives threads heaps of their own, which fill up with holes: they share one. The interpreter's lock makes
    them take turns anyway. Saves some 50 KB a session."""
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Hand pages that hold nothing any more back to the system: what a key exchange needed, the session doesn't."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


_libc = ctypes.CDLL(None)
