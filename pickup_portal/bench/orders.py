"""`bench orders`: orders opened per second by Celery workers, beside tasks that do nothing.

Workers of one process each are started here, first one, then two. To each set come as many tasks that do nothing, and
then the wake-up calls of as many pending orders, which the simulator opens without any delay. What is timed is from the
first publication until the queue is empty, or until the last order is active. `ratio` is orders over bare tasks: how
much of what Celery and the broker can do on this machine is left when a task does the work of opening a product.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from celery import shared_task
from django.conf import settings
from kombu.connection import Connection

from accounts.wakeup import muted
from cards.vault import BatchVault
from orders import redemption
from orders.choices import IN_FLIGHT, OrderState
from orders.models import Order
from orders.tasks import provision
from pickup_portal import demo
from pickup_portal.celery import app
from pickup_portal.lifeline import die_with_parent

from .scratch import CannotMeasure, needs_simulator, scratch_batch, scratch_members

PATIENCE_SECONDS = 300.0
WORKERS = (1, 2)


@shared_task
def nothing(number: int) -> None:
    """A task that does nothing: what Celery itself costs."""


@dataclass(frozen=True)
class OrdersResult:
    """Orders and tasks per second with so many worker processes."""

    workers: int
    per_second: float
    bare_per_second: float
    ratio: float


def measure_orders(count: int, worker_counts: Iterable[int] = WORKERS) -> dict[str, Any]:
    """Raises CannotMeasure."""
    needs_simulator()
    if app.control.ping(timeout=1.0):
        raise CannotMeasure("bench orders starts workers of its own; another one listens to this broker already.")
    return {"orders": count, "results": [vars(_measure(count, number)) for number in worker_counts]}


def _measure(count: int, number: int) -> OrdersResult:
    orders = _pending(count)
    with _workers(number), Queue() as queue:
        _until(lambda: queue.done_with(nothing, [0]), "No worker came up.")
        bare = _timed(lambda: [nothing.apply_async((pk,)) for pk in orders], queue.is_empty)
        ours = Order.objects.filter(pk__in=orders)
        took = _timed(
            lambda: [provision.apply_async((pk,)) for pk in orders],
            lambda: not ours.filter(state__in=IN_FLIGHT).exists(),
        )
        # A call that is left over would wake the next workers to the next orders before the clock runs.
        _until(queue.is_empty, "The workers did not come to an end.")
    opened = ours.filter(state=OrderState.ACTIVE).count()
    if opened != count:
        raise CannotMeasure(f"Only {opened} of {count} orders were opened.")
    return OrdersResult(number, round(count / took, 1), round(count / bare, 1), round(bare / took, 2))


def _pending(count: int) -> list[int]:
    """Orders of scratch cards that nobody has been called to."""
    batch, (member,) = scratch_batch(count, made=True), scratch_members(1)
    vault = BatchVault.of(batch)
    with muted():
        return [
            redemption.redeem(code=vault.open(card.serial, bytes(card.sealed or b"")), member=member).pk
            for card in batch.cards.order_by("serial")
        ]


@contextmanager
def _workers(number: int) -> Iterator[None]:
    """So many Celery workers of one process each, with a simulator that does not wait."""
    instant = {demo.PROVIDER: {**settings.PROVISIONERS[demo.PROVIDER], "OPTIONS": {"delay": 0}}}
    env = os.environ | {"PROVISIONERS": json.dumps(instant), "PROVISIONER_PLACES": str(number), "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-W", "ignore", "-m", "celery", "--quiet", "-A", "pickup_portal", "worker"]
    options = ["-c", "1", "--without-gossip", "--without-mingle", "--loglevel", "ERROR", "-I", __name__]
    with ExitStack() as stack:
        for name in range(number):
            process = subprocess.Popen(  # noqa: S603
                [*command, *options, "-n", f"bench-{name}"], env=env, preexec_fn=die_with_parent
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield


class Queue:
    """The broker's list of messages and its book of those that a worker holds."""

    def __enter__(self) -> Queue:
        self.connection = Connection(
            settings.CELERY_BROKER_URL, transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS
        )
        channel: Any = self.connection.default_channel
        self.client = channel.client
        self.sent = False
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.release()

    def is_empty(self) -> bool:
        return not self.client.llen(settings.CELERY_TASK_DEFAULT_QUEUE) and not self.client.hlen("unacked")

    def done_with(self, task: Any, arguments: list[object]) -> bool:
        """Whether a first task, sent once, has been worked off."""
        if not self.sent:
            task.apply_async(arguments)
            self.sent = True
        return self.is_empty()


def _timed(publish: Callable[[], object], done: Callable[[], bool]) -> float:
    start = time.monotonic()
    publish()
    _until(done, "The workers did not come to an end.")
    return time.monotonic() - start


def _until(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise CannotMeasure(otherwise)
        time.sleep(0.01)


def lines(result: dict[str, Any]) -> Iterable[str]:
    for row in result["results"]:
        yield (
            f"{row['workers']} worker{'s' if row['workers'] > 1 else ' '}  {row['per_second']:>7} orders/s   "
            f"{row['bare_per_second']:>7} bare tasks/s   ratio {row['ratio']}"
        )
    yield f"{result['orders']} of each."
