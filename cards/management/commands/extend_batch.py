"""Extend the validity of a batch."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.command import iso_date
from accounts.models import User
from cards import changes
from cards.command import BatchAct
from cards.models import Batch


class Command(BatchAct):
    help = "Let a batch be valid to the end of a later day. An expired batch becomes good again. Never shortens."
    reason_is_required = True

    def more_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--last-day", type=iso_date, required=True, metavar="DATE", help="The new last valid day.")

    def act(self, batch: Batch, actor: User, reason: str, options: dict[str, Any]) -> None:
        changes.extend_batch(batch=batch, last_day=options["last_day"], actor=actor, reason=reason)
