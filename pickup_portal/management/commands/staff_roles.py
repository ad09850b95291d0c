"""Who works here, and in which roles."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.command import PortalCommand, staff_named
from accounts.search import user_named
from pickup_portal.roles import ROLES
from pickup_portal.staff import roles_of, set_roles


class Command(PortalCommand):
    help = (
        "Show somebody's staff roles, or give him the named ones and no others, which makes him a member of staff. "
        "--none takes them all: he is a member like any other then, and can be disabled. It counts from his next "
        "request, and stands in the audit trail. Only a superuser can be the actor."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("login", metavar="LOGIN", help="User name, e-mail address or member ID.")
        parser.add_argument("roles", metavar="ROLE", nargs="*", help=f"One or more of {', '.join(ROLES)}.")
        parser.add_argument("--none", action="store_true", help="Take all roles.")
        parser.add_argument("--actor", metavar="STAFF", help="Login of the superuser who wants it.")
        parser.add_argument("--reason", default="", help="Why; kept in the audit trail.")

    def run(
        self, *, login: str, roles: list[str], none: bool, actor: str | None, reason: str, **options: Any
    ) -> dict[str, Any]:
        user, changed = user_named(login), False
        if unknown := [role for role in roles if role not in ROLES]:
            raise CommandError(f"There is no role {unknown[0]!r}. Roles: {', '.join(ROLES)}.")
        if roles and none:
            raise CommandError("Name roles, or give --none.")
        if roles or none:
            if not actor:
                raise CommandError("Say who wants it: --actor LOGIN.")
            who = staff_named(actor)
            if not who.is_superuser:
                raise CommandError(f"{actor!r} is no superuser.")
            changed = set_roles(user=user, roles=roles, actor=who, reason=reason)
            user.refresh_from_db()
        return {
            "username": user.get_username(),
            "staff": user.is_staff,
            "superuser": user.is_superuser,
            "roles": ", ".join(roles_of(user)),
            "changed": changed,
        }
