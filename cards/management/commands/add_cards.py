"""Add cards to a batch."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.models import User
from accounts.wakeup import muted
from cards import changes, generation
from cards.command import BatchAct
from cards.models import Batch


class Command(BatchAct):
    help = (
        "Add cards to a batch that is whole, under the serials that follow. The cards before them stay good meanwhile; "
        "the new ones are good when all of them are made. The worker makes them; --wait makes them here."
    )

    def more_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("count", type=int, help="How many more cards.")
        parser.add_argument("--wait", action="store_true", help="Generate the cards in this process, then return.")

    def act(self, batch: Batch, actor: User, reason: str, options: dict[str, Any]) -> None:
        if not options["wait"]:
            changes.add_cards(batch=batch, count=options["count"], actor=actor, reason=reason)
            return
        with muted():
            changes.add_cards(batch=batch, count=options["count"], actor=actor, reason=reason)
        generation.run_to_end(batch.pk, lambda left: self.tell(f"{left:,} cards to make"))
