"""Find a card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.command import table
from cards.command import CardCommand, batch_numbered, card_arguments, card_facts, chosen_card
from cards.models import Card


class Command(CardCommand):
    help = (
        "Find a card by its code on standard input, by --batch and --serial, or by --batch and --last4 (which may "
        "find several). Shows its state and its order, never its code. Fails when nothing is found."
    )

    def arguments(self, parser: CommandParser) -> None:
        card_arguments(parser)
        parser.add_argument("--last4", help="The code's last four characters, together with --batch.")

    def run(
        self, *, batch: str | None, serial: int | None, code_stdin: bool, last4: str | None, **options: Any
    ) -> list[dict[str, Any]]:
        if last4 is None:
            return [card_facts(chosen_card(batch=batch, serial=serial, code_stdin=code_stdin))]
        if not batch or serial is not None or code_stdin:
            raise CommandError("--last4 goes together with --batch alone.")
        found = batch_numbered(batch)
        cards = Card.objects.select_related("batch", "used_by").filter(batch=found, last4=last4.upper())
        if not cards:
            raise CommandError(f"No card of batch {found.number} ends in {last4}.")
        return [card_facts(card) for card in cards.order_by("serial")]

    def lines(self, result: list[dict[str, Any]]) -> Iterable[str]:
        yield from table(result, ["batch_number", "serial", "code", "name", "status", "used_at", "member", "order"])
