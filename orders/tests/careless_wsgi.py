"""The negative control of the exactly-once tests: the portal with its claim replaced by check-then-write."""

from __future__ import annotations

from datetime import datetime

from pickup_portal.wsgi import application  # noqa: F401

from accounts.models import User  # isort: skip
from cards import actions
from cards.choices import CardStatus
from cards.models import Card, CardUse


def lock_card_without_lock(lookup: bytes) -> Card | None:
    return Card.objects.select_related("batch__line").filter(lookup=lookup).first()


def use_card_unconditionally(*, card: Card, member: User, order_number: str, at: datetime) -> bool:
    Card.objects.filter(pk=card.pk).update(status=CardStatus.USED, used_at=at, used_by=member, sealed=None)
    CardUse.objects.create(card=card, batch_id=card.batch_id, member=member, order_number=order_number, used_at=at)
    return True


actions.lock_card = lock_card_without_lock
actions.use_card = use_card_unconditionally
