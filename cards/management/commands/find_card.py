"""Find a card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.command import table
from cards.command import CardCommand, batch_numbered, card_arguments, card_facts, chosen_card
from cards.finding import MOST, cards_of_member, cards_with_last4
from cards.models import Card


class Command(CardCommand):
    help = (
        "Find a card by its code on standard input, by --batch and --serial, by its --last4 (with or without --batch) "
        "or by the --member who used it; the last two may find several. Shows each one's state and order, never its "
        "code. Fails when nothing is found."
    )

    def arguments(self, parser: CommandParser) -> None:
        card_arguments(parser)
        parser.add_argument("--last4", help="The code's last four characters.")
        parser.add_argument("--member", help="User name, e-mail address or member ID of the member who used it.")

    def run(
        self,
        *,
        batch: str | None,
        serial: int | None,
        code_stdin: bool,
        last4: str | None,
        member: str | None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        if last4 is None and member is None:
            return [card_facts(chosen_card(batch=batch, serial=serial, code_stdin=code_stdin))]
        if serial is not None or code_stdin or (last4 and member) or (member and batch):
            raise CommandError("Give --last4, with or without --batch, or --member alone.")
        cards = Card.objects.select_related("batch", "used_by")
        if member:
            found = cards.filter(pk__in=list(cards_of_member(member)))
        else:
            found = cards.filter(pk__in=list(cards_with_last4(last4 or "", batch_numbered(batch) if batch else None)))
        if not found:
            raise CommandError(f"No card {f'was used by {member}' if member else f'ends in {last4}'}.")
        return [card_facts(card) for card in found.order_by("batch_id", "serial")[:MOST]]

    def lines(self, result: list[dict[str, Any]]) -> Iterable[str]:
        yield from table(result, ["batch_number", "serial", "code", "name", "status", "used_at", "member", "order"])
