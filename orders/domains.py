"""Bringing a site's new domain to its provider.

The same shape as fulfilment: a committed row is the queue, the call happens outside any transaction, and whoever takes
the row by its conditional update makes the attempt.
"""

from __future__ import annotations

import logging
from datetime import datetime

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from . import bulkhead, notices
from .backoff import pause
from .models import DomainChange, Order
from .provisioning.base import PermanentError, ProvisionerError
from .provisioning.registry import get_provisioner

logger = logging.getLogger(__name__)


def work(change_id: int) -> bool:
    """A worker's turn, if its machine has a place at the provisioner left; else the next sweep calls again."""
    changes = DomainChange.objects.filter(pk=change_id)
    provider = changes.values_list("order__provider", flat=True).first()
    with bulkhead.place(provider or "") as ours:
        return ours and run(change_id)


def run(change_id: int) -> bool:
    """One attempt at the provider; False when it was not to be had."""
    now = timezone.now()
    taken = DomainChange.objects.filter(due(now), pk=change_id).update(
        next_attempt_at=now + settings.TASK_LEASE, attempts=F("attempts") + 1
    )
    if not taken:
        return False
    change = DomainChange.objects.select_related("order__service").get(pk=change_id)
    try:
        provisioner = get_provisioner(change.order.provider)
        provisioner.set_domain(change.order.service.external_id, change.domain)
    except PermanentError as error:
        _record(change, error=str(error), give_up=True)
    except (ProvisionerError, ImproperlyConfigured) as error:
        _record(change, error=str(error))
    except Exception as error:  # an adapter's bug, as in fulfilment.run
        logger.error("order %s: %s while its domain was set", change.order.number, type(error).__name__)
        _record(change, error=type(error).__name__)
    else:
        _record(change, error="", done=True)
    return True


def _record(change: DomainChange, *, error: str, done: bool = False, give_up: bool = False) -> None:
    """Only if this attempt is still the last one, and no newer change has replaced it. One that is not writes nothing:
    what it did late at the provider is put right by one attempt more, as in `lifecycle`."""
    now = timezone.now()
    give_up = give_up or change.attempts >= settings.ORDER_MAX_ATTEMPTS
    again = None if done or give_up else now + pause(change.attempts)
    rows = DomainChange.objects.filter(pk=change.pk, attempts=change.attempts, done_at__isnull=True)
    with transaction.atomic():
        won = rows.update(error=error[:300], done_at=now if done else None, next_attempt_at=again)
        if won and again is None and not done:
            notices.alert_staff(change.order, f"domain {change.pk}.{change.attempts}")
        if not won:
            _set_again(change.order_id, now)


def _set_again(order_id: int, now: datetime) -> None:
    """Have the newest change made once more, unless it waits for staff or the site is gone. The order's row is locked
    as by whoever makes a newer one; an attempt that is under way is late too by this."""
    order = Order.objects.select_for_update(no_key=True).get(pk=order_id)
    newest = DomainChange.objects.filter(order=order).latest("pk")
    if newest.domain == order.domain and (newest.done_at or newest.next_attempt_at):
        DomainChange.objects.filter(pk=newest.pk).update(done_at=None, next_attempt_at=now, attempts=F("attempts") + 1)


def due(now: datetime) -> Q:
    return Q(done_at__isnull=True, next_attempt_at__lte=now)


def due_ids(limit: int) -> list[int]:
    """The changes that wait for an attempt, longest first."""
    return list(
        DomainChange.objects.filter(due(timezone.now()))
        .order_by("next_attempt_at")
        .values_list("pk", flat=True)[:limit]
    )


def sweep_inline(limit: int = 1000) -> int:
    """Make every attempt that is due in this process; returns how many."""
    return sum(run(change_id) for change_id in due_ids(limit))


def release(order_id: int) -> None:
    """The site is gone: its domain is free for another. Called in the transaction that says so."""
    DomainChange.objects.filter(order=order_id, done_at__isnull=True).update(
        done_at=timezone.now(), next_attempt_at=None
    )
    Order.objects.filter(pk=order_id).update(domain="")
