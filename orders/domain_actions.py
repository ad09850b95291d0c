"""A site's own domain, named after it was opened: decided here, carried out by `orders.domains`."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from accounts.wakeup import call_after_commit
from cards import audit
from cards.choices import AuditAction

from .choices import OrderEventKind, OrderState, ServiceState
from .exceptions import DomainTaken, NoSite
from .models import DomainChange, Order, OrderEvent
from .tasks import set_domain
from .wishes import checked_domain


@transaction.atomic
def change_domain(*, order: Order, domain: str, actor: User, address: str | None = None) -> DomainChange | None:
    """Have the site answer under `domain`; empty: under its address of ours again. None when it does already.

    Raises NoSite, BadDomain or DomainTaken.
    """
    wanted = checked_domain(domain) or order.hostname
    locked = Order.objects.select_for_update(no_key=True).get(pk=order.pk)
    open_sites = Order.objects.filter(pk=order.pk, state=OrderState.ACTIVE).exclude(domain="")
    if not open_sites.exclude(service__state=ServiceState.TERMINATED).exists():
        raise NoSite
    if wanted == locked.domain:
        return None
    try:
        with transaction.atomic():
            Order.objects.filter(pk=order.pk).update(domain=wanted)
    except IntegrityError:
        raise DomainTaken from None
    now = timezone.now()
    DomainChange.objects.filter(order=order, done_at__isnull=True).update(done_at=now, next_attempt_at=None)
    change = DomainChange.objects.create(order=order, domain=wanted, actor=actor)
    OrderEvent.objects.create(order=order, kind=OrderEventKind.DOMAIN, actor=actor, note=wanted)
    if actor.pk != order.member_id:
        audit.record(
            AuditAction.FIX_ORDER, actor=actor, address=address, batch=order.batch, order=order.number, change="domain"
        )
    order.domain = wanted
    call_after_commit(set_domain, change.pk)
    return change


@transaction.atomic
def retry_change(*, order: Order, actor: User, address: str | None = None) -> bool:
    """A change that waits for staff is due again; False when there is none."""
    waiting = DomainChange.objects.filter(order=order, done_at__isnull=True, next_attempt_at__isnull=True)
    if not waiting.update(next_attempt_at=timezone.now(), attempts=0):
        return False
    audit.record(
        AuditAction.FIX_ORDER,
        actor=actor,
        address=address,
        batch=order.batch,
        order=order.number,
        change="domain retry",
    )
    call_after_commit(set_domain, DomainChange.objects.get(order=order, done_at__isnull=True).pk)
    return True
