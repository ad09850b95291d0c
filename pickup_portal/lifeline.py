"""No process of the portal outlives the one that started it, not even after `kill -9` (Linux only)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
# Loaded here, not after a fork: the child of a fork should do as little as it can.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies. Survives exec, but is not inherited by children."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def tied_to_this_process() -> Callable[[], None]:
    """A `preexec_fn` for a direct child. Call Popen from the main thread: the signal follows the forking thread."""
    parent = os.getpid()

    def tie() -> None:
        die_with_parent()
        if os.getppid() != parent:  # it died before prctl took effect
            os._exit(1)

    return tie
