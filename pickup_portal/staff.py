"""Who works here, and in which roles; the admin shows it, and this alone changes it."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth.models import Group
from django.db import transaction

from accounts.models import User
from cards import audit
from cards.choices import AuditAction

from .roles import ROLES


def roles_of(user: User) -> list[str]:
    """In the order of ROLES; empty for whoever is no member of staff."""
    held = set(user.groups.values_list("name", flat=True)) if user.is_staff else set()
    return [role for role in ROLES if role in held]


@transaction.atomic
def set_roles(*, user: User, roles: Collection[str], actor: User, reason: str = "") -> bool:
    """Give the person these roles and no others; with none he is no member of staff any more. It counts from his next
    request. False if it was so already."""
    user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    wanted, before, was_staff = [role for role in ROLES if role in roles], roles_of(user), user.is_staff
    if wanted == before and was_staff == bool(wanted):
        return False
    User.objects.filter(pk=user.pk).update(is_staff=bool(wanted))
    user.groups.remove(*Group.objects.filter(name__in=ROLES))
    user.groups.add(*Group.objects.filter(name__in=wanted))
    audit.record(
        AuditAction.CHANGE_ROLES, actor=actor, account=user.pk, roles_before=before, roles=wanted, reason=reason
    )
    return True
