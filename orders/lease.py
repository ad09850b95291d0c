"""A lease is short, and renewed for as long as its worker lives: one that dies is missed within a lease.

What could not be renewed in time is another's. The process then ends itself, in the middle of its call if need be:
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
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from .models import Order, Service

logger = logging.getLogger(__name__)
process_is_ours_to_end = False  # true in a Celery worker's processes and in a command's: the next one goes on

M = TypeVar("M", bound=Model)


def free(now: datetime) -> Q:
    """Rows that nobody holds."""
    return Q(lease_until__isnull=True) | Q(lease_until__lte=now)


def unlocked(rows: QuerySet[M]) -> QuerySet[M]:
    """These rows, locked for the transaction, without those that somebody else is just taking: he may have been
    stopped in the middle. SQLite has one writer, who holds them all."""
    return rows.select_for_update(skip_locked=True, no_key=True)


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
        while not over.wait(step):
            if time.monotonic() >= end or not renew(row):
                _lost(row)
                return
    finally:
        connection.close()  # a thread's connection is its own


def _lost(row: Order | Service) -> None:
    kind = type(row).__name__
    logger.error("%s %s: its lease could not be kept during the call; it is another worker's now", kind, row.pk)
    if process_is_ours_to_end:
        os.kill(os.getpid(), signal.SIGKILL)
