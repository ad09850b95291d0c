"""After a service was opened: suspended, resumed, terminated. The decision is a row, a worker carries it out.

1. `decide` writes what is wanted, in one conditional update, and makes the row due.
2. `run` claims it (lease and fence, as for orders), calls the provider outside any transaction, and reads back.
3. `_record` writes under the claim's fence. A worker that lost its lease writes nothing but queues the row once more:
   what it did late at the provider is then put right by the one whose turn it is.

All three verbs act by state, so that any of this may happen twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from accounts.models import User
from cards import audit
from cards.choices import AuditAction

from . import bulkhead, domains, lease, notices
from .backoff import pause
from .choices import OrderEventKind, SeenState, ServiceState
from .models import OrderEvent, Service
from .provisioning.base import Found, PermanentError, Provisioner, ProvisionerError, TransientError
from .provisioning.registry import get_provisioner

logger = logging.getLogger(__name__)

ASKED = {
    ServiceState.ACTIVE: OrderEventKind.RESUME_ASKED,
    ServiceState.SUSPENDED: OrderEventKind.SUSPEND_ASKED,
    ServiceState.TERMINATED: OrderEventKind.TERMINATE_ASKED,
}
DONE = {
    ServiceState.ACTIVE: OrderEventKind.RESUMED,
    ServiceState.SUSPENDED: OrderEventKind.SUSPENDED,
    ServiceState.TERMINATED: OrderEventKind.TERMINATED,
}


@transaction.atomic
def decide(
    service: Service, wanted: ServiceState, *, actor: User | None, reason: str, address: str | None = None
) -> bool:
    """Make `wanted` the decision about this service and its row due; False if it is decided so already, or ended."""
    open_still = ~Q(wanted=ServiceState.TERMINATED) | Q(needs_attention=True)
    other = ~Q(wanted=wanted) | Q(needs_attention=True)
    if wanted != ServiceState.TERMINATED:  # ended is ended, also where the ending got stuck
        open_still = ~Q(wanted=ServiceState.TERMINATED)
    won = Service.objects.filter(open_still, other, pk=service.pk).update(
        wanted=wanted, attempts=0, next_attempt_at=timezone.now(), needs_attention=False, last_error=""
    )
    if won:
        note(service, ASKED[wanted], actor=actor, reason=reason)
        record_audit(service, wanted.value, actor=actor, reason=reason, address=address)
    return bool(won)


def note(service: Service, kind: OrderEventKind, *, actor: User | None = None, reason: str = "") -> None:
    OrderEvent.objects.create(order_id=service.order_id, kind=kind, actor=actor, note=reason[:300])


def record_audit(service: Service, change: str, *, actor: User | None, reason: str, address: str | None) -> None:
    order = service.order
    audit.record(
        AuditAction.FIX_ORDER,
        actor=actor,
        batch=order.batch,
        address=address,
        order=order.number,
        change=f"service {change}",
        note=reason,
    )


# --- carrying it out ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Claim:
    """The right to write to one service until the lease ends or a later claim raises the fence."""

    service: Service
    fence: int
    wanted: ServiceState


def work(service_id: int) -> bool:
    """A worker's turn, if its machine has a place at the provisioner left; else the next sweep calls again."""
    provider = Service.objects.filter(pk=service_id).values_list("provider", flat=True).first()
    with bulkhead.place(provider or "") as ours:
        return ours and run(service_id)


def run(service_id: int) -> bool:
    """One attempt at bringing the service to what is wanted; False when there was nothing to do."""
    claimed = claim(service_id)
    if claimed is None:
        return False
    if claimed.service.by_hand:
        record_stuck(claimed, "opened by hand: carry it out by hand, then settle it")
        return True
    if claimed.service.attempts > settings.ORDER_MAX_ATTEMPTS:  # the attempts before it ended without a record
        record_stuck(claimed, "workers died during this change")
        return True
    try:
        provisioner = get_provisioner(claimed.service.provider)
        with lease.kept(claimed.service):
            found = _carry_out(provisioner, claimed)
        record_done(claimed, found)
    except PermanentError as error:
        record_stuck(claimed, str(error))
    except (ProvisionerError, ImproperlyConfigured) as error:
        record_retry(claimed, str(error))
    except Exception as error:  # an adapter's bug, whose text may hold anything
        logger.error("service of order %s: %s from the adapter", claimed.service.order.number, type(error).__name__)
        record_retry(claimed, type(error).__name__)
    return True


@transaction.atomic
def claim(service_id: int) -> Claim | None:
    """Take the service's lease, unless nothing is to be done, another worker's lease still runs, or somebody else is
    just taking it."""
    now = timezone.now()
    free = Service.objects.filter(lease.free(now), pk=service_id, next_attempt_at__isnull=False)
    if lease.unlocked(free).first() is None:
        return None
    taken = free.update(
        fence=F("fence") + 1,
        attempts=F("attempts") + 1,
        lease_until=now + settings.ORDER_LEASE,
    )
    if not taken:
        return None
    service = Service.objects.select_related("order").get(pk=service_id)
    return Claim(service, service.fence, ServiceState(service.wanted))


