"""Showing one card's code in full (查看完整卡号)."""

from __future__ import annotations

from django.db import transaction

from accounts.models import User

from . import audit
from .choices import AuditAction, CardStatus
from .codes import group
from .exceptions import CodeGone, NotWhole
from .models import Card
from .vault import BatchVault


@transaction.atomic
def reveal_card(*, card: Card, actor: User | None, reason: str, address: str | None = None) -> str:
    """The code as it is printed; noted in the audit trail by the same transaction.

    Raises CodeGone for a used card and for one whose code is no longer kept, NotWhole for one not issued yet, and
    vault.KeyUnavailable.
    """
    now = Card.objects.select_related("batch").select_for_update(of=("self",), no_key=True).get(pk=card.pk)
    if now.serial > now.batch.issued:
        raise NotWhole
    if now.status == CardStatus.USED or now.sealed is None:
        raise CodeGone
    code = group(BatchVault.of(now.batch).open(now.serial, bytes(now.sealed)))
    audit.record(
        AuditAction.REVEAL,
        actor=actor,
        batch=now.batch,
        card=now,
        address=address,
        reason=reason,
        serial=now.serial,
        status=now.status,
    )
    return code
