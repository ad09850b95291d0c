"""Invite somebody to become a member."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.command import PortalCommand, at_most, staff_named
from orders.member_actions import invite_member


class Command(PortalCommand):
    help = (
        "Make an invitation and print its link: whoever opens it first may create one account. It is shown once, and "
        "only its hash is kept. Of use where SIGN_UP is invitation."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--note", default="", type=at_most(200), help="For whom it is; shown to staff.")
        parser.add_argument("--actor", metavar="STAFF", help="Login of the member of staff who invites.")

    def run(self, *, note: str, actor: str | None, **options: Any) -> dict[str, Any]:
        made, link = invite_member(actor=staff_named(actor) if actor else None, note=note)
        return {"link": link, "expires_at": made.expires_at, "note": made.note}