def _carry_out(provisioner: Provisioner, claimed: Claim) -> Found | None:
    """Call the provider and read back; success is what it shows then, not what the call answered."""
    service = claimed.service
    match claimed.wanted:
        case ServiceState.SUSPENDED:
            provisioner.suspend(service.external_id)
        case ServiceState.ACTIVE:
            provisioner.resume(service.external_id)
        case ServiceState.TERMINATED:
            provisioner.terminate(service.external_id)
    found = provisioner.find(service.order.key)
    if seen_state(found).value != claimed.wanted.value:
        raise TransientError(f"The provider does not show it as {claimed.wanted.value} yet.")
    return found


def seen_state(found: Found | None) -> SeenState:
    return SeenState(found.state) if found else SeenState.GONE


def seen(found: Found | None, now: datetime) -> dict[str, Any]:
    """The columns that say what the provider showed."""
    columns = {"seen_state": seen_state(found), "seen_at": now, "check_at": now + settings.SERVICE_CHECK_INTERVAL}
    return columns | ({"facts": found.facts} if found and found.facts else {})


def record_done(claimed: Claim, found: Found | None) -> bool:
    now = timezone.now()
    settled = When(wanted=claimed.wanted, then=Value(None))
    return _record(
        claimed,
        DONE[claimed.wanted] if claimed.service.state != claimed.wanted else None,
        state=claimed.wanted,
        attempts=0,
        last_error="",
        next_attempt_at=Case(settled, default=Value(now)),
        **seen(found, now),
    )


def record_retry(claimed: Claim, error: str) -> bool:
    if claimed.service.attempts >= settings.ORDER_MAX_ATTEMPTS:
        return record_stuck(claimed, error)
    later = timezone.now() + pause(claimed.service.attempts)
    return _record(claimed, next_attempt_at=later, last_error=error[:300])


def record_stuck(claimed: Claim, error: str) -> bool:
    """Hand the change to a person, unless something else has been decided meanwhile: that is tried first."""
    same = Q(wanted=claimed.wanted)
    return _record(
        claimed,
        OrderEventKind.SERVICE_STUCK,
        last_error=error[:300],
        needs_attention=Case(When(same, then=Value(True)), default=Value(False)),
        next_attempt_at=Case(When(same, then=Value(None)), default=Value(timezone.now())),
    )


@transaction.atomic
def _record(claimed: Claim, kind: OrderEventKind | None = None, **changes: object) -> bool:
    """Write the end of an attempt and free the lease, if the fence is still this claim's. The one fenced write."""
    mine = Service.objects.filter(pk=claimed.service.pk, fence=claimed.fence)
    if mine.update(lease_until=None, **changes):
        if kind:
            note(claimed.service, kind)
        if kind == OrderEventKind.SERVICE_STUCK:
            notices.alert_staff(claimed.service.order, f"service {claimed.fence}")
        if kind == OrderEventKind.TERMINATED:
            domains.release(claimed.service.order_id)
        return True
    late = Service.objects.filter(pk=claimed.service.pk, needs_attention=False)
    late.exclude(state=ServiceState.TERMINATED).update(next_attempt_at=timezone.now())
    return False


# --- the sweep --------------------------------------------------------------------------------------------------------
@transaction.atomic
def take_due(limit: int) -> list[int]:
    """Up to `limit` services with work to do, each put off so that the next sweep does not call it again at once."""
    now = timezone.now()
    rows = lease.unlocked(Service.objects.filter(lease.free(now), next_attempt_at__lte=now)).order_by("next_attempt_at")
    ids = list(rows.values_list("pk", flat=True)[:limit])
    Service.objects.filter(pk__in=ids).update(next_attempt_at=now + settings.SWEEP_RECALL)
    return ids


def end_what_expired(limit: int) -> int:
    """Decide to suspend what has run out and, where that is switched on, to terminate what ran out long ago."""
    now, decided = timezone.now(), 0
    for product_type, grace in settings.SERVICE_SUSPEND_AFTER.items():
        over = Service.objects.filter(
            order__product_type=product_type, wanted=ServiceState.ACTIVE, expires_at__lte=now - grace
        )
        decided += _decide_all(over[:limit], ServiceState.SUSPENDED, "term ended")
    for product_type, grace in settings.SERVICE_TERMINATE_AFTER.items():
        if grace:
            over = Service.objects.filter(
                order__product_type=product_type, wanted=ServiceState.SUSPENDED, expires_at__lte=now - grace
            )
            decided += _decide_all(over[:limit], ServiceState.TERMINATED, "grace period ended")
    return decided


def _decide_all(services: Any, wanted: ServiceState, reason: str) -> int:
    return sum(
        decide(service, wanted, actor=None, reason=reason) for service in services.select_related("order__batch")
    )


def sweep_inline(limit: int = 1000) -> int:
    """Carry out what is due in this process, without broker or worker; returns how many attempts were made."""
    end_what_expired(limit)
    return sum(run(service_id) for service_id in take_due(limit))
