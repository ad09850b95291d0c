"""Disable a batch."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.command import staff_named
from cards import actions
from cards.command import CardCommand, batch_facts, batch_numbered


class Command(CardCommand):
    help = (
        "Disable a batch: its unused cards cannot be redeemed until it is enabled again. "
        "Fails if it is disabled already."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", help="ID or number of the batch.")
        parser.add_argument("--actor", required=True, help="Login of the member of staff who wants it.")
        parser.add_argument("--reason", default="", help="Why; kept in the audit trail.")

    def run(self, *, batch: str, actor: str, reason: str, **options: Any) -> dict[str, Any]:
        found = batch_numbered(batch)
        actions.disable_batch(batch=found, actor=staff_named(actor), reason=reason)
        return batch_facts(batch_numbered(str(found.pk)))
