"""The two-person rule: what is above the set limits waits for another person's approval before a card is made.

Off unless BATCH_APPROVAL_VALUE or BATCH_APPROVAL_QUANTITY is set. A batch counts whole: adding cards to one that is
(then) above a limit waits too, and whoever asked for it cannot extend it. Values are counted at the higher of the
reference price and the computed one, Windows with it where it is included, so that a low price typed in hides nothing;
what has neither price has no known value and is above every limit on value. The constraints of Batch keep the approver
another person than the creator and the asker, whatever roles he has.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.wakeup import call_after_commit

from . import audit, pricing
from .choices import AuditAction, BatchStatus, WindowsPolicy
from .exceptions import AnotherPerson, ChangedMeanwhile, NothingToApprove
from .models import Batch, Line
from .tasks import generate_batch


def is_above_limit(
    *,
    line: Line,
    product_type: str,
    spec: dict[str, Any],
    term_months: int,
    windows_policy: str,
    price: Decimal,
    quantity: int,
) -> bool:
    """Whether that many cards need a second person."""
    most, worth = settings.BATCH_APPROVAL_QUANTITY, settings.BATCH_APPROVAL_VALUE
    if most and quantity > most:
        return True
    if not worth:
        return False
    computed = pricing.quote(line, product_type, spec, term_months).total
    if windows_policy == WindowsPolicy.INCLUDED:
        computed += pricing.windows_surcharge(line, term_months)
    value = max(price, computed) * quantity
    return bool(not value or value > worth)


def needs_second_person(batch: Batch, quantity: int) -> bool:
    """Whether the batch with `quantity` cards is above a limit today."""
    return is_above_limit(
        line=batch.line,
        product_type=batch.product_type,
        spec=batch.spec,
        term_months=batch.term_months,
        windows_policy=batch.windows_policy,
        price=batch.reference_price,
        quantity=quantity,
    )


@transaction.atomic
def approve_batch(
    *, batch: Batch, actor: User, was: int | None = None, note: str = "", address: str | None = None
) -> None:
    """WAITING -> GENERATING. `was` is the quantity the approver saw.

    Raises NothingToApprove, ChangedMeanwhile, or AnotherPerson for whoever made the batch or asked for the cards.
    """
    row = Batch.objects.select_for_update(no_key=True).get(pk=batch.pk)
    if row.status != BatchStatus.WAITING:
        raise NothingToApprove
    if actor.pk in (row.created_by_id, row.asked_by_id):
        raise AnotherPerson
    if was is not None and row.quantity != was:
        raise ChangedMeanwhile
    now = timezone.now()
    row.status, row.approved_by, row.approved_at, row.progress_at = BatchStatus.GENERATING, actor, now, now
    row.save(update_fields=["status", "approved_by", "approved_at", "progress_at"])
    audit.record(
        AuditAction.APPROVE_BATCH,
        actor=actor,
        batch=row,
        address=address,
        note=note,
        cards=row.quantity - row.generated,
        quantity=row.quantity,
        asked_by=row.asked_by_id,
    )
    call_after_commit(generate_batch, row.pk)
    batch.refresh_from_db()
