"""After an order was given up: what exists at the provider under its key is removed, and looked for a while longer.

A worker that was stopped in the middle may wake after the cancellation and make the product all the same; no fence
reaches a control plane. So the order stays as a tombstone: its key is looked up again and again, with growing pauses,
until `clean_up_until`. A given-up order's key is nobody else's, which is why removing is safe here and only here.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from . import bulkhead, lease
from .choices import GIVEN_UP, OrderEventKind
from .models import Order, OrderEvent
from .provisioning.base import ProvisionerError
from .provisioning.registry import get_provisioner

logger = logging.getLogger(__name__)
FIRST_LOOK = timedelta(minutes=1)


def remove_resource(order: Order) -> bool:
    """Remove what exists under the order's key; False when nothing does. Raises what the provisioner raises."""
    provisioner = get_provisioner(order.provider)
    found = provisioner.find(order.key)
    if found is None:
        return False
    provisioner.terminate(found.external_id)
    return True


def tombstone(now: datetime) -> dict[str, datetime | None]:
    """The columns of an order given up at `now`."""
    if not settings.ORDER_CLEAN_UP:
        return {}
    return {"clean_up_at": now + FIRST_LOOK, "clean_up_until": now + settings.ORDER_CLEAN_UP}


@transaction.atomic
def take_due(limit: int) -> list[int]:
    """Up to `limit` tombstones to look at, each put off so that the next sweep does not call it again at once."""
    now = timezone.now()
    rows = lease.unlocked(Order.objects.filter(clean_up_at__lte=now)).order_by("clean_up_at")
    ids = list(rows.values_list("pk", flat=True)[:limit])
    Order.objects.filter(pk__in=ids).update(clean_up_at=now + settings.SWEEP_RECALL)
    return ids


def work(order_id: int) -> bool:
    """A worker's turn, if its machine has a place at the provisioner left."""
    provider = Order.objects.filter(pk=order_id).values_list("provider", flat=True).first()
    with bulkhead.place(provider or "") as ours:
        return ours and run(order_id)


def run(order_id: int) -> bool:
    """Look once; True if something was there and is removed. A provider that does not answer is asked again soon."""
    order = Order.objects.filter(pk=order_id, state__in=GIVEN_UP, clean_up_at__isnull=False).first()
    if order is None or order.clean_up_until is None:
        return False
    try:
        removed = remove_resource(order)
    except (ProvisionerError, ImproperlyConfigured) as error:
        logger.warning("given-up order %s: its provider was not to be asked: %s", order.number, error)
        _look_again(order, FIRST_LOOK)
        return False
    except Exception as error:  # an adapter's bug, whose text may hold anything
        logger.error("given-up order %s: %s from the adapter", order.number, type(error).__name__)
        _look_again(order, FIRST_LOOK)
        return False
    if removed:
        logger.warning("given-up order %s: a product had been made after all, and is removed", order.number)
        OrderEvent.objects.create(order=order, kind=OrderEventKind.CLEANED_UP)
    given_up = order.clean_up_until - settings.ORDER_CLEAN_UP
    _look_again(order, FIRST_LOOK if removed else max(FIRST_LOOK, timezone.now() - given_up))
    return removed


def _look_again(order: Order, after: timedelta) -> None:
    """The last look is at `clean_up_until`."""
    now = timezone.now()
    over = order.clean_up_until is None or now >= order.clean_up_until
    at = None if over else min(now + after, order.clean_up_until or now)
    Order.objects.filter(pk=order.pk).update(clean_up_at=at)


def sweep_inline(limit: int = 1000) -> int:
    return sum(run(order_id) for order_id in take_due(limit))
