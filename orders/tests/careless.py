"""The claim as check-then-write, for negative controls."""

from __future__ import annotations

from datetime import datetime

from accounts.models import User
from cards.choices import CardStatus
from cards.models import Card, CardUse


def lock_card_without_lock(lookup: bytes) -> Card | None:
    return Card.objects.select_related("batch__line").filter(lookup=lookup).first()


def use_card_unconditionally(*, card: Card, member: User, order_number: str, at: datetime) -> bool:
    Card.objects.filter(pk=card.pk).update(status=CardStatus.USED, used_at=at, used_by=member, sealed=None)
    CardUse.objects.create(card=card, batch_id=card.batch_id, member=member, order_number=order_number, used_at=at)
    return True
