"""Telling a worker that there is work. A lost call costs time, never work: the rows are the queue."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)
_muted = ContextVar("wakeups_muted", default=False)


def call_now(task: Task[Any, Any], primary_key: int) -> bool:
    """Publish `task(primary_key)`; False when the broker does not answer, which the next sweep makes good."""
    if _muted.get():
        return False
    try:
        task.apply_async((primary_key,))
    except (OperationalError, OSError) as error:
        logger.warning(
            "broker unreachable, the sweep will pick up %s %s: %s", task.name, primary_key, type(error).__name__
        )
        return False
    return True


def call_after_commit(task: Task[Any, Any], primary_key: int) -> None:
    """Publish once the current transaction has committed; nothing leaves if it rolls back."""
    transaction.on_commit(partial(call_now, task, primary_key), robust=True)


@contextmanager
def muted() -> Iterator[None]:
    """Publish nothing inside: the caller does the work himself, perhaps where there is no broker at all."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)
