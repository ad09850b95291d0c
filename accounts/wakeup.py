"""Telling a worker that there is work. A lost call costs time, never work: the rows are the queue.

A web process hands its calls to a thread of its own (`publish_in_background`), so that nobody's answer waits for the
broker; commands and workers publish in place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from celery import Task
from django.conf import settings
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


def call_after_commit(task: Task[Any, Any], primary_key: int, *, lane: str = "") -> None:
    """Publish once the current transaction has committed; nothing leaves if it rolls back.

    `lane`: whoever answers a call of that lane goes on with all that waits in it, so that a few calls do for many.
    """
    transaction.on_commit(partial(_call, task, primary_key, lane), robust=True)


def _call(task: Task[Any, Any], primary_key: int, lane: str) -> None:
    if _sender is None:
        call_now(task, primary_key)
    elif not _muted.get():
        _sender.put(task, primary_key, lane)


@contextmanager
def muted() -> Iterator[None]:
    """Publish nothing inside: the caller does the work himself, perhaps where there is no broker at all."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


# --- In the background ------------------------------------------------------------------------------------------------
class Sender:
    """A thread that publishes what it is given, in rounds: the first call at once, the next ones a moment later.

    Of one lane a round takes as many calls as a machine's workers can answer. More would find no place: what they speak
    of is committed by the time the round is published, so that those who answer see it.
    """

    PAUSE = 0.1  # seconds between two rounds
    MOST = 1000  # calls that wait, while the broker does not answer: the sweep makes good what is dropped

    def __init__(self, publish: Callable[[Task[Any, Any], int], object]) -> None:
        self._publish = publish
        self._waiting: list[tuple[Task[Any, Any], int]] = []
        self._lanes: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, task: Task[Any, Any], primary_key: int, lane: str) -> None:
        with self._changed:
            if len(self._waiting) >= self.MOST or (lane and self._lanes[lane] >= settings.PROVISIONER_PLACES):
                return
            self._waiting.append((task, primary_key))
            self._lanes[lane] += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wakeup", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                calls, self._waiting = self._waiting, []
                self._lanes.clear()
            for task, primary_key in calls:
                try:
                    self._publish(task, primary_key)
                except Exception:  # the thread has to outlive whatever a client library throws
                    logger.exception("%s %s was not called, the sweep will pick it up", task.name, primary_key)
            time.sleep(self.PAUSE)


_sender: Sender | None = None


def publish_in_background() -> None:
    """From here on this process publishes in a thread of its own. After a fork, which threads do not survive."""
    global _sender
    _sender = Sender(call_now)
