"""Disable a card."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from cards import actions
from cards.command import CardAct
from cards.models import Card


class Command(CardAct):
    help = (
        "Disable one card. A used card cannot be disabled. "
        "The card is named by --batch and --serial, or by its code on standard input."
    )

    def act(self, card: Card, actor: User, reason: str) -> dict[str, Any]:
        actions.disable_card(card=card, actor=actor, reason=reason)
        return {}
