"""Show a batch."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from cards.command import CardCommand, batch_facts, batch_numbered


class Command(CardCommand):
    help = "Show a batch: its configuration, its status and how many of its cards are used."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", help="ID or number of the batch.")

    def run(self, **options: Any) -> dict[str, Any]:
        return batch_facts(batch_numbered(options["batch"]))
