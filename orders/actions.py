"""What staff do to orders and to the services they opened."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts.actions import record_entry
from accounts.choices import LedgerKind
from accounts.models import User
from accounts.wakeup import call_after_commit
from cards import audit
from cards.actions import is_too_late, return_card
from cards.choices import AuditAction
from cards.days import day_of

from . import clean_up, domains, fulfilment, lifecycle
from .choices import STUCK, OrderEventKind, OrderState, ServiceState
from .exceptions import ExistsThere, NotLater, ResourceRemains, ResourceTaken, ServiceExpired, TooLate, WrongState
from .models import Order, OrderEvent, Service
from .provisioning.base import ProvisionerError, Ready
from .provisioning.registry import get_provisioner
from .tasks import change_service, provision

logger = logging.getLogger(__name__)


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
    _record(order, "retry", actor, note, address)
    call_after_commit(provision, order.pk)


def suspend_service(*, service: Service, actor: User | None, reason: str, address: str | None = None) -> None:
    """Decide that the service stops, its data kept; a worker carries it out. Raises WrongState."""
    _decide(service, ServiceState.SUSPENDED, actor, reason, address)


@transaction.atomic
def resume_service(*, service: Service, actor: User | None, reason: str, address: str | None = None) -> None:
    """Decide that the service runs again. Raises WrongState, or ServiceExpired when its term has ended."""
    if not Service.objects.filter(pk=service.pk, expires_at__gt=timezone.now()).exists():
        raise ServiceExpired
    _decide(service, ServiceState.ACTIVE, actor, reason, address)


def terminate_service(*, service: Service, actor: User | None, reason: str, address: str | None = None) -> None:
    """Decide that the service ends and its data goes, which nothing takes back. Raises WrongState."""
    _decide(service, ServiceState.TERMINATED, actor, reason, address)


@transaction.atomic
def _decide(service: Service, wanted: ServiceState, actor: User | None, reason: str, address: str | None) -> None:
    if not lifecycle.decide(service, wanted, actor=actor, reason=reason, address=address):
        raise WrongState
    call_after_commit(change_service, service.pk)
    service.refresh_from_db()


@transaction.atomic
def settle_service(*, service: Service, actor: User | None, reason: str, address: str | None = None) -> None:
    """Staff have brought the provider to what is wanted by hand: note it as done. Raises WrongState."""
    won = Service.objects.filter(pk=service.pk, needs_attention=True).update(
        state=F("wanted"), needs_attention=False, last_error="", check_at=timezone.now()
    )
    if not won:
        raise WrongState
    service.refresh_from_db()
    if service.state == ServiceState.TERMINATED:
        domains.release(service.order_id)
    lifecycle.note(service, lifecycle.DONE[ServiceState(service.state)], actor=actor, reason=reason)
    lifecycle.record_audit(service, f"settled {service.state}", actor=actor, reason=reason, address=address)


@transaction.atomic
def extend_service(
    *, service: Service, until: datetime, actor: User | None, reason: str, address: str | None = None
) -> None:
    """Move the service's end to a later time. One that was suspended stays so until resumed.

    Raises WrongState when it has ended, NotLater, TooLate.
    """
    if until <= timezone.now():
        raise NotLater
    if is_too_late(day_of(until) - timedelta(days=1)):
        raise TooLate
    running = Service.objects.filter(pk=service.pk).exclude(wanted=ServiceState.TERMINATED)
    if not running.exists():
        raise WrongState
    if not running.filter(expires_at__lt=until).update(expires_at=until):
        raise NotLater
    lifecycle.note(service, OrderEventKind.EXTENDED, actor=actor, reason=reason)
    _record(service.order, "service extended", actor, reason, address, until=f"{until:%F %T %Z}")
    service.refresh_from_db()


def cancel_order(*, order: Order, actor: User | None, note: str = "", address: str | None = None) -> None:
    """FAILED or NEEDS_ATTENTION -> CANCELLED: clean up at the provider, then return the card and refund once.

    1. Outside any transaction, remove what may exist under the order's key; "nothing there" is success.
    2. In one transaction: the conditional update says who won; the winner gives the card back and the surcharge.
       It carries the fence seen before the clean-up: an attempt made since may have left something new.
    3. The row stays a tombstone (`clean_up`): a worker that wakes up later must not leave a product behind.

    Raises WrongState, or ResourceRemains when the provider could not be cleaned.
    """
    fence = Order.objects.filter(pk=order.pk, state__in=STUCK).values_list("fence", flat=True).first()
    if fence is None:
        raise WrongState
    try:
        clean_up.remove_resource(order)
    except (ProvisionerError, ImproperlyConfigured) as error:
        raise ResourceRemains from error
    except Exception as error:  # an adapter's bug, whose text may hold anything
        logger.error("order %s: %s from the adapter", order.number, type(error).__name__)
        raise ResourceRemains from None
    with transaction.atomic():
        card = order.card
        won = Order.objects.filter(pk=order.pk, fence=fence, state__in=STUCK, card__isnull=False).update(
            state=OrderState.CANCELLED,
            card=None,
            returned_card_id=order.card_id,
            **_given_up(),
        )
        if (
            not won
            or card is None
            or not return_card(card=card, order_number=order.number, actor=actor, reason=note, address=address)
        ):
            raise WrongState
        _refund(order, actor)
        OrderEvent.objects.create(order=order, kind=OrderEventKind.CANCELLED, actor=actor, note=note)
    order.refresh_from_db()


@sensitive_variables("access")
def resolve_order(
    *,
    order: Order,
    actor: User | None,
    note: str,
    external_id: str = "",
    access: dict[str, str] | None = None,
    refund: bool = False,
    address: str | None = None,
) -> None:
    """FAILED or NEEDS_ATTENTION -> final, by what staff have done themselves.

    With `external_id`: they opened the product by hand -> ACTIVE, with `access` (see docs/adapters.md for its names).
    Without: the matter was settled otherwise -> CLOSED; the card stays used, the surcharge is given back if `refund`.

    The write carries the fence seen before the provider was asked, as in `cancel_order`: an attempt made since may have
    made the product that was not there.

    Raises WrongState, ExistsThere (the provider holds another product for this order), ResourceTaken.
    """
    fence = Order.objects.filter(pk=order.pk, state__in=STUCK).values_list("fence", flat=True).first()
    if fence is None:
        raise WrongState
    by_hand = bool(external_id) and _unknown_to_adapter(order, external_id)
    with transaction.atomic():
        if external_id:
            _enter(order, fence, external_id, access or {}, by_hand, actor, note)
        else:
            _close(order, actor, note, refund)
        change = "opened by hand" if external_id else "closed with refund" if refund else "closed"
        _record(order, change, actor, note, address)
    order.refresh_from_db()


def _unknown_to_adapter(order: Order, external_id: str) -> bool:
    """Whether the product was made past the adapter: it cannot find it, or cannot say. Raises ExistsThere."""
    try:
        found = get_provisioner(order.provider).find(order.key)
    except (ProvisionerError, ImproperlyConfigured):
        return True
    except Exception as error:  # an adapter's bug, whose text may hold anything
        logger.error("order %s: %s from the adapter", order.number, type(error).__name__)
        return True
    if found and found.external_id != external_id:
        raise ExistsThere
    return found is None


@sensitive_variables("access")
def _enter(
    order: Order, fence: int, external_id: str, access: dict[str, str], by_hand: bool, actor: User | None, note: str
) -> None:
    if Service.objects.filter(provider=order.provider, external_id=external_id).exists():
        raise ResourceTaken
    now = timezone.now()
    won = Order.objects.filter(pk=order.pk, fence=fence, state__in=STUCK).update(
        state=OrderState.ACTIVE, opened_at=now, external_id=external_id, lease_until=None, login=None, last_error=""
    )
    if not won:
        raise WrongState
    fulfilment.open_service(order, Ready(external_id, access), now, by_hand=by_hand)
    OrderEvent.objects.create(order=order, kind=OrderEventKind.OPENED_BY_HAND, actor=actor, note=note, at=now)


def _close(order: Order, actor: User | None, note: str, refund: bool) -> None:
    won = Order.objects.filter(pk=order.pk, state__in=STUCK).update(state=OrderState.CLOSED, **_given_up())
    if not won:
        raise WrongState
    if refund:
        _refund(order, actor)
    OrderEvent.objects.create(order=order, kind=OrderEventKind.CLOSED, actor=actor, note=note)


def _given_up() -> dict[str, Any]:
    return {"lease_until": None, "login": None, "domain": "", **clean_up.tombstone(timezone.now())}


def _refund(order: Order, actor: User | None) -> None:
    """Give the surcharge back; the ledger's constraint on kind and reference lets that happen once."""
    if order.surcharge:
        record_entry(
            member=order.member,
            kind=LedgerKind.REFUND,
            amount=order.surcharge,
            reference=order.number,
            created_by=actor,
        )


def _record(order: Order, change: str, actor: User | None, note: str, address: str | None, **more: Any) -> None:
    audit.record(
        AuditAction.FIX_ORDER,
        actor=actor,
        batch=order.batch,
        address=address,
        order=order.number,
        change=change,
        note=note,
        **more,
    )
