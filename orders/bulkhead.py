"""So many calls to one provisioner at once, per machine: one that hangs must not take every worker process.

A place is a locked file, because the system unlocks it however its holder ends, `kill -9` included. Places count per
machine, as worker processes do.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from django.conf import settings


@contextmanager
def place(provider: str) -> Iterator[bool]:
    """Whether a place at this provisioner was free; if so it is held for the block."""
    settings.PLACES_DIR.mkdir(parents=True, exist_ok=True)
    name = sha256(provider.encode()).hexdigest()[:16]
    for number in range(settings.PROVISIONER_PLACES):
        handle = os.open(settings.PLACES_DIR / f"{name}.{number}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        try:
            yield True
        finally:
            os.close(handle)
        return
    yield False
