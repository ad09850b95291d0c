"""Disable a card."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.command import staff_named
from cards import actions
from cards.command import CardCommand, card_arguments, card_facts, chosen_card


class Command(CardCommand):
    help = (
        "Disable one card. A used card cannot be disabled. "
        "The card is named by --batch and --serial, or by its code on standard input."
    )

    def arguments(self, parser: CommandParser) -> None:
        card_arguments(parser)
        parser.add_argument("--actor", required=True, help="Login of the member of staff who wants it.")
        parser.add_argument("--reason", default="", help="Why; kept in the audit trail.")

    def run(
        self, *, batch: str | None, serial: int | None, code_stdin: bool, actor: str, reason: str, **options: Any
    ) -> dict[str, Any]:
        card = chosen_card(batch=batch, serial=serial, code_stdin=code_stdin)
        actions.disable_card(card=card, actor=staff_named(actor), reason=reason)
        card.refresh_from_db(fields=["status"])
        return card_facts(card)
