"""Celery entry points of orders."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from accounts.wakeup import call_now

from . import fulfilment


@shared_task
def provision(order_id: int) -> None:
    """One attempt at opening the order; whatever is left to do stands in its row."""
    fulfilment.run(order_id)


@shared_task
def sweep_orders() -> int:
    """Call every order that is due; returns how many."""
    return sum(call_now(provision, order_id) for order_id in fulfilment.take_due(settings.SWEEP_LIMIT))
