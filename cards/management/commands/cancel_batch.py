"""Stop the generating of a batch."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from cards import changes
from cards.command import BatchAct
from cards.models import Batch


class Command(BatchAct):
    help = (
        "Stop generating. A batch that was never whole is cancelled for good: none of its cards can be picked up or "
        "downloaded. If cards were being added to a batch, those made so far stay. Fails when nothing is generated."
    )

    def act(self, batch: Batch, actor: User, reason: str, options: dict[str, Any]) -> None:
        changes.cancel_batch(batch=batch, actor=actor, reason=reason)
