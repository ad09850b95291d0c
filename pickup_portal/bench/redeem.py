"""`bench redeem`: redemptions beside the bare statements they cannot do without.

Cards of a scratch batch go through `redemption.redeem`; others of the same batch through nothing but the three
statements and the insert that redeeming cannot do without, one transaction each. The bare ones are undone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from accounts.wakeup import muted
from cards import actions
from cards.choices import BatchStatus, CardStatus
from cards.models import Card, Line
from cards.vault import BatchVault
from orders import redemption
from orders.choices import OrderState
from orders.models import Order

from .scratch import CannotMeasure, needs_simulator, scratch_batch, scratch_member


@dataclass(frozen=True)
class RedeemResult:
    """`ratio` is how much of the bare statements' speed a whole redemption reaches."""

    batch: str
    redemptions: int
    per_second: float
    raw_per_second: float
    ratio: float


def measure_redemptions(count: int) -> RedeemResult:
    """Redeem cards of a new scratch batch, in turn with as many by bare statements, so that both see the same machine.

    Raises CannotMeasure.
    """
    needs_simulator()
    member, batch = scratch_member(), scratch_batch(2 * count + 1, made=True)  # one to warm up
    cards = list(batch.cards.order_by("serial"))
    bare, whole = cards[:count], cards[count:]
    vault = BatchVault.of(batch)
    codes = [vault.open(card.serial, bytes(card.sealed or b"")) for card in whole]
    taken = raw = 0.0
    try:
        with muted():
            warm_up = redemption.redeem(code=codes.pop(), member=member)
            rows = [_order_row(warm_up, card) for card in bare]
            for code, card, row in zip(codes, bare, rows, strict=True):
                start = time.perf_counter()
                redemption.redeem(code=code, member=member)
                middle = time.perf_counter()
                _redeem_bare(card, member, row)
                taken, raw = taken + middle - start, raw + time.perf_counter() - middle
    finally:
        _undo_bare(bare)
        Line.objects.filter(pk=batch.line_id).update(active=False)
        actions.disable_batch(batch=batch, actor=None, reason="bench")
    return RedeemResult(
        batch=batch.number,
        redemptions=count,
        per_second=round(count / taken, 1),
        raw_per_second=round(count / raw, 1),
        ratio=round(raw / taken, 2),
    )


def _redeem_bare(card: Card, member: User, row: tuple[str, list[Any]]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK_CARD[connection.vendor], [bytes(card.lookup)])
        cursor.execute(_LOCK_BATCH[connection.vendor], [card.batch_id])
        now = timezone.now()
        new: list[Any] = [CardStatus.USED, now, member.pk]
        asked: list[Any] = [card.pk, CardStatus.UNUSED, BatchStatus.READY, now]
        cursor.execute(_USE_CARD, new + asked)
        if cursor.rowcount != 1:
            raise CannotMeasure("A bare statement did not find its card.")
        cursor.execute(*row)


@transaction.atomic
def _undo_bare(cards: list[Card]) -> None:
    """The bare statements wrote no usage log and no audit row: nothing of them may stay."""
    Order.objects.filter(batch=cards[0].batch_id, number__startswith=_RAW).delete()
    for card in cards:
        Card.objects.filter(pk=card.pk).update(status=CardStatus.UNUSED, used_at=None, used_by=None, sealed=card.sealed)


_RAW = "bench-"
_LOCK_CARD = {
    "postgresql": "SELECT id, batch_id, status FROM cards_card WHERE lookup = %s FOR NO KEY UPDATE",
    "sqlite": "SELECT id, batch_id, status FROM cards_card WHERE lookup = %s",  # BEGIN IMMEDIATE holds the lock
}
_LOCK_BATCH = {
    "postgresql": "SELECT disabled_at, expires_at FROM cards_batch WHERE id = %s FOR SHARE",
    "sqlite": "SELECT disabled_at, expires_at FROM cards_batch WHERE id = %s",
}
_USE_CARD = (
    "UPDATE cards_card SET status = %s, used_at = %s, used_by_id = %s, sealed = NULL WHERE id = %s AND status = %s "
    "AND batch_id IN (SELECT id FROM cards_batch WHERE status = %s AND disabled_at IS NULL AND expires_at > %s)"
)


def _order_row(like: Order, card: Card) -> tuple[str, list[Any]]:
    """The insert of a final order for the card, so that no worker takes it up."""
    fields = [field for field in Order._meta.concrete_fields if not field.primary_key]
    fresh = {
        "key": Order._meta.get_field("key").get_default(),
        "number": f"{_RAW}{card.pk}",
        "domain": "",
        "card_id": card.pk,
        "state": OrderState.FAILED,
    }
    values = [
        field.get_db_prep_save(fresh.get(field.attname, getattr(like, field.attname)), connection) for field in fields
    ]
    columns, marks = ", ".join(str(field.column) for field in fields), ", ".join(["%s"] * len(fields))
    return f"INSERT INTO {Order._meta.db_table} ({columns}) VALUES ({marks})", values  # noqa: S608 (own names only)


def lines(result: dict[str, Any]) -> Iterable[str]:
    yield f"redeem    {result['per_second']:>9} /s   {result['redemptions']} cards of {result['batch']} in turn"
    yield f"bare SQL  {result['raw_per_second']:>9} /s   the same statements alone, one transaction each"
    yield f"ratio     {result['ratio']:>9}"
