"""Finding cards from what people have in hand: a whole code, its last four, a batch with a serial, a member.

Each reading of the text is one look-up in an index; no reading goes through the table of cards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db.models import QuerySet
from django.views.decorators.debug import sensitive_variables

from accounts.search import people_named

from . import codes
from .models import Batch, Card, CardUse
from .vault import lookup

MOST = 50
_LAST4 = re.compile(r"[0-9A-Za-z]{4}")
_SERIAL = re.compile(r"(?:P\d{8}-)?(\d{1,18})\s*(?:[/#]|\s)\s*(\d{1,9})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    cards: list[Card]
    more: bool  # there are others besides


@sensitive_variables("text")
def find_cards(text: str, *, by_last4: bool = True) -> Found:
    """The cards that the text may speak of, newest first, at most MOST of them."""
    text = text.strip()
    pks: list[int] = []
    ends = _by_last4(text) if by_last4 else None
    for rows in (_by_code(text), _by_serial(text), ends, cards_of_member(text)):
        if rows is not None:
            pks += rows
    wanted = list(dict.fromkeys(pks))
    cards = Card.objects.select_related("batch", "used_by").defer("sealed", "lookup", "batch__wrapped_key")
    shown = sorted(cards.in_bulk(wanted[:MOST]).values(), key=lambda card: (-card.batch_id, card.serial))
    return Found(shown, len(wanted) > MOST)


@sensitive_variables()
def _by_code(text: str) -> QuerySet[Card, int] | None:
    try:
        value = lookup(codes.canonical(text))
    except codes.BadCode:
        return None
    return Card.objects.filter(lookup=value).values_list("pk", flat=True)


def _by_serial(text: str) -> QuerySet[Card, int] | None:
    """ "78/5", "P20261123-78 5" """
    match = _SERIAL.fullmatch(text)
    if match is None:
        return None
    return Card.objects.filter(batch_id=int(match[1]), serial=int(match[2])).values_list("pk", flat=True)


def _by_last4(text: str) -> QuerySet[Card, int] | None:
    return cards_with_last4(text) if _LAST4.fullmatch(text) else None


def cards_with_last4(last4: str, batch: Batch | None = None) -> QuerySet[Card, int]:
    """Ids of the newest cards whose codes end so, of one batch or of all."""
    cards = Card.objects.filter(last4=last4.upper())
    if batch is not None:
        cards = cards.filter(batch=batch)
    return cards.order_by("-pk").values_list("pk", flat=True)[: MOST + 1]


def cards_of_member(text: str) -> QuerySet[CardUse, int]:
    """Ids of the newest cards that the member of that login, address or member ID has used, returned ones too."""
    members = people_named(text).values_list("pk", flat=True)
    uses = CardUse.objects.filter(member__in=list(members[:5]))
    return uses.order_by("-pk").values_list("card_id", flat=True)[: MOST + 1]
