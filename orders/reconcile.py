"""What the portal believes beside what the providers show: facts read back, drift, orphans. Changes nothing there."""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from . import bulkhead, lease
from .choices import GIVEN_UP, ServiceState
from .lifecycle import seen
from .models import Order, Service
from .provisioning.base import Provisioner, ProvisionerError
from .provisioning.registry import get_provisioner

logger = logging.getLogger(__name__)
ASK_AGAIN = timedelta(minutes=10)  # after a provider that did not answer


@transaction.atomic
def take_checks(limit: int) -> list[int]:
    """Up to `limit` services whose provider is to be asked, each put off as if it had not answered."""
    now = timezone.now()
    known = Service.objects.filter(check_at__lte=now, by_hand=False)
    rows = lease.unlocked(known.exclude(state=ServiceState.TERMINATED)).order_by("check_at")
    ids = list(rows.values_list("pk", flat=True)[:limit])
    Service.objects.filter(pk__in=ids).update(check_at=now + ASK_AGAIN)
    return ids


def work(service_id: int) -> bool:
    """A worker's turn, if its machine has a place at the provisioner left."""
    provider = Service.objects.filter(pk=service_id).values_list("provider", flat=True).first()
    with bulkhead.place(provider or "") as ours:
        return ours and check(service_id)


def check(service_id: int) -> bool:
    """Ask the provider how this service stands and write what it shows; False if it did not answer.

    A change carried out meanwhile (the fence has moved) knows better: then nothing is written.
    """
    service = Service.objects.select_related("order").get(pk=service_id)
    try:
        found = get_provisioner(service.provider).find(service.order.key)
    except (ProvisionerError, ImproperlyConfigured) as error:
        logger.warning("service of order %s: its provider was not to be asked: %s", service.order.number, error)
        return False
    except Exception as error:  # an adapter's bug, whose text may hold anything
        logger.error("service of order %s: %s from the adapter", service.order.number, type(error).__name__)
        return False
    Service.objects.filter(pk=service.pk, fence=service.fence).update(**seen(found, timezone.now()))
    if Service.objects.drifting().filter(pk=service.pk).exists():
        logger.warning("service of order %s differs from what its provider shows", service.order.number)
    return True


def check_inline(limit: int = 1000) -> int:
    return sum(check(service_id) for service_id in take_checks(limit))


def orphans_of(provisioner: Provisioner) -> list[UUID]:
    """What exists there without an order that wants it. Listed first, so that an order placed since is no orphan."""
    return orphans_among(set(provisioner.list_keys()))


def orphans_among(there: set[UUID]) -> list[UUID]:
    """Which of these keys no order wants."""
    ours = Order.objects.filter(key__in=there).exclude(state__in=GIVEN_UP)
    wanted = ours.exclude(service__state=ServiceState.TERMINATED).exclude(service__by_hand=True)
    return sorted(there - set(wanted.values_list("key", flat=True)))
