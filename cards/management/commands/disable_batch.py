"""Disable a batch."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from cards import actions
from cards.command import BatchAct
from cards.models import Batch


class Command(BatchAct):
    help = (
        "Disable a batch: its unused cards cannot be redeemed until it is enabled again. "
        "Fails if it is disabled already."
    )

    def act(self, batch: Batch, actor: User, reason: str, options: dict[str, Any]) -> None:
        actions.disable_batch(batch=batch, actor=actor, reason=reason)
