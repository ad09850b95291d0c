"""What was tried and refused: counted per member, address, hour and card, so that a flood makes no flood of rows."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import User

from .choices import CardStatus, TryOutcome
from .models import Card, RefusedTry

KEPT = timedelta(days=400)


def outcome_of(card: Card | None, member: User, now: datetime) -> TryOutcome | None:
    """What the try met; None for a card that the member may use or has used himself."""
    if card is None or card.serial > card.batch.issued:
        return TryOutcome.UNKNOWN
    if card.status == CardStatus.USED:
        return None if card.used_by_id == member.pk else TryOutcome.USED
    if card.status == CardStatus.DISABLED or card.batch.disabled_at:
        return TryOutcome.DISABLED
    return TryOutcome.EXPIRED if card.batch.expires_at <= now else None


def note_refusal(*, member: User, address: str | None, card: Card | None, tries: int = 1) -> None:
    """Count one refused code, or as many as a list held; its own transaction, after the one in which it was refused."""
    now = timezone.now()
    outcome = outcome_of(card, member, now)
    if outcome is None:
        return
    known = card if outcome != TryOutcome.UNKNOWN else None
    row = {
        "hour": now.replace(minute=0, second=0, microsecond=0),
        "member": member,
        "address": address or None,
        "outcome": outcome,
        "card": known,
        "batch_id": known and known.batch_id,
    }
    absent = {f"{name}__isnull": True for name, value in row.items() if value is None}
    same = {name: value for name, value in row.items() if value is not None} | absent
    with transaction.atomic():
        if not RefusedTry.objects.filter(**same).update(tries=F("tries") + tries, last_at=now):
            # Two at the same instant make two rows, which count the same.
            RefusedTry.objects.create(**row, tries=tries, last_at=now)


def forget_old() -> int:
    """Remove what nobody will look at any more; returns how many rows."""
    return RefusedTry.objects.filter(hour__lt=timezone.now() - KEPT).delete()[0]
