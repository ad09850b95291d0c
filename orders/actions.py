"""What staff do to orders."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from accounts.actions import record_entry
from accounts.choices import LedgerKind
from accounts.models import User
from accounts.wakeup import call_after_commit
from cards import audit
from cards.actions import return_card
from cards.choices import AuditAction

from .choices import STUCK, OrderEventKind, OrderState
from .exceptions import ResourceRemains, WrongState
from .models import Order, OrderEvent
from .provisioning.base import ProvisionerError
from .provisioning.registry import get_provisioner
from .tasks import provision


@transaction.atomic
def retry_order(*, order: Order, actor: User | None, note: str = "", address: str | None = None) -> None:
    """FAILED or NEEDS_ATTENTION -> PENDING, with fresh attempts and a fresh deadline. Raises WrongState."""
    now = timezone.now()
    won = Order.objects.filter(pk=order.pk, state__in=STUCK).update(
        state=OrderState.PENDING,
        attempts=0,
        lease_until=None,
        next_attempt_at=now,
        deadline=now + settings.ORDER_DEADLINE[order.product_type],
        last_error="",
    )
    if not won:
        raise WrongState
    OrderEvent.objects.create(order=order, kind=OrderEventKind.RETRIED, actor=actor, note=note)
    audit.record(
        AuditAction.FIX_ORDER,
        actor=actor,
        batch=order.batch,
        address=address,
        order=order.number,
        change="retry",
        note=note,
    )
    call_after_commit(provision, order.pk)


def cancel_order(*, order: Order, actor: User | None, note: str = "", address: str | None = None) -> None:
    """FAILED or NEEDS_ATTENTION -> CANCELLED: clean up at the provider, then return the card and refund once.

    1. Outside any transaction, remove what may exist under the order's key; "nothing there" is success.
    2. In one transaction: the conditional update says who won; the winner gives the card back and the surcharge.
       It carries the fence seen before the clean-up: an attempt made since may have left something new.

    Raises WrongState, or ResourceRemains when the provider could not be cleaned.
    """
    fence = Order.objects.filter(pk=order.pk, state__in=STUCK).values_list("fence", flat=True).first()
    if fence is None:
        raise WrongState
    _remove_resource(order)
    with transaction.atomic():
        card = order.card
        won = Order.objects.filter(pk=order.pk, fence=fence, state__in=STUCK, card__isnull=False).update(
            state=OrderState.CANCELLED,
            card=None,
            returned_card_id=order.card_id,
            lease_until=None,
            login=None,
            domain="",
        )
        if (
            not won
            or card is None
            or not return_card(card=card, order_number=order.number, actor=actor, address=address)
        ):
            raise WrongState
        if order.surcharge:
            record_entry(
                member=order.member,
                kind=LedgerKind.REFUND,
                amount=order.surcharge,
                reference=order.number,
                created_by=actor,
            )
        OrderEvent.objects.create(order=order, kind=OrderEventKind.CANCELLED, actor=actor, note=note)
    order.refresh_from_db()


def _remove_resource(order: Order) -> None:
    try:
        provisioner = get_provisioner(order.provider)
        if found := provisioner.find(order.key):
            provisioner.terminate(found.external_id)
    except (ProvisionerError, ImproperlyConfigured) as error:
        raise ResourceRemains from error
