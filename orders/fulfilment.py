"""From a pending order to an open product: claim, call outside any transaction, record.

1. `claim`: one conditional update takes the lease and raises the fence; the attempt is a committed row before any call.
2. `ensure` at the provider, under the order's key: the same key always means the same resource. The lease is renewed
   meanwhile.
3. `record`: every write carries the fence of its claim; a worker that lost its lease writes nothing.

The row is the queue (`next_attempt_at`), so that retries live in no worker's memory and a lost message costs time only.
Whose turn it is says `orders.dispatch`.
"""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from cards import vault
from cards.actions import add_months

from . import lease, notices
from .backoff import pause
from .choices import IN_FLIGHT, AttemptOutcome, NoticeKind, OrderEventKind, OrderState
from .models import Order, OrderEvent, ProvisioningAttempt, Service
from .provisioning.base import (
    InProgress,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    ProvisionerError,
    ProvisionRequest,
    Ready,
    TransientError,
)
from .provisioning.registry import get_provisioner

logger = logging.getLogger(__name__)
AHEAD = timedelta(days=1)  # further than any order waits


@dataclass(frozen=True)
class Claim:
    """The right to write to one order until the lease ends or a later claim raises the fence."""

    order: Order
    fence: int

    def ended(self) -> bool:
        return self.order.lease_until is None or timezone.now() >= self.order.lease_until


def run(order_id: int) -> bool:
    """One attempt at opening the order; False when it was not to be had."""
    claimed = claim(order_id)
    if claimed is None:
        return False
    attempt(claimed)
    return True


def attempt(claimed: Claim) -> None:
    """Call the provider, outside any transaction, and record what came of it."""
    try:
        _attempt(claimed)
    except Exception:
        _give_back(claimed)
        raise


def _attempt(claimed: Claim) -> None:
    if claimed.order.attempts > settings.ORDER_MAX_ATTEMPTS:  # the attempts before it ended without a record
        record_retry(claimed, AttemptOutcome.UNKNOWN, "workers died during this order")
        return
    try:
        provisioner, request = get_provisioner(claimed.order.provider), request_for(claimed.order)
        if claimed.ended():  # this process was stopped for so long: the order is another's, and so is the call
            return
        with lease.kept(claimed.order):
            outcome = provisioner.ensure(request)
        record_outcome(claimed, outcome)
    except PermanentError as error:
        record_failed(claimed, str(error))
    except TransientError as error:
        record_retry(claimed, AttemptOutcome.TRANSIENT, str(error))
    except (OutcomeUnknown, ProvisionerError) as error:
        record_retry(claimed, AttemptOutcome.UNKNOWN, str(error))
    except (ImproperlyConfigured, vault.KeyUnavailable) as error:
        record_retry(claimed, AttemptOutcome.TRANSIENT, str(error))
    except Exception as error:  # an adapter's bug: what it did before is unknown; its text may hold anything
        name, where = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
        logger.error(
            "order %s: %s from the adapter of %s\n%s", claimed.order.number, name, claimed.order.provider, where
        )
        record_retry(claimed, AttemptOutcome.UNKNOWN, name)


def _give_back(claimed: Claim) -> None:
    """Nothing could be recorded: free the lease, if that much is possible, so that nobody has to wait for its end."""
    mine = Order.objects.filter(pk=claimed.order.pk, fence=claimed.fence, state=OrderState.PROVISIONING)
    with suppress(DatabaseError):
        connection.close_if_unusable_or_obsolete()
        mine.update(lease_until=None, next_attempt_at=timezone.now() + pause(claimed.order.attempts))


def its_time(now: datetime) -> Q:
    """Orders that may be attempted: never tried, or past their pause, and nobody's."""
    return lease.free(now) & (Q(state=OrderState.PENDING) | Q(state__in=IN_FLIGHT, next_attempt_at__lte=now))


def claim(order_id: int) -> Claim | None:
    """Take the order's lease, unless it is final, in a pause between two attempts, or another worker's."""
    return claim_first(Order.objects.filter(pk=order_id))


@transaction.atomic(savepoint=False)
def claim_first(orders: QuerySet[Order]) -> Claim | None:
    """Take the lease of the first of these orders whose time it is. Should its worker die, it goes before all that
    wait. A row that somebody else is just taking is passed over, not waited for."""
    now = timezone.now()
    until = now + settings.ORDER_LEASE
    order = lease.unlocked(orders.filter(its_time(now))).order_by("next_attempt_at").first()
    if order is None:
        return None
    taken = Order.objects.filter(pk=order.pk, fence=order.fence, state__in=IN_FLIGHT).update(
        state=OrderState.PROVISIONING,
        fence=F("fence") + 1,
        attempts=F("attempts") + 1,
        lease_until=until,
        next_attempt_at=now - AHEAD,
        called_at=None,
    )
    if not taken:
        return None
    order.state, order.lease_until = OrderState.PROVISIONING, until
    order.fence, order.attempts = order.fence + 1, order.attempts + 1
    ProvisioningAttempt.objects.create(order=order, fence=order.fence, started_at=now)
    if order.fence == 1:
        OrderEvent.objects.create(order=order, kind=OrderEventKind.STARTED, at=now)
    return Claim(order, order.fence)


