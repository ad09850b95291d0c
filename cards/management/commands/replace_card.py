"""Replace a lost or leaked card."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from cards import replacement
from cards.codes import group
from cards.command import CardAct
from cards.models import Card


class Command(CardAct):
    help = (
        "Replace a lost or leaked card by a new one with a new code, which is printed. The old card is disabled for "
        "ever. A used card cannot be replaced. "
        "The card is named by --batch and --serial, or by its code on standard input."
    )
    reason_is_required = True

    def act(self, card: Card, actor: User, reason: str) -> dict[str, Any]:
        new, code = replacement.replace_card(card=card, actor=actor, reason=reason)
        return {"new_serial": new.serial, "new_code": group(code)}
