"""Make a batch of pickup cards."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from django.core.management.base import CommandParser

from accounts.wakeup import muted
from cards import actions, generation
from cards.command import CardCommand, batch_facts, batch_numbered, chosen_terms, terms_arguments


class Command(CardCommand):
    help = (
        "Make a batch of pickup cards. The worker generates the cards; --wait generates them here. "
        "The same --token never makes a second batch."
    )

    def arguments(self, parser: CommandParser) -> None:
        terms_arguments(parser)
        parser.add_argument("--quantity", type=int, required=True)
        parser.add_argument("--wait", action="store_true", help="Generate the cards in this process, then return.")

    def run(self, *, quantity: int, wait: bool, **options: Any) -> dict[str, Any]:
        with muted() if wait else nullcontext():
            batch = actions.create_batch(quantity=quantity, **chosen_terms(options))
        if wait:
            generation.run_to_end(batch.pk, lambda left: self.tell(f"{left:,} cards to make"))
        return batch_facts(batch_numbered(str(batch.pk)))

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        yield (
            f"Batch {result['number']} ({result['id']}): {result['generated']} of {result['quantity']} cards generated,"
            f" valid to {result['last_day']}."
        )