def request_for(order: Order) -> ProvisionRequest:
    """What the provider is told, the same at every attempt; the password is the portal's choice or the member's."""
    login = vault.open_access(bytes(order.login), order_key=order.key) if order.login else {}
    return ProvisionRequest(
        key=order.key,
        order_number=order.number,
        product_type=order.product_type,
        spec=order.spec,
        term_months=order.term_months,
        image=order.image_reference,
        os_name=order.os_name,
        os_family=order.os_family,
        hostname=order.hostname,
        password=login.get("password") or vault.initial_password(order.key),
        domain=order.domain,
        ssh_key=login.get("ssh_key", ""),
    )


def record_outcome(claimed: Claim, outcome: Outcome) -> bool:
    if isinstance(outcome, Ready):
        return record_ready(claimed, outcome)
    return record_in_progress(claimed, outcome)


@transaction.atomic
def record_ready(claimed: Claim, outcome: Ready) -> bool:
    """The product is open: order ACTIVE and the member's service, in one transaction."""
    now = timezone.now()
    if not _close(
        claimed,
        AttemptOutcome.READY,
        state=OrderState.ACTIVE,
        opened_at=now,
        external_id=outcome.external_id,
        login=None,
    ):
        return False
    open_service(claimed.order, outcome, now)
    OrderEvent.objects.create(order=claimed.order, kind=OrderEventKind.OPENED, at=now)
    return True


def open_service(order: Order, product: Ready, now: datetime, *, by_hand: bool = False) -> Service:
    """What the member owns from now on, for the term that he bought."""
    notices.owe(order, NoticeKind.OPENED, "opening")
    return Service.objects.create(
        order=order,
        member_id=order.member_id,
        provider=order.provider,
        external_id=product.external_id,
        access=vault.seal_access(product.access, order_key=order.key),
        starts_at=now,
        expires_at=service_end(now, order.term_months),
        facts=product.facts,
        check_at=now + settings.SERVICE_CHECK_INTERVAL if product.facts else now,
        by_hand=by_hand,
    )


def service_end(start: datetime, term_months: int) -> datetime:
    """The same hour of the same day `term_months` later, in the portal's zone."""
    local = timezone.localtime(start, timezone.get_default_timezone())
    day = add_months(local.date(), term_months)
    return local.replace(year=day.year, month=day.month, day=day.day)


@transaction.atomic
def record_in_progress(claimed: Claim, outcome: InProgress) -> bool:
    """The provider is at work; ask again later. Being in progress is no failed attempt."""
    if timezone.now() >= claimed.order.deadline:
        return _hand_over(claimed, AttemptOutcome.IN_PROGRESS, "deadline passed while in progress")
    return _close(
        claimed,
        AttemptOutcome.IN_PROGRESS,
        attempts=F("attempts") - 1,
        external_id=outcome.external_id,
        next_attempt_at=timezone.now() + outcome.check_after,
    )


@transaction.atomic
def record_retry(claimed: Claim, outcome: AttemptOutcome, error: str) -> bool:
    """Failed in a way that may pass, or with an unknown end: try again with a growing pause, up to a limit."""
    order = claimed.order
    if order.attempts >= settings.ORDER_MAX_ATTEMPTS or timezone.now() >= order.deadline:
        return _hand_over(claimed, outcome, error)
    won = _close(
        claimed, outcome, error, next_attempt_at=timezone.now() + pause(order.attempts), last_error=error[:300]
    )
    if won:
        OrderEvent.objects.create(order=order, kind=OrderEventKind.RETRYING, at=timezone.now())
    return won


@transaction.atomic
def record_failed(claimed: Claim, error: str) -> bool:
    """The provider refused for good; staff see it and the member is told."""
    won = _close(claimed, AttemptOutcome.PERMANENT, error, state=OrderState.FAILED, last_error=error[:300])
    if won:
        OrderEvent.objects.create(order=claimed.order, kind=OrderEventKind.FAILED, at=timezone.now())
        notices.owe_trouble(claimed.order, claimed.fence)
    return won


def _hand_over(claimed: Claim, outcome: AttemptOutcome, error: str) -> bool:
    won = _close(claimed, outcome, error, state=OrderState.NEEDS_ATTENTION, last_error=error[:300])
    if won:
        OrderEvent.objects.create(order=claimed.order, kind=OrderEventKind.NEEDS_ATTENTION, at=timezone.now())
        notices.owe_trouble(claimed.order, claimed.fence)
    return won


def _close(claimed: Claim, outcome: AttemptOutcome, error: str = "", **changes: object) -> bool:
    """Write the end of an attempt and free the lease, if the fence is still this claim's. The one fenced write."""
    won = Order.objects.filter(pk=claimed.order.pk, fence=claimed.fence, state=OrderState.PROVISIONING).update(
        lease_until=None, **changes
    )
    ProvisioningAttempt.objects.filter(order=claimed.order, fence=claimed.fence).update(
        finished_at=timezone.now(), outcome=outcome, error=error[:300]
    )
    return bool(won)


def access_of(service: Service) -> dict[str, str]:
    """What the member logs in with. Raises vault.KeyUnavailable."""
    return vault.open_access(bytes(service.access), order_key=service.order.key)
