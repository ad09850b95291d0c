"""What a control plane says unasked is a hint: the order or service it names is looked at now instead of later."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.wakeup import call_after_commit

from . import lease
from .choices import IN_FLIGHT, AttemptOutcome, OrderState, ServiceState
from .models import Order, ProvisioningAttempt, Service
from .tasks import check_service, provision

ASK_EVERY = timedelta(minutes=1)


@transaction.atomic
def heed_callback(*, provider: str, key: UUID) -> bool:
    """Make what has this key at this provider due at once; False if nothing of ours waits for news.

    A worker that holds the order already will read the state itself, and its lease is left alone. News is awaited by an
    order that is new or that the provider is at work on. One that pauses after a failed attempt keeps its pause: a
    callback that somebody caught may be sent again and again, and each attempt would count. For the same reason the
    provider is asked about an open service once in ASK_EVERY at most.
    """
    now = timezone.now()
    last = ProvisioningAttempt.objects.filter(order=OuterRef("pk"), fence=OuterRef("fence"))
    waits = Q(state=OrderState.PENDING) | Exists(last.filter(outcome=AttemptOutcome.IN_PROGRESS))
    orders = Order.objects.filter(lease.free(now), waits, provider=provider, key=key, state__in=IN_FLIGHT)
    if orders.update(next_attempt_at=now):
        call_after_commit(provision, Order.objects.get(key=key).pk)
        return True
    services = Service.objects.filter(provider=provider, order__key=key, by_hand=False)
    service = services.exclude(state=ServiceState.TERMINATED).first()
    if service is None:
        return False
    check_at = max(now, service.seen_at + ASK_EVERY) if service.seen_at else now
    earlier = Service.objects.filter(pk=service.pk, check_at__gt=check_at).update(check_at=check_at)
    if earlier and check_at == now:
        call_after_commit(check_service, service.pk)
    return True
