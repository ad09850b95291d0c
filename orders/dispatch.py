"""Which order is whose turn.

A worker's turn needs one of its machine's places at the provisioner. Who gets none leaves the order to those who hold
them: they go on with what waits for the same provisioner. So a message only wakes somebody up: one more or less makes
no difference, and the sweep calls a few orders of each provisioner, not all that wait.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from . import bulkhead, closing, fulfilment, lease
from .choices import IN_FLIGHT
from .fulfilment import Claim
from .models import Order


def work(order_id: int) -> int:
    """A worker's turn: this order, then for a while others that wait for the same provisioner. How many attempts."""
    provider = Order.objects.filter(pk=order_id).values_list("provider", flat=True).first()
    if provider is None or closing.has_begun():
        return 0
    with bulkhead.place(provider) as ours:
        if not ours:
            return 0
        end, attempts = time.monotonic() + settings.DRAIN_TIME.total_seconds(), int(fulfilment.run(order_id))
        while time.monotonic() < end and not closing.has_begun() and (claimed := claim_waiting(provider)):
            fulfilment.attempt(claimed)
            attempts += 1
        return attempts


def due(now: datetime) -> Q:
    """Orders that wait for an attempt: their time has come and no lease runs."""
    return lease.free(now) & Q(state__in=IN_FLIGHT, next_attempt_at__lte=now)


@transaction.atomic
def take_due(limit: int, recall: timedelta | None = None) -> list[int]:
    """Up to `limit` due orders of each provisioner, oldest first, noted as called so that the next sweep does not call
    them again before `recall`. Of each, so that a thousand orders of one that hangs stand in nobody's way."""
    now = timezone.now()
    recall = settings.SWEEP_RECALL if recall is None else recall
    uncalled = Q(called_at__isnull=True) | Q(called_at__lte=now - recall)
    waiting = Order.objects.filter(due(now), uncalled)
    taken: list[int] = []
    for provider in waiting.order_by().values_list("provider", flat=True).distinct():
        first = lease.unlocked(waiting.filter(provider=provider)).order_by("next_attempt_at")[:limit]
        taken += first.values_list("pk", flat=True)
    Order.objects.filter(pk__in=taken).update(called_at=now)
    return taken


def claim_waiting(provider: str) -> Claim | None:
    """Claim the order of this provisioner that has waited longest: one that is due, called or not, or never tried."""
    return fulfilment.claim_first(Order.objects.filter(provider=provider))


def sweep_inline(limit: int = 1000) -> int:
    """Run due orders in this process, without broker or worker; returns how many attempts were made.

    Those that were called too: perhaps nobody heard it. Each provisioner's in a thread of its own, so that one that
    hangs holds up only its own.
    """
    by_provider: dict[str, list[int]] = {}
    for order_id, provider in Order.objects.filter(pk__in=take_due(limit, timedelta(0))).values_list("pk", "provider"):
        by_provider.setdefault(provider, []).append(order_id)
    if len(by_provider) < 2:
        return sum(_run_all(ids) for ids in by_provider.values())
    with ThreadPoolExecutor(len(by_provider)) as pool:
        return sum(pool.map(_run_all_in_thread, by_provider.values()))


def _run_all(order_ids: list[int]) -> int:
    return sum(fulfilment.run(order_id) for order_id in order_ids)


def _run_all_in_thread(order_ids: list[int]) -> int:
    try:
        return _run_all(order_ids)
    finally:
        connection.close()  # a thread's connection is its own
