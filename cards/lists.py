"""Disabling many cards at once: a selection, or a list of codes. A result for every one, in bounded transactions.

1. `cards_of_lines` looks the codes up, in portions, and forgets them: what goes on is line numbers and card ids.
2. `disable_cards` locks at most PORTION cards at a time, in the order of their ids, so that two lists never wait for
   each other in a circle, and writes one audit row for each batch in the portion with the serials.

Between two portions redemptions go on; a card used meanwhile is reported as such. What was done stays done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from accounts.models import User

from . import audit, codes
from .choices import AuditAction, CardStatus, ListOutcome
from .models import Batch, Card
from .vault import lookup

PORTION = 500
MOST_CODES = 10_000


@dataclass(frozen=True)
class Listed:
    """One line of a list, and the card it names, if any; never the code."""

    number: int
    card_id: int | None
    problem: ListOutcome | None = None


@dataclass(frozen=True)
class Result:
    line: Listed
    outcome: ListOutcome
    card: Card | None = None


def pack(lines: Sequence[Listed]) -> str:
    """The lines as text for a hidden field: "1:5501 2:unknown"."""
    return " ".join(f"{line.number}:{line.problem or line.card_id}" for line in lines)


def unpack(text: str) -> list[Listed]:
    """The lines that `pack` wrote. Raises ValueError."""
    lines = []
    for entry in text.split():
        number, _colon, value = entry.partition(":")
        known = value.isascii() and value.isdigit()
        lines.append(Listed(int(number), int(value)) if known else Listed(int(number), None, ListOutcome(value)))
    return lines


@sensitive_variables()
def cards_of_lines(texts: Iterable[str]) -> list[Listed]:
    """Which card each line's code names; empty lines are left out."""
    wanted: list[tuple[int, bytes | None]] = []
    for number, text in enumerate(texts, start=1):
        if not text.strip().lstrip("\ufeff"):
            continue
        try:
            wanted.append((number, lookup(codes.canonical(text))))
        except codes.BadCode:
            wanted.append((number, None))
    found = _found([value for _number, value in wanted if value is not None])
    lines, seen = [], set()
    for number, value in wanted:
        card_id = found.get(value) if value is not None else None
        if card_id is None:
            lines.append(Listed(number, None, ListOutcome.NO_CODE if value is None else ListOutcome.UNKNOWN))
        else:
            lines.append(Listed(number, card_id, ListOutcome.TWICE if card_id in seen else None))
            seen.add(card_id)
    return lines


def _found(lookups: Sequence[bytes]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    ordered = sorted(lookups)
    for start in range(0, len(ordered), PORTION):
        rows = Card.objects.filter(lookup__in=ordered[start : start + PORTION]).values_list("lookup", "pk")
        found |= {bytes(value): pk for value, pk in rows}
    return found


def cards_of_serials(batch: Batch, serials: Sequence[int]) -> list[Listed]:
    """A selection of a batch's cards; the serial stands for the line."""
    found = Card.objects.filter(batch=batch, serial__in=serials).order_by("serial").values_list("serial", "pk")
    return [Listed(serial, pk) for serial, pk in found]


def foreseen(lines: Sequence[Listed]) -> list[Result]:
    """What `disable_cards` would make of the lines now."""
    cards: dict[int, Card] = {}
    ids = [line.card_id for line in lines if line.card_id is not None]
    for start in range(0, len(ids), PORTION):
        part = Card.objects.select_related("batch").defer("sealed", "lookup", "batch__wrapped_key")
        cards |= part.in_bulk(ids[start : start + PORTION])
    return [_result(line, cards, ListOutcome.TO_DISABLE) for line in lines]


def _result(line: Listed, cards: dict[int, Card], unused: ListOutcome = ListOutcome.DISABLED) -> Result:
    """What becomes of a line, by the card's status before the deed; `unused` for a card that can be disabled."""
    card = cards.get(line.card_id) if line.card_id is not None else None
    if line.problem or card is None:
        return Result(line, line.problem or ListOutcome.UNKNOWN, card)
    if card.status == CardStatus.USED:
        return Result(line, ListOutcome.USED, card)
    return Result(line, unused if card.status == CardStatus.UNUSED else ListOutcome.ALREADY, card)


def disable_cards(
    *, lines: Sequence[Listed], actor: User | None, reason: str = "", address: str | None = None
) -> list[Result]:
    """Disable the cards that the lines name; what became of each, in the order of the lines."""
    results: dict[int, Result] = {line.number: _result(line, {}) for line in lines if line.problem}
    asked = sorted((line for line in lines if not line.problem), key=lambda line: line.card_id or 0)
    for start in range(0, len(asked), PORTION):
        part = asked[start : start + PORTION]
        for result in _disable_portion(part, actor, reason, address):
            results[result.line.number] = result
    return [results[line.number] for line in lines]


@transaction.atomic
def _disable_portion(lines: Sequence[Listed], actor: User | None, reason: str, address: str | None) -> list[Result]:
    ids = [line.card_id for line in lines if line.card_id is not None]
    rows = Card.objects.filter(pk__in=ids).defer("sealed", "lookup").order_by("pk")
    cards = {card.pk: card for card in rows.select_for_update(no_key=True)}
    batches = Batch.objects.defer("wrapped_key").in_bulk({card.batch_id for card in cards.values()})
    for card in cards.values():
        card.batch = batches[card.batch_id]
    done = [card for card in cards.values() if card.status == CardStatus.UNUSED]
    Card.objects.filter(pk__in=[card.pk for card in done], status=CardStatus.UNUSED).update(status=CardStatus.DISABLED)
    for batch_id, group in groupby(sorted(done, key=lambda card: (card.batch_id, card.serial)), lambda c: c.batch_id):
        serials = [card.serial for card in group]
        audit.record(
            AuditAction.DISABLE_CARDS,
            actor=actor,
            batch=batches[batch_id],
            address=address,
            reason=reason,
            cards=len(serials),
            serials=serials,
        )
    return [_result(line, cards) for line in lines]
