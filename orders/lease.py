"""A lease is short, and renewed for as long as its worker lives: one that dies is missed within a lease.

What could not be renewed in time is another's. A worker process then ends itself, in the middle of its call if need be:
stopped, cut off from the database or simply too slow, it must not go on to make a product beside its successor.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Q
from django.utils import timezone

from .models import Order, Service

logger = logging.getLogger(__name__)
process_is_ours_to_end = False  # true in a Celery worker's processes, which are replaced


def free(now: datetime) -> Q:
    """Rows that nobody holds."""
    return Q(lease_until__isnull=True) | Q(lease_until__lte=now)


@contextmanager
def kept(row: Order | Service) -> Iterator[None]:
    """Renew the lease of a claimed row while the block runs, though no longer than a task may last."""
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(row, over), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def renew(row: Order | Service) -> bool:
    """Whether the row is still ours; while the database does not answer, until the lease is over."""
    now = timezone.now()
    until = now + settings.ORDER_LEASE
    mine = type(row)._default_manager.filter(pk=row.pk, fence=row.fence, lease_until__gt=now)
    try:
        won = mine.update(lease_until=until)
    except DatabaseError:
        connection.close()
        return row.lease_until is not None and now < row.lease_until
    if won:
        row.lease_until = until
    return bool(won)


def _keep(row: Order | Service, over: threading.Event) -> None:
    step, end = settings.ORDER_LEASE.total_seconds() / 3, time.monotonic() + settings.CELERY_TASK_TIME_LIMIT
    try:
        while not over.wait(step) and time.monotonic() < end:
            if not renew(row):
                _lost(row)
                return
    finally:
        connection.close()  # a thread's connection is its own


def _lost(row: Order | Service) -> None:
    logger.error("%s %s: its lease ended during the call; the order is another worker's", type(row).__name__, row.pk)
    if process_is_ours_to_end:
        os.kill(os.getpid(), signal.SIGKILL)
