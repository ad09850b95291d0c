"""Enable a batch."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from cards import actions
from cards.command import BatchAct
from cards.models import Batch


class Command(BatchAct):
    help = "Enable a batch: its unused cards can be redeemed again. Fails if it is enabled already."

    def act(self, batch: Batch, actor: User, reason: str, options: dict[str, Any]) -> None:
        actions.enable_batch(batch=batch, actor=actor, reason=reason)
