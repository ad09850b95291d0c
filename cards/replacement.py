"""A new code for a lost or leaked card (see docs/decisions/017).

1. Lock the old card, then its batch: the order in which a redemption locks them.
2. Make the old card void: DISABLED for ever, its ciphertext gone.
3. Add the new card under the next serial; quantity, generated and issued go up by one, and so does `replaced`.
4. Link the two, write the audit row.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from accounts.models import User

from . import audit, codes
from .choices import AuditAction, BatchStatus, CardStatus
from .exceptions import AlreadyReplaced, BadBatch, NotWhole, UsedCardIsGone, WasCancelled
from .models import Batch, Card, Replacement
from .vault import BatchVault, lookup


@transaction.atomic
@sensitive_variables("code")
def replace_card(*, card: Card, actor: User | None, reason: str, address: str | None = None) -> tuple[Card, str]:
    """(the new card, its code): the code is shown once and can be downloaded like any other unused card's.

    Raises UsedCardIsGone, AlreadyReplaced, NotWhole while cards of the batch are being made, WasCancelled, BadBatch
    without a reason, and vault.KeyUnavailable.
    """
    if not reason.strip():
        raise BadBatch({"reason": [_("Say why; it is recorded in the audit trail.")]})
    old = Card.objects.select_for_update(no_key=True).get(pk=card.pk)
    batch = Batch.objects.select_for_update(no_key=True).get(pk=old.batch_id)
    if old.status == CardStatus.USED:
        raise UsedCardIsGone
    if Replacement.objects.filter(old=old).exists():
        raise AlreadyReplaced
    if batch.status != BatchStatus.READY:
        raise WasCancelled if batch.status == BatchStatus.CANCELLED else NotWhole
    (code,) = codes.make(1)
    serial = batch.quantity + 1
    sealed = BatchVault.of(batch).seal(serial, code)
    Card.objects.filter(pk=old.pk).update(status=CardStatus.DISABLED, sealed=None)
    new = Card.objects.create(batch=batch, serial=serial, lookup=lookup(code), sealed=sealed, last4=code[-4:])
    Replacement.objects.create(old=old, new=new)
    Batch.objects.filter(pk=batch.pk).update(
        quantity=serial, generated=serial, issued=serial, replaced=F("replaced") + 1
    )
    audit.record(
        AuditAction.REPLACE_CARD,
        actor=actor,
        batch=batch,
        card=old,
        address=address,
        reason=reason,
        serial=old.serial,
        new_serial=serial,
    )
    card.refresh_from_db()
    return new, code
