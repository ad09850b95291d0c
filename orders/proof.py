"""What a typed code reads as, what the card it names proves, and how a refusal is counted and timed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Q
from django.views.decorators.debug import sensitive_variables

from accounts.models import User
from cards import attempts, codes, vault
from cards.choices import CardStatus
from cards.imported import imported_form
from cards.models import Card

from .exceptions import (
    AlreadyYours,
    CardAlreadyUsed,
    CardDisabled,
    CardExpired,
    MistypedCode,
    RedemptionRefused,
    SoldOut,
    UnknownCode,
)
from .models import Order


@dataclass(frozen=True)
class Typed:
    """Where the code would stand, and what to say when it does not."""

    lookup: bytes
    refusal: RedemptionRefused


@sensitive_variables("code", "canonical")
def read(code: str) -> Typed:
    """What was typed, before any look-up. A typing mistake is said at once, from the text alone, unless imported codes
    look like that. Raises MistypedCode."""
    try:
        return Typed(vault.lookup(codes.normalise(code)), UnknownCode())
    except codes.BadCode as error:
        mistake = MistypedCode(error.kind, error.group)
    canonical = imported_form(code)
    if not canonical:
        raise mistake
    return Typed(vault.lookup(canonical), mistake if len(canonical) == codes.LENGTH else UnknownCode())


def proves(card: Card, member: User, now: datetime) -> bool:
    """Whether having this card's code proves anything, so that its holder is told the truth.

    A code that can be guessed does so while the card can be used, and to the member who used it; otherwise it is
    answered, and counted, as an unknown one.
    """
    batch = card.batch
    if card.serial > batch.issued:
        return False
    if not batch.guessable or (card.status == CardStatus.USED and card.used_by_id == member.pk):
        return True
    return card.status == CardStatus.UNUSED and not batch.disabled_at and batch.expires_at > now


def require_usable(card: Card, member: User, now: datetime) -> None:
    """Tell whoever holds the whole code the truth about the card, never by whom."""
    batch = card.batch
    if card.status == CardStatus.USED:
        if card.used_by_id == member.pk:
            raise AlreadyYours(_order_of(card, member))
        assert card.used_at is not None  # noqa: S101 (the check constraint card_used_ties says so)
        raise CardAlreadyUsed(card.used_at)
    if card.status == CardStatus.DISABLED or batch.disabled_at:
        raise CardDisabled
    if batch.expires_at <= now:
        raise CardExpired(batch.last_day)
    if not batch.line.active:
        raise SoldOut(batch.line.name)


def _order_of(card: Card, member: User) -> Order:
    """His newest order of that card, even if it was cancelled since the card was read without a lock."""
    return Order.objects.filter(Q(card=card) | Q(returned_card=card), member=member).latest("pk")


@dataclass
class Seen:
    """The card that the code named, if any, and whether the refusal must tell nothing about it: the code is of a form
    that could be guessed."""

    card: Card | None = None
    plain: bool = False


@contextmanager
def noting(who: User, address: str | None) -> Iterator[Seen]:
    """A refused code is counted for the leak report, once whatever was written inside has been rolled back.

    The plain refusal of a code that could be guessed comes a fixed time after the attempt began, for a card that was
    used takes more statements to find than a code that nobody has.
    """
    seen, start = Seen(), time.monotonic()
    try:
        yield seen
    except RedemptionRefused:
        attempts.note_refusal(member=who, address=address, card=seen.card)
        if seen.plain:
            _wait_until(start + settings.PLAIN_REFUSAL.total_seconds())
        raise


_waits = threading.BoundedSemaphore(settings.PLAIN_REFUSALS_AT_ONCE)


def _wait_until(end: float) -> None:
    """Wait for that moment of the monotonic clock, but never with all threads of a web process: whoever comes while
    half of them wait is answered at once. That takes a flood, in whose noise a millisecond cannot be told."""
    if _waits.acquire(blocking=False):
        try:
            time.sleep(max(0.0, end - time.monotonic()))
        finally:
            _waits.release()
