"""What the commands about batches and cards share."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from accounts.command import PortalCommand, code_from_stdin

from .codes import BadCode, canonical, mask
from .exceptions import CardError
from .models import Batch, Card
from .vault import lookup


class CardCommand(PortalCommand):
    refusals: ClassVar[tuple[type[Exception], ...]] = (CardError,)


def batch_numbered(text: str) -> Batch:
    """The batch with this ID, or with this number such as P20261123-78, its used cards counted."""
    pk = text.rpartition("-")[2]
    batch = Batch.objects.with_used().select_related("line").filter(pk=int(pk)).first() if pk.isdigit() else None
    if batch is None or ("-" in text and batch.number != text.upper()):
        raise CommandError(f"There is no batch {text}.")
    return batch


def card_with_code() -> Card:
    """The card whose code comes on standard input. An unknown code and a mistyped one are two answers: staff ask."""
    try:
        code = canonical(code_from_stdin())
    except BadCode as bad:
        raise CommandError(f"That is not a card code ({bad.kind}).") from None
    card = Card.objects.select_related("batch__line", "used_by").filter(lookup=lookup(code)).first()
    if card is None:
        raise CommandError("No card has this code.")
    return card


def card_arguments(parser: CommandParser) -> None:
    """Name one card: --batch and --serial, or --code-stdin."""
    parser.add_argument("--batch", help="ID or number of the batch, together with --serial.")
    parser.add_argument("--serial", type=int, help="The card's serial in its batch.")
    parser.add_argument("--code-stdin", action="store_true", help="Read the card's code from standard input instead.")


def chosen_card(*, batch: str | None, serial: int | None, code_stdin: bool) -> Card:
    """The card that `card_arguments` name."""
    if code_stdin:
        if batch or serial is not None:
            raise CommandError("Give either --code-stdin or --batch and --serial.")
        return card_with_code()
    if not batch or serial is None:
        raise CommandError("Name the card: --batch and --serial, or --code-stdin.")
    found = batch_numbered(batch)
    card = Card.objects.select_related("batch__line", "used_by").filter(batch=found, serial=serial).first()
    if card is None:
        raise CommandError(f"Batch {found.number} has no card {serial}.")
    return card


def batch_facts(batch: Batch) -> dict[str, Any]:
    """A batch as plain data; needs `with_used`."""
    return {
        "id": batch.pk,
        "number": batch.number,
        "product_type": batch.product_type,
        "name": batch.name,
        "line": batch.line.name,
        "spec": batch.spec,
        "term_months": batch.term_months,
        "reference_price": batch.reference_price,
        "currency": batch.currency,
        "windows_policy": batch.windows_policy,
        "windows_surcharge": batch.windows_surcharge,
        "quantity": batch.quantity,
        "generated": batch.generated,
        "used": batch.used_cards,
        "last_day": batch.last_day.date(),
        "expires_at": batch.expires_at,
        "status": batch.shown,
        "created_at": batch.created_at,
        "note": batch.note,
    }


def card_facts(card: Card) -> dict[str, Any]:
    """A card as plain data, its code masked."""
    use = card.uses.filter(returned_at__isnull=True).first()
    return {
        "batch": card.batch_id,
        "batch_number": card.batch.number,
        "name": card.batch.name,
        "product_type": card.batch.product_type,
        "serial": card.serial,
        "code": mask(card.last4),
        "status": card.status,
        "used_at": card.used_at,
        "member": card.used_by.username if card.used_by else None,
        "order": use.order_number if use else None,
    }
