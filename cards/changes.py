"""What staff change about a batch that exists: how long it is valid, whether it is finished, how many cards it has."""

from __future__ import annotations

from datetime import date

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.wakeup import call_after_commit

from . import audit
from .actions import Validity, is_too_late, says_too_late
from .approval import needs_second_person
from .choices import AuditAction, BatchStatus, ValidityKind
from .days import today
from .exceptions import (
    AnotherPerson,
    BadBatch,
    BatchExpired,
    ChangedMeanwhile,
    NotGenerating,
    NotWhole,
    OnlyLater,
    WasCancelled,
)
from .models import Batch
from .tasks import generate_batch


@transaction.atomic
def extend_batch(*, batch: Batch, last_day: date, actor: User | None, reason: str, address: str | None = None) -> None:
    """Let the batch be valid to the end of a later day. Raises OnlyLater, WasCancelled, BadBatch without a reason, and
    AnotherPerson for whoever asked for a batch above the limits of the two-person rule.

    A redemption that was refused before this committed may succeed after it; none is made to fail.
    """
    if not reason.strip():
        raise BadBatch({"reason": [_("Say why; it is recorded in the audit trail.")]})
    if last_day < today() or is_too_late(last_day):
        raise BadBatch({"last_day": [says_too_late()]})
    row = _locked(batch)
    earlier, later = row.last_day.date(), Validity.until(last_day).expires_at(today())
    if row.status == BatchStatus.CANCELLED:
        raise WasCancelled
    if actor and actor.pk in (row.created_by_id, row.asked_by_id) and needs_second_person(row, row.total):
        raise AnotherPerson
    if later <= row.expires_at:
        raise OnlyLater
    row.expires_at, row.validity_kind, row.validity_months = later, ValidityKind.DATE, None
    row.save(update_fields=["expires_at", "validity_kind", "validity_months"])
    audit.record(
        AuditAction.EXTEND_BATCH,
        actor=actor,
        batch=row,
        address=address,
        reason=reason,
        last_day_before=earlier.isoformat(),
        last_day=last_day.isoformat(),
    )
    batch.refresh_from_db()


def _locked(batch: Batch) -> Batch:
    """The batch as it is now, its row locked against every other change and against redemptions."""
    return Batch.objects.select_for_update(no_key=True).get(pk=batch.pk)


@transaction.atomic
def cancel_batch(*, batch: Batch, actor: User | None, reason: str = "", address: str | None = None) -> None:
    """Stop generating. Waits for the chunk under way, after which no worker adds another.

    A batch of which nothing was issued is CANCELLED for good: none of its cards was ever handed out or can be picked
    up. If cards were being added to an issued batch, those made so far are issued and the batch is whole at that size.
    Raises NotGenerating.
    """
    row = _locked(batch)
    if row.status not in (BatchStatus.GENERATING, BatchStatus.WAITING):
        raise NotGenerating
    asked = row.quantity
    if row.issued:
        row.status, row.quantity, row.issued = BatchStatus.READY, row.generated, row.generated
        row.needs_approval = row.needs_approval and row.approved_by_id is not None
    else:
        row.status = BatchStatus.CANCELLED
    row.save(update_fields=["status", "quantity", "issued", "needs_approval"])
    audit.record(
        AuditAction.CANCEL_BATCH,
        actor=actor,
        batch=row,
        address=address,
        reason=reason,
        generated=row.generated,
        asked=asked,
    )
    batch.refresh_from_db()


@transaction.atomic
def add_cards(
    *,
    batch: Batch,
    count: int,
    actor: User | None,
    was: int | None = None,
    reason: str = "",
    address: str | None = None,
) -> None:
    """Have `count` more cards generated, with the serials that follow. Those before them stay good meanwhile.

    `was` is the quantity that the caller saw: of two calls that saw the same one, the second is refused, so that a
    double submit adds once. Above the limits of the two-person rule they wait for approval.

    Raises ChangedMeanwhile, NotWhole while cards are being made, BatchExpired, WasCancelled, or BadBatch when the batch
    would grow past the limit.
    """
    row = _locked(batch)
    if row.status == BatchStatus.CANCELLED:
        raise WasCancelled
    if was is not None and row.quantity != was:
        raise ChangedMeanwhile
    if row.status in (BatchStatus.GENERATING, BatchStatus.WAITING):
        raise NotWhole
    if row.expires_at <= timezone.now():
        raise BatchExpired
    most = settings.BATCH_MAX_QUANTITY - row.quantity
    if not 1 <= count <= most:
        limit = {"limit": f"{settings.BATCH_MAX_QUANTITY:,}", "more": f"{max(most, 0):,}"}
        raise BadBatch({"count": [_("A batch has at most %(limit)s cards; %(more)s more fit into this one.") % limit]})
    row.status, row.quantity, row.progress_at = BatchStatus.GENERATING, row.quantity + count, timezone.now()
    row.needs_approval = needs_second_person(row, row.total)
    if row.needs_approval:
        row.status, row.asked_by, row.approved_by, row.approved_at = BatchStatus.WAITING, actor, None, None
    row.save(
        update_fields=[
            *("status", "quantity", "progress_at"),
            *("needs_approval", "asked_by", "approved_by", "approved_at"),
        ]
    )
    audit.record(
        AuditAction.ADD_CARDS,
        actor=actor,
        batch=row,
        address=address,
        reason=reason,
        cards=count,
        quantity=row.quantity,
    )
    if not row.needs_approval:
        call_after_commit(generate_batch, row.pk)
    batch.refresh_from_db()
